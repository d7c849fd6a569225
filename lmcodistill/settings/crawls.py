"""Which files of Common Crawl a run reads, and how they are asked for."""

import dataclasses
import pathlib
import re
import urllib.parse

from lmcodistill import errors
from lmcodistill.settings import checks

MIRROR = "https://data.commoncrawl.org"
_NAME = re.compile(r"CC-MAIN-(20\d\d-\d\d|20\d\d|2008-2009|2009-2010)")


@dataclasses.dataclass(frozen=True)
class CrawlRequest:
    """Files of crawls to download; the values of the flags of the same names.

    Attributes:
        crawls: Names as `CC-MAIN-2024-22`.
        paths_file: Local file with the paths to read instead of the crawls' own
            lists.
        wet_files: WET files of each crawl.
        warc_files: WARC files of each crawl.
        mirror: Address that the paths are appended to.
        download_dir: Where files go and stay.
        contact: E-mail or address of a page, told to the server.
        downloads: Files at the same time.
        requests_per_second: Of the whole run, at most.
    """

    crawls: tuple[str, ...]
    paths_file: str
    wet_files: int
    warc_files: int
    mirror: str
    download_dir: pathlib.Path
    contact: str
    downloads: int
    requests_per_second: float

    def __post_init__(self) -> None:
        for crawl in self.crawls:
            checks.require(
                _NAME.fullmatch(crawl) is not None,
                "--crawl",
                crawl,
                "a name as CC-MAIN-2024-22; commoncrawl.org/overview lists them",
            )
        if bool(self.crawls) == bool(self.paths_file):
            raise errors.UsageError(
                "--crawl and --paths_file were both given; a paths file takes the "
                "place of a crawl's own list. Give one of the two."
            )
        for name in ("wet_files", "warc_files"):
            value = getattr(self, name)
            checks.require(value >= 0, f"--{name}", value, "a number of files")
        if self.crawls and not (self.wet_files or self.warc_files):
            raise errors.UsageError(
                f"--crawl={self.crawls[0]} says nothing about how much: a crawl has "
                "some 90,000 files. Give --wet_files=10, for example, or --warc_files."
            )
        for name, least, most, expected in (
            ("downloads", 1, 16, "1 to 16; more is faster for nobody"),
            ("requests_per_second", 0.001, 1000.0, "a number from 0.001 to 1000"),
        ):
            value = getattr(self, name)
            checks.require(least <= value <= most, f"--{name}", value, expected)
        if not self.contact:
            raise errors.UsageError(
                "--contact is missing. Common Crawl asks who downloads, and blocks "
                "programs that overload it and cannot be reached. Give an e-mail "
                "address or the address of a page about you; it is sent in the user "
                "agent of every request, and is not stored."
            )
        checks.require(
            re.fullmatch(r"[\x21-\x7e]{3,200}", self.contact) is not None
            and ("@" in self.contact or "://" in self.contact)
            and not set(self.contact) & set("()\\"),
            "--contact",
            self.contact,
            "an e-mail address, or an address with http:// or https://",
        )
        try:
            url = urllib.parse.urlsplit(self.mirror)
            is_good = bool(url.hostname) and (url.port or 1) > 0
        except ValueError:
            is_good = False
        checks.require(
            is_good
            and url.scheme in ("http", "https")
            and re.fullmatch(r"[\x21-\x7e]{1,500}", self.mirror) is not None
            and not (url.query or url.fragment),
            "--mirror",
            self.mirror,
            f"an address as {MIRROR}",
        )

    @property
    def counts(self) -> dict[str, int]:
        """Files of each kind."""
        return {"wet": self.wet_files, "warc": self.warc_files}
