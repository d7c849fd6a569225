"""How a published list of paragraphs is to be understood."""

import dataclasses
import re

from lmcodistill.settings import checks

PARAGRAPHS = ("non_blank_lines", "lines", "blocks")


@dataclasses.dataclass(frozen=True)
class ParagraphList:
    """What the numbers in the list that --paragraph_ids names mean.

    The codistillation paper published the list of the paragraphs it used and
    not what its numbers count; see data_prep/rules/paragraph_ids.py.

    Attributes:
        sha256: Digest that the list must have; empty: any. What was used is
            written to the manifest.
        first_id: Number of the first paragraph of a file.
        paragraphs: What is counted: `non_blank_lines`; all `lines`; `blocks`
            between blank lines.
    """

    sha256: str = ""
    first_id: int = 0
    paragraphs: str = "non_blank_lines"

    def __post_init__(self) -> None:
        checks.require_field(
            self,
            "sha256",
            re.fullmatch(r"[0-9a-f]{64}|", self.sha256) is not None,
            "64 hexadecimal digits in lower case, or nothing",
        )
        checks.require_field(
            self,
            "first_id",
            0 <= self.first_id <= 1_000_000,
            "0 or 1, or whatever the list begins with",
        )
        checks.require_choice(self, "paragraphs", PARAGRAPHS)
