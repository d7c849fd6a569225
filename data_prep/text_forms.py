"""The text that a tokenizer gives back: as it is, or word by word."""


def word_level(text: str) -> str:
    """Returns words and line ends, a single space between any two.

    In a `word` vocabulary a line end inside a document is a word of its own.
    """
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return " ".join(filter(None, " \n ".join(lines).split(" ")))


def tokenizer_form(text: str, vocab_type: str) -> str:
    """Returns the text whose encoding decodes to itself exactly."""
    return word_level(text) if vocab_type == "word" else text


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
