"""What `lmcodistill prep` keeps, how it cuts it, and the vocabulary it trains."""

import dataclasses

from lmcodistill.settings import checks, deduplication

TEXT_DOCUMENTS = ("sections", "lines", "files")
PRETOKENIZED_DOCUMENTS = ("lines", "articles")
VOCAB_TYPES = ("unigram", "bpe", "word")
RULE_SCOPES = ("web", "all", "none")


@dataclasses.dataclass(frozen=True)
class Prep:
    """From files to disjoint streams of documents.

    Attributes:
        num_partitions: Disjoint slices of the training text, one per student.
        validation_fraction: Share of the documents held out, by hash of the
            document id. Pre-tokenized text brings its own held-out files.
        seed: Seed of the hash that shuffles documents and deals them out.
        shard_tokens: Tokens that a shard file holds, about.
        keep_documents: Whether the kept documents are written beside the
            shards, as JSON Lines.
        dropped_samples: Dropped documents per reason and part to write beside
            the report, so that people can judge the rules; 0 writes none.
        html_main_content: Whether navigation, footers and the like are left
            out of the text of WARC pages.
        text_documents: What a document of a plain text file is: `sections` of
            about `text_section_bytes`, cut between paragraphs; `lines`; `files`.
        text_section_bytes: See `text_documents`.
        pretokenized_documents: What a document of a pre-tokenized file is: its
            `lines`, or `articles` that begin with a `= Title =` line.
        jsonl_text_field: Field of a JSON Lines object that holds the text.
        jsonl_url_field: Field that holds the address, if any.
        max_record_bytes: A record or a line longer than this is dropped unread.
    """

    num_partitions: int = 1
    validation_fraction: float = 0.01
    seed: int = 0
    shard_tokens: int = 1 << 24
    keep_documents: bool = False
    dropped_samples: int = 0
    html_main_content: bool = True
    text_documents: str = "sections"
    text_section_bytes: int = 5_000
    pretokenized_documents: str = "lines"
    jsonl_text_field: str = "text"
    jsonl_url_field: str = "url"
    max_record_bytes: int = 64 << 20

    def __post_init__(self):
        for name in (
            "num_partitions",
            "shard_tokens",
            "text_section_bytes",
            "max_record_bytes",
        ):
            value = getattr(self, name)
            checks.require(value >= 1, f"Prep.{name}", value, "a positive number")
        checks.require(
            0.0 < self.validation_fraction < 1.0,
            "Prep.validation_fraction",
            self.validation_fraction,
            "a number between 0 and 1; training needs held-out text",
        )
        checks.require(
            self.dropped_samples >= 0,
            "Prep.dropped_samples",
            self.dropped_samples,
            "0 or more",
        )
        checks.require_choice(
            "Prep.text_documents", self.text_documents, TEXT_DOCUMENTS
        )
        checks.require_choice(
            "Prep.pretokenized_documents",
            self.pretokenized_documents,
            PRETOKENIZED_DOCUMENTS,
        )


@dataclasses.dataclass(frozen=True)
class PrepVocabulary:
    """The vocabulary that prep trains.

    Attributes:
        type: `unigram` and `bpe` are SentencePiece's and round-trip exactly;
            `word` makes every whitespace-separated word a piece.
        size: Number of ids, all special pieces included. For `word` the most
            frequent words are kept; 0 keeps every word.
        sample_bytes: UTF-8 bytes of training text that the trainer sees, about.
            More than some ten million gains nothing at these sizes.
        num_threads: Threads of the trainer. A unigram vocabulary depends on it,
            so it is a setting and not the machine's number of cores.
    """

    type: str = "unigram"
    size: int = 4_000
    sample_bytes: int = 24_000_000
    num_threads: int = 4

    def __post_init__(self):
        checks.require_choice("PrepVocabulary.type", self.type, VOCAB_TYPES)
        checks.require(
            self.size >= 3 or (self.type == "word" and self.size == 0),
            "PrepVocabulary.size",
            self.size,
            "at least 3, or 0 for every word of a `word` vocabulary",
        )
        for name in ("sample_bytes", "num_threads"):
            value = getattr(self, name)
            checks.require(
                value >= 1, f"PrepVocabulary.{name}", value, "a positive number"
            )


@dataclasses.dataclass(frozen=True)
class LanguageRule:
    """Which language a document must be in.

    Attributes:
        language: ISO 639 code, of two letters or three (`en`, `eng`); empty
            lets every language pass. A WET record's own identification decides
            where there is one, the fastText model lid.176 where there is none.
        min_score: Probability that the model must give the language. English
            pages made of names score as low as 0.65.
    """

    language: str = "en"
    min_score: float = 0.5

    def __post_init__(self):
        checks.require(
            0.0 <= self.min_score <= 1.0,
            "LanguageRule.min_score",
            self.min_score,
            "a probability",
        )


@dataclasses.dataclass(frozen=True)
class C4Rules:
    """The line and page rules of C4 (Raffel et al. 2020, arXiv:1910.10683, 2.2).

    Differs from the paper: sentences are counted by end marks and not by a
    trained splitter, there is no list of bad words, and repeated spans of three
    sentences stay.

    Attributes:
        apply_to: `web`: pages of WARC and WET files only; `all`; `none`.
        min_words_per_line: Shorter lines go.
        max_word_characters: Lines with a longer word go.
        min_sentences: Pages with fewer sentences go.
    """

    apply_to: str = "web"
    min_words_per_line: int = 5
    max_word_characters: int = 1_000
    min_sentences: int = 5

    def __post_init__(self):
        checks.require_choice("C4Rules.apply_to", self.apply_to, RULE_SCOPES)


@dataclasses.dataclass(frozen=True)
class GopherRules:
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
        repetition: Whether the repetition rules apply too: the dearest rules.
    """

    apply_to: str = "web"
    min_words: int = 50
    max_words: int = 100_000
    min_mean_word_characters: float = 3.0
    max_mean_word_characters: float = 10.0
    max_symbols_per_word: float = 0.1
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3
    min_alphabetic_words: float = 0.8
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

    def __post_init__(self):
        checks.require_choice("GopherRules.apply_to", self.apply_to, RULE_SCOPES)
        checks.require(
            self.min_stop_words <= len(self.stop_words),
            "GopherRules.min_stop_words",
            self.min_stop_words,
            f"at most the {len(self.stop_words)} stop words there are",
        )


# Every class here; config registers them with gin.
PREP_SETTINGS = (
    Prep,
    PrepVocabulary,
    deduplication.Deduplication,
    LanguageRule,
    C4Rules,
    GopherRules,
)
