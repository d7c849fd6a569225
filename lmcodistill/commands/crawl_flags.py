"""Flags of prep about what is not here yet: crawls by name, and how to ask for them."""

import pathlib

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags
from lmcodistill.settings import crawls


def define(define: command_flags.Definer) -> None:
    """Defines --crawl and what belongs to it."""
    define.heading("Downloads")
    define.strings(
        "crawl",
        [],
        "A crawl of Common Crawl to download from, as CC-MAIN-2024-22. This machine "
        "downloads, before the engine starts, so that a cluster asks the server no "
        "faster than one machine.",
    )
    define.path(
        "paths_file",
        "A file with the paths to download, one a line, plain or gzip, instead of a "
        "crawl's own list; all of them unless --wet_files or --warc_files is given.",
    )
    for kind in ("wet", "warc"):
        define.integer(
            f"{kind}_files",
            0,
            f"{kind.upper()} files of each crawl, spread over it by a hash of their "
            "paths. A higher number keeps the files of a lower one.",
        )
    define.string("mirror", crawls.MIRROR, "Address that the paths are appended to.")
    define.path(
        "download_dir",
        "Where downloads go; they stay, and are used again. On a cluster, storage "
        "that all machines see. Default: `downloads` beside --output_dir.",
    )
    define.string(
        "contact",
        "",
        "Your e-mail address or page, sent to the server with every request.",
    )
    define.integer("downloads", 4, "Files to download at the same time.")
    define.float(
        "requests_per_second",
        1.0,
        "Requests of the whole run, at most; fewer when the server refuses.",
    )


def request(
    flag_values: flags.FlagValues, output: pathlib.Path
) -> crawls.CrawlRequest | None:
    """Returns what is to be downloaded, if anything is.

    Raises:
        UsageError: the flags do not fit together.
    """
    if not (flag_values.crawl or flag_values.paths_file):
        if flag_values.wet_files or flag_values.warc_files:
            raise errors.UsageError(
                "--wet_files or --warc_files was given, and not of which crawl. Give "
                "--crawl=CC-MAIN-2024-22, for example, or --paths_file."
            )
        return None
    if flag_values.train_text or flag_values.validation_text:
        raise errors.UsageError(
            "--crawl or --paths_file and --train_text were both given; text is either "
            "split by prep or comes with its own splits. Give one of the two."
        )
    folder = flag_values.download_dir or output.parent / "downloads"
    return crawls.CrawlRequest(
        crawls=tuple(flag_values.crawl),
        paths_file=str(flag_values.paths_file or ""),
        wet_files=flag_values.wet_files,
        warc_files=flag_values.warc_files,
        mirror=flag_values.mirror,
        download_dir=folder,
        contact=flag_values.contact,
        downloads=flag_values.downloads,
        requests_per_second=flag_values.requests_per_second,
    )
