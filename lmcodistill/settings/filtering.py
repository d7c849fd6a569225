"""What prep keeps: the rules that a document must pass, and what is masked in it."""

import dataclasses
from typing import Any

from lmcodistill.settings import checks

RULE_SCOPES = ("web", "all", "none")


@dataclasses.dataclass(frozen=True)
class UrlRules:
    """Which pages are left out by their address.

    Attributes:
        blocked_hosts: A file of hosts, one a line, plain or compressed: pages of
            these hosts and of hosts below them go. Lines of a hosts file
            (`0.0.0.0 ads.example.com`), addresses of front pages
            (`https://ads.example.com:8080/`), names in any script and comments
            after `#` are understood; another line, one page's address among them,
            is refused. Empty blocks nothing. A resumed run refuses another file's
            content.
    """

    blocked_hosts: str = ""


@dataclasses.dataclass(frozen=True)
class LanguageRule(checks.Checked):
    """Which language a document must be in.

    Attributes:
        language: ISO 639 code, of two letters or three (`en`, `eng`); empty
            lets every language pass. A WET record's own identification decides
            where there is one, the fastText model lid.176 where there is none.
        min_score: Probability that the model must give the language. English
            pages made of names score as low as 0.65.
        check_declared: Whether the model must agree where a record says that it
            is in the wanted language. Slower: the model reads every page.
    """

    language: str = "en"
    min_score: float = checks.share(0.5)
    check_declared: bool = False


@dataclasses.dataclass(frozen=True)
class LengthRules(checks.Checked):
    """How long a document and its paragraphs must be.

    A paragraph is a line of a web page, because the extraction of text writes
    one line per block, and lines between blank lines of any other text.

    Attributes:
        apply_to: `web`: pages of WARC and WET files only; `all`; `none`.
        min_words: Documents with fewer words go.
        max_words: Documents with more words go; 0 for no limit.
        long_paragraph_words: Words that make a paragraph a long one.
        min_long_paragraphs: Documents with fewer long paragraphs go.
        only_long_paragraphs: Whether the other paragraphs are removed.
    """

    apply_to: str = checks.choice("none", RULE_SCOPES)
    min_words: int = checks.not_negative(0)
    max_words: int = checks.not_negative(0)
    long_paragraph_words: int = checks.not_negative(30)
    min_long_paragraphs: int = checks.not_negative(1)
    only_long_paragraphs: bool = False


@dataclasses.dataclass(frozen=True)
class C4Rules(checks.Checked):
    """The line and page rules of C4 (Raffel et al. 2020, arXiv:1910.10683, 2.2).

    Differs from the paper: sentences are counted by end marks and not by a
    trained splitter, there is no list of bad words, and repeated spans of three
    sentences stay.

    Attributes:
        apply_to: `web`: pages of WARC and WET files only; `all`; `none`.
        end_marks: Whether lines must end with a mark: `.`, `?`, `!` or a quote.
        min_words_per_line: Shorter lines go.
        max_word_characters: Lines with a longer word go.
        min_sentences: Pages with fewer sentences go.
    """

    apply_to: str = checks.choice("web", RULE_SCOPES)
    end_marks: bool = True
    min_words_per_line: int = checks.not_negative(5)
    max_word_characters: int = 1_000
    min_sentences: int = checks.not_negative(3)


@dataclasses.dataclass(frozen=True)
class GopherRules(checks.Checked):
    """The quality and repetition rules of Gopher (arXiv:2112.11446, A.1.1).

    Attributes:
        apply_to: `web`: pages of WARC and WET files only; `all`; `none`.
        min_words: Pages with fewer words go.
        max_words: Pages with more words go.
        min_mean_word_characters: Lowest mean length of a word.
        max_mean_word_characters: Highest.
        max_symbols_per_word: Highest ratio of `#` or of ellipses to words.
        max_bullet_lines: Highest share of lines that begin with a bullet.
        max_ellipsis_lines: Highest share of lines that end with an ellipsis.
        min_alphabetic_words: Lowest share of words with a letter.
        stop_words: Words of which `min_stop_words` different ones must occur.
        min_stop_words: See `stop_words`; 0 for a language they do not fit.
        repetition: Whether the repetition rules apply too (table A1).
    """

    apply_to: str = checks.choice("web", RULE_SCOPES)
    min_words: int = checks.not_negative(50)
    max_words: int = checks.not_negative(100_000)
    min_mean_word_characters: float = 3.0
    max_mean_word_characters: float = 10.0
    max_symbols_per_word: float = 0.1
    max_bullet_lines: float = checks.share(0.9)
    max_ellipsis_lines: float = checks.share(0.3)
    min_alphabetic_words: float = checks.share(0.8)
    stop_words: tuple[str, ...] = (
        "the",
        "be",
        "to",
        "of",
        "and",
        "that",
        "have",
        "with",
    )
    min_stop_words: int = 2
    repetition: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(
            "min_stop_words",
            self.min_stop_words <= len(self.stop_words),
            f"at most the {len(self.stop_words)} stop words there are",
        )


@dataclasses.dataclass(frozen=True)
class FineWebRules(checks.Checked):
    """FineWeb's own page rules (Penedo et al. 2024, arXiv:2406.17557, 3.6).

    The values are those of its published code, which has a fourth rule that the
    paper does not name: the ratio of line ends to words.

    Attributes:
        apply_to: `web`: pages of WARC and WET files only; `all`; `none`.
        min_marked_lines: Lowest share of lines that end with a mark.
        short_line_characters: Lines up to this length are short.
        max_short_lines: Highest share of short lines.
        max_duplicate_line_characters: Highest share of characters in lines that
            occurred before.
        max_line_ends_per_word: Highest ratio of line ends to words.
    """

    apply_to: str = checks.choice("none", RULE_SCOPES)
    min_marked_lines: float = checks.share(0.12)
    short_line_characters: int = 30
    max_short_lines: float = checks.share(0.67)
    max_duplicate_line_characters: float = checks.share(0.01)
    max_line_ends_per_word: float = 0.3


@dataclasses.dataclass(frozen=True)
class Masking:
    """What is replaced in kept documents by a fixed stand-in that means no one.

    Attributes:
        emails: E-mail addresses become `email@example.com`.
        ip_addresses: IPv4 addresses become `192.0.2.1`, IPv6 addresses
            `2001:db8::1`.
        phone_numbers: Phone numbers, international (`+44 ...`) or North
            American, become `+1 555 0100`.
    """

    emails: bool = False
    ip_addresses: bool = False
    phone_numbers: bool = False


@dataclasses.dataclass(frozen=True)
class Rules:
    """All rules together, in no order; see `data_prep.rules.filters` for theirs."""

    urls: UrlRules = UrlRules()
    language: LanguageRule = LanguageRule()
    lengths: LengthRules = LengthRules()
    c4: C4Rules = C4Rules()
    gopher: GopherRules = GopherRules()
    fineweb: FineWebRules = FineWebRules()
    masking: Masking = Masking()


# Every class here, by its field in `Rules`; config registers them with gin.
RULES: dict[str, Any] = {
    field.name: type(field.default) for field in dataclasses.fields(Rules)
}
