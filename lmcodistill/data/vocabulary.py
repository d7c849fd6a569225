"""The SentencePiece vocabulary that data, students and teachers must share.

One mechanism for all three kinds: `unigram` and `bpe` pieces, and `word`, where
every whitespace-separated word is a piece (the Penn Treebank's convention).
"""

import functools
import hashlib
import pathlib
from typing import Any

import sentencepiece
from google.protobuf import message
from sentencepiece import sentencepiece_model_pb2

from lmcodistill import errors

# Generated code, whose classes a type checker cannot see.
_model_pb2: Any = sentencepiece_model_pb2


class Vocabulary:
    """Token ids for text and text for token ids.

    Attributes:
        fingerprint: SHA-256 of the model file; two models of equal fingerprint
            give every id the same meaning.
        size: Number of ids, V.
        end_id: Id of `</s>`, which ends every document.
        unknown_id: Id of what no piece stands for.
    """

    def __init__(self, model: bytes) -> None:
        self.model = model
        self.fingerprint = hashlib.sha256(model).hexdigest()
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.size = int(self._processor.vocab_size())
        self.end_id = int(self._processor.eos_id())
        self.unknown_id = int(self._processor.unk_id())
        self._ids_of_words = self._words() if _is_of_words(model) else None

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
        """Returns the ids of `text`, without `</s>`."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        """Returns the ids of each text, without `</s>`; one thread.

        A `word` vocabulary gives every word one id: SentencePiece would make one
        unknown piece of several unknown words in a row, and a perplexity by word
        would be taken over too few of them.
        """
        ids = self._ids_of_words
        if ids is None:
            return self._processor.encode(texts, num_threads=1)
        return [
            # A line end between two spaces is a word as well.
            [ids.get(word, self.unknown_id) for word in text.split(" ") if word]
            for text in texts
        ]

    def decode(self, ids: list[int]) -> str:
        """Returns the text of `ids`; exact inverse of `encode` for our models."""
        return self._processor.decode(ids)

    @functools.cached_property
    def pieces(self) -> list[str]:
        """All V pieces, by id."""
        return [self._processor.id_to_piece(i) for i in range(self.size)]

    def _words(self) -> dict[str, int]:
        """Returns the id of every word; special pieces stand for none."""
        special = {self.unknown_id, self.end_id}
        return {
            piece.removeprefix("\u2581"): i
            for i, piece in enumerate(self.pieces)
            if i not in special
        }


def _is_of_words(model: bytes) -> bool:
    kind = _model_pb2.ModelProto.FromString(model).trainer_spec.model_type
    return kind == _model_pb2.TrainerSpec.WORD
