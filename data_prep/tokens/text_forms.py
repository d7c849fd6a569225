"""The text that a tokenizer gives back: as it is, word by word, or marked."""

import re

from lmcodistill.settings import prep

# Characters for private use, which become pieces.
PARAGRAPH_START, PARAGRAPH_END = "\ue000", "\ue001"
SENTENCE_START, SENTENCE_END = "\ue002", "\ue003"
MARKS = {
    "none": (),
    "paragraphs": (PARAGRAPH_START, PARAGRAPH_END),
    "sentences": (PARAGRAPH_START, PARAGRAPH_END, SENTENCE_START, SENTENCE_END),
}

_TAKEN = str.maketrans(dict.fromkeys(MARKS["sentences"], "\ufffd"))
# How a digit is written; `split` keeps it and makes it a piece of its own.
DIGITS: dict[str, dict[int, int]] = {
    "keep": {},
    "split": {},
    "generic": str.maketrans("123456789", "000000000"),
}
_PARAGRAPH = re.compile(r".*\S.*")
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])([\"'\u2019\u201d)\]]*)(?=[^\S\n]+\S)")


def word_level(text: str) -> str:
    """Returns words and line ends, a single space between any two.

    In a `word` vocabulary a line end inside a document is a word of its own.
    """
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return " ".join(filter(None, " \n ".join(lines).split(" ")))


def marked(text: str, marks: str) -> str:
    """Returns `text` with `marks` around its paragraphs, and around sentences."""
    if marks == "none":
        return text
    text = text.translate(_TAKEN)
    start, end = PARAGRAPH_START, PARAGRAPH_END
    if marks == "sentences":
        start, end = start + SENTENCE_START, SENTENCE_END + end
        text = _BETWEEN_SENTENCES.sub(rf"\1{SENTENCE_END}{SENTENCE_START}", text)
    return _PARAGRAPH.sub(rf"{start}\g<0>{end}", text)


def piece_form(text: str, settings: prep.PrepVocabulary) -> str:
    """Returns the text that pieces encode and that they decode to exactly."""
    if digits := DIGITS[settings.digits]:
        text = text.translate(digits)
    return marked(text, settings.marks)


def paragraphs(text: str, max_bytes: int) -> list[str]:
    """Returns the lines of `text` that are not blank, none over `max_bytes`.

    SentencePiece's trainer skips longer ones with no more than a log line, which
    was three quarters of all text when documents were given whole (measured
    2026-11). They are cut at a space, or in the middle of a word if need be.
    """
    pieces = []
    for line in text.split("\n"):
        rest = line.strip(" ")
        # A character has at most four bytes.
        while len(rest) * 4 > max_bytes and len(rest.encode()) > max_bytes:
            head = rest.encode()[:max_bytes].decode("utf-8", "ignore")
            edge = head.rfind(" ")
            head = head[:edge] if edge > 0 else head
            pieces.append(head)
            rest = rest[len(head) :].strip(" ")
        if rest:
            pieces.append(rest)
    return pieces
