"""Which documents of `lmcodistill prep` count as copies of another."""

import dataclasses

from lmcodistill.settings import checks


@dataclasses.dataclass(frozen=True)
class Deduplication(checks.Checked):
    """Of documents that are alike, the one with the lowest id stays.

    Attributes:
        exact: Whether documents of equal text (but for case and white space)
            are kept once only.
        near: Whether documents that share most of their word n-grams are, too.
            Two documents of Jaccard similarity s are found with the probability
            1 - (1 - s ** rows_per_band) ** num_bands: 0.56 at 0.7, 0.92 at 0.8.
        scope: `run` compares all documents, `crawl` those of each Common Crawl
            snapshot alone (Penedo et al. 2024, arXiv:2406.17557, 3.4: it trained
            better models). Copies in different crawls then stay, and may come to
            lie on both sides of a split.
        num_bands: Keys per document; any equal one makes a near copy.
        rows_per_band: MinHash values in a key.
        ngram_words: Words in an n-gram. Text that writes no space between words
            has few of them, and only its equal copies are found.
        min_near_words: Shorter documents are compared for equality only: they
            have too few n-grams.
        line_group_files: Lines that occur in several documents of so many
            consecutive input files stay in the one with the lowest id only
            (Wenzek et al. 2020, arXiv:1911.00359, 3.2); 0 leaves all lines.
        min_words_left: Documents that lost lines and have fewer words left go.
        memory_bytes: What one worker may use to compare keys, about, however
            many documents there are; no shard depends on it.
    """

    exact: bool = True
    near: bool = False
    scope: str = checks.choice("run", ("run", "crawl"))
    num_bands: int = checks.limited(14, lambda count: 1 <= count <= 256, "1 to 256")
    rows_per_band: int = checks.limited(8, lambda count: 1 <= count <= 256, "1 to 256")
    ngram_words: int = checks.limited(5, lambda count: 1 <= count <= 256, "1 to 256")
    min_near_words: int = checks.not_negative(20)
    line_group_files: int = checks.not_negative(0)
    min_words_left: int = checks.not_negative(50)
    memory_bytes: int = checks.limited(
        256 << 20, lambda size: size >= 1 << 20, "1048576 or more"
    )

    @property
    def is_on(self) -> bool:
        """Whether anything is compared at all."""
        return self.exact or self.near or self.line_group_files > 0
