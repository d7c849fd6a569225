"""How a published list of paragraphs is to be understood."""

import dataclasses
import re

from lmcodistill.settings import checks

PARAGRAPHS = ("non_blank_lines", "lines", "blocks")


@dataclasses.dataclass(frozen=True)
class ParagraphList(checks.Checked):
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

    sha256: str = checks.limited(
        "",
        re.compile(r"[0-9a-f]{64}|").fullmatch,
        "64 hexadecimal digits in lower case, or nothing",
    )
    first_id: int = checks.limited(
        0,
        lambda number: 0 <= number <= 1_000_000,
        "0 or 1, or whatever the list begins with",
    )
    paragraphs: str = checks.choice("non_blank_lines", PARAGRAPHS)
