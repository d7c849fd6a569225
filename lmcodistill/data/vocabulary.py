"""The SentencePiece vocabulary that data, students and teachers must share.

One mechanism for all three kinds: `unigram` and `bpe` pieces, and `word`, where
every whitespace-separated word is a piece (the Penn Treebank's convention).
"""

import functools
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import sentencepiece
from google.protobuf import message
from sentencepiece import sentencepiece_model_pb2

from lmcodistill import errors
from lmcodistill.data import text_forms

# Generated code, whose classes a type checker cannot see.
_model_pb2: Any = sentencepiece_model_pb2
_SPACE = "\u2581"


class Vocabulary:
    """Token ids for text and text for token ids.

    Attributes:
        fingerprint: SHA-256 of the model file; two models of equal fingerprint
            give every id the same meaning.
        size: Number of ids, V.
        end_id: Id of `</s>`, which ends every document.
        unknown_id: Id of what no piece stands for.
        ids_of_words: The id of every word, of a `word` vocabulary; else None.
        marks: Which marks its text has: a name in `text_forms.MARKS`.
        rules: From clean text to the text that is encoded, and decoded to.
    """

    def __init__(self, model: bytes) -> None:
        self.model = model
        self.fingerprint = hashlib.sha256(model).hexdigest()
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.size = int(self._processor.vocab_size())
        self.end_id = int(self._processor.eos_id())
        self.unknown_id = int(self._processor.unk_id())
        proto = _model_pb2.ModelProto.FromString(model)
        is_of_words = proto.trainer_spec.model_type == _model_pb2.TrainerSpec.WORD
        self.ids_of_words = self._words() if is_of_words else None
        self.marks = _marks_of(proto)
        # Else decoding does more than put pieces together.
        self._has_plain_pieces = (
            proto.normalizer_spec.add_dummy_prefix
            and not proto.denormalizer_spec.precompiled_charsmap
        )
        self.rules = (
            text_forms.WORDS
            if is_of_words
            else text_forms.DIGITS[self._digits()] + text_forms.MARKING[self.marks]
        )

    @classmethod
    def load(cls, path: pathlib.Path) -> "Vocabulary":
        """Reads a SentencePiece model file.

        Raises:
            DataError: the file is missing or is not a SentencePiece model with
                an end piece.
        """
        try:
            vocabulary = cls(path.read_bytes())
        except OSError as error:
            raise errors.DataError(
                f"The vocabulary {path} cannot be read: {error.strerror}. It is "
                "written by `lmcodistill prep`; give the folder that prep filled."
            ) from error
        except (RuntimeError, ValueError, message.DecodeError) as error:
            raise errors.DataError(
                f"{path} is not a SentencePiece model ({error}). Run "
                "`lmcodistill prep` again, or copy the file from a good run."
            ) from error
        if vocabulary.end_id < 0:
            raise errors.DataError(
                f"{path} has no end piece `</s>`; documents could not be told "
                "apart. Train it with `lmcodistill prep`."
            )
        return vocabulary

    def encode(self, text: str) -> list[int]:
        """Returns the ids of `text`, which is of the form of `form`, without `</s>`."""
        return self.encode_many([text])[0].tolist()

    def encode_many(self, texts: list[str]) -> list[np.ndarray]:
        """Returns [N] int32 ids of each text, without `</s>`; one thread.

        A `word` vocabulary gives every word one id: SentencePiece would make one
        unknown piece of several unknown words in a row, and a perplexity by word
        would be taken over too few of them.
        """
        ids = self.ids_of_words
        if ids is None:
            return self._processor.encode_as_numpy(texts, num_threads=1)
        return [
            # A line end between two spaces is a word as well.
            np.array(
                [ids.get(word, self.unknown_id) for word in text.split(" ") if word],
                np.int32,
            )
            for text in texts
        ]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Returns the text of `ids`; exact inverse of `encode` for our models."""
        numbers: Any = ids  # Its annotations know no arrays; it does.
        return self._processor.decode(numbers)

    def gives_back(self, ids: np.ndarray, text: str) -> bool:
        """Returns whether `decode(ids)` is `text`.

        That is so where the pieces in a row are the text behind one space, which is
        the prefix of our models, and a third of the work.
        """
        if self._has_plain_pieces:
            row = b"".join(self._bytes_of_pieces[ids].tolist())
            if row == b" " + text.encode():
                return True
        return self.decode(ids) == text

    def form(self, text: str) -> str:
        """Returns clean text as training text is encoded: see `rules`."""
        return text_forms.apply(self.rules, text)

    @property
    def prompt_rules(self) -> tuple[text_forms.Substitution, ...]:
        """From clean text to the beginning of a text, its last paragraph open."""
        return self.rules + (text_forms.OPENING if self.marks != "none" else ())

    @property
    def plain_rules(self) -> tuple[text_forms.Substitution, ...]:
        """From decoded text to text for people: without marks and NUL."""
        if self.marks == "none":
            return text_forms.PLAIN_WITHOUT_MARKS
        return text_forms.PLAIN

    def encode_prompt(self, prompt: str) -> list[int]:
        """Returns the ids of a text that is to be continued, without `</s>`.

        Args:
            prompt: Clean text, its last sentence as it is.
        """
        return self.encode(text_forms.apply(self.prompt_rules, prompt))

    def continuation(self, prompt: list[int], added: list[int]) -> str:
        """Returns what `added` ids say behind those of a prompt, for people.

        The prompt need not come back from its ids: its words may be unknown.
        """
        whole = self.decode([*prompt, *added])
        return text_forms.apply(self.plain_rules, whole[len(self.decode(prompt)) :])

    @functools.cached_property
    def pieces(self) -> list[str]:
        """All V pieces, by id."""
        return [self._processor.id_to_piece(i) for i in range(self.size)]

    @functools.cached_property
    def _bytes_of_pieces(self) -> np.ndarray:
        """[V] objects, the UTF-8 that each piece adds to a decoded text.

        Of the unknown piece and of control pieces a byte that is in no UTF-8.
        """
        processor = self._processor
        return np.array(
            [
                bytes([int(piece[1:-1], 16)])
                if processor.is_byte(i)
                else b"\xff"
                if processor.is_control(i) or processor.is_unknown(i)
                else piece.replace(_SPACE, " ").encode()
                for i, piece in enumerate(self.pieces)
            ],
            object,
        )

    def _words(self) -> dict[str, int]:
        """Returns the id of every word; special pieces stand for none."""
        special = {self.unknown_id, self.end_id}
        return {
            piece.removeprefix(_SPACE): i
            for i, piece in enumerate(self.pieces)
            if i not in special
        }

    def _digits(self) -> str:
        """Returns whether the model reads every digit as 0, which its rules say."""
        return "generic" if self._processor.normalize("9").endswith("0") else "keep"


def _marks_of(proto: Any) -> str:
    symbols = {
        piece.piece
        for piece in proto.pieces
        if piece.type == _model_pb2.ModelProto.SentencePiece.USER_DEFINED
    }
    return max(
        (name for name, marks in text_forms.MARKS.items() if symbols.issuperset(marks)),
        key=lambda name: len(text_forms.MARKS[name]),
    )
