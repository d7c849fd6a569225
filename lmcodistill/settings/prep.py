"""How `lmcodistill prep` cuts what it keeps, and the vocabulary it trains."""

import dataclasses

from lmcodistill.settings import checks, deduplication, filtering, paragraphs

TEXT_DOCUMENTS = ("sections", "lines", "files")
PRETOKENIZED_DOCUMENTS = ("lines", "articles")
VOCAB_TYPES = ("unigram", "bpe", "word")
DIGITS = ("keep", "split", "generic")
MARKS = ("none", "paragraphs", "sentences")
# Of a field: reading the inputs does not depend on it, so a run that is resumed may
# change it without reading them again.
_LATER = {"later": True}


@dataclasses.dataclass(frozen=True)
class Prep(checks.Checked):
    """From files to disjoint streams of documents.

    Attributes:
        num_partitions: Disjoint slices of the training text, one per student.
        validation_fraction: Share of the source documents held out, by hash of
            their ids: of pages, rows and whole text files. A small text holds out
            more of them, so that there are 20 and some 10,000 tokens, up to a tenth
            of the text. Pre-tokenized text brings its own held-out files.
        guide_fraction: Share of the source documents dealt to the guide instead of to
            the students, likewise: what `WEIGHT_SCHEDULE = 'auto'` is measured on.
            It fits one number, so half as much as is held out will do; of
            pre-tokenized text, it is stretches of the training text. 0.0: none.
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
        max_record_bytes: A record, a decoded page or a line longer than this is
            dropped unread. Bounds the memory of a worker, which is up to forty
            times this for text made to fill it. Common Crawl cuts pages at 5 MB.
    """

    num_partitions: int = checks.positive(1, later=True)
    validation_fraction: float = checks.limited(
        0.01,
        lambda share: 0.0 < share < 1.0,
        "a number between 0 and 1; training needs held-out text",
        later=True,
    )
    guide_fraction: float = checks.limited(
        0.005, lambda share: 0.0 <= share < 1.0, "0, or a number below 1", later=True
    )
    seed: int = dataclasses.field(default=0, metadata=_LATER)
    shard_tokens: int = checks.positive(1 << 24, later=True)
    keep_documents: bool = dataclasses.field(default=False, metadata=_LATER)
    dropped_samples: int = checks.not_negative(0)
    html_main_content: bool = True
    text_documents: str = checks.choice("sections", TEXT_DOCUMENTS)
    text_section_bytes: int = checks.positive(5_000)
    pretokenized_documents: str = checks.choice("lines", PRETOKENIZED_DOCUMENTS)
    jsonl_text_field: str = "text"
    jsonl_url_field: str = "url"
    max_record_bytes: int = checks.positive(8 << 20)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(
            "guide_fraction",
            self.validation_fraction + self.guide_fraction < 1.0,
            "less than what validation_fraction leaves",
        )


@dataclasses.dataclass(frozen=True)
class PrepVocabulary(checks.Checked):
    """The vocabulary that prep trains.

    Attributes:
        type: `unigram` and `bpe` are SentencePiece's and round-trip exactly;
            `word` makes every whitespace-separated word a piece.
        size: Number of ids, all special pieces included. For `word` the most
            frequent words are kept; 0 keeps every word.
        sample_bytes: UTF-8 bytes of training text that the trainer sees, about.
            More than some ten million gains nothing at these sizes.
        digits: `keep` makes pieces of them as of letters; `split` gives every
            digit a piece of its own; `generic` writes every digit as 0 besides,
            which the text cannot be had back from.
        marks: Pieces for where paragraphs begin and end, `paragraphs`, and
            sentences too, `sentences`. A paragraph is a line with text in it;
            a sentence ends with its mark or with its paragraph. They are the
            characters U+E000 to U+E003, in the order paragraph, end, sentence,
            end, which become U+FFFD where the text has them itself.
        num_threads: Threads of the trainer. A unigram vocabulary depends on it,
            so it is a setting and not the machine's number of cores.
    """

    type: str = checks.choice("unigram", VOCAB_TYPES)
    size: int = 4_000
    sample_bytes: int = checks.positive(24_000_000)
    digits: str = checks.choice("keep", DIGITS)
    marks: str = checks.choice("none", MARKS)
    num_threads: int = checks.positive(4)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(
            "size",
            self.size >= 3 or (self.type == "word" and self.size == 0),
            "at least 3, or 0 for every word of a `word` vocabulary",
        )
        for field, plain in (("digits", "keep"), ("marks", "none")):
            self._require(
                field,
                getattr(self, field) == plain or self.type != "word",
                f"{plain!r} for a `word` vocabulary, which takes words as they are",
            )


# Every class of prep; config registers them with gin.
PREP_SETTINGS = (
    Prep,
    PrepVocabulary,
    deduplication.Deduplication,
    paragraphs.ParagraphList,
    *filtering.RULES.values(),
)


def later_settings() -> frozenset[str]:
    """Returns the settings that a resumed run may change, as `Class.field`.

    Those are what the stages after the reading of the inputs use: all of the
    vocabulary and of the search for copies, and the marked fields of `Prep`.
    """
    names = {
        f"Prep.{f.name}" for f in dataclasses.fields(Prep) if f.metadata.get("later")
    }
    for later in (PrepVocabulary, deduplication.Deduplication):
        names |= {f"{later.__name__}.{f.name}" for f in dataclasses.fields(later)}
    return frozenset(names)
