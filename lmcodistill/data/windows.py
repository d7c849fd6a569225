"""Which tokens step `s` trains on: arithmetic on `s`, and nothing else.

A *stream* is one row of the global batch. With N tokens and B streams, stream b reads
the span that starts at `b * (N // B)`; window k of an epoch covers the T tokens
at offset `k * T` of every stream. State is carried along a stream, so a stream's
windows follow each other; `is_start` says where the state must be zero.

An order other than the text's turns it round: it begins at a position that a seed
draws, and after its last token its first one follows. Then every stream starts
elsewhere, so no batch is one of another seed's, and yet each epoch reads the text
once.

Differs from the paper: arXiv:1804.03235 moves a stream to a new document only at
a window's edge; here documents follow each other inside the window, so that no
position is wasted.
"""

import dataclasses
import hashlib

import numpy as np

from lmcodistill import errors
from lmcodistill.data import shards


@dataclasses.dataclass(frozen=True)
class Window:
    """What a batch of streams reads in one step.

    Attributes:
        inputs: [B, T] int32, tokens read.
        targets: [B, T] int32, the token after each.
        is_start: [B, T] bool, True where the state must be zero before reading.
        weights: [B, T] float32, 0.0 where there is nothing to score.
    """

    inputs: np.ndarray
    targets: np.ndarray
    is_start: np.ndarray
    weights: np.ndarray

    @property
    def flat_targets(self) -> np.ndarray:
        """The targets as models order positions: [N] int32, time-major."""
        return self.targets.T.reshape(-1)


class TrainingWindows:
    """The windows of a student's text, by step.

    Attributes:
        windows_per_epoch: Steps after which every stream starts again.
    """

    def __init__(
        self,
        tokens: shards.SplitTokens,
        *,
        global_batch_size: int,
        window: int,
        end_id: int,
        reset_at_documents: bool,
        order_seed: int = 0,
    ) -> None:
        """Lays `global_batch_size` streams over `tokens`.

        Args:
            tokens: The text.
            global_batch_size: Streams of the whole group, B.
            window: Tokens per stream and step, T.
            end_id: The token that ends a document.
            reset_at_documents: Whether a new document starts with zero state;
                otherwise only the first token of a stream, or of the text, does.
            order_seed: Draws where in the text stream 0 begins; 0: at its start.

        Raises:
            DataError: a stream would hold no whole window.
        """
        self._tokens, self._window = tokens, window
        self._document_mark = end_id if reset_at_documents else None
        self._first_token = _drawn(order_seed, tokens.num_tokens)
        self._stream_length = tokens.num_tokens // global_batch_size
        self.windows_per_epoch = (self._stream_length - 1) // window
        if self.windows_per_epoch < 1:
            raise errors.DataError(
                f"The text has {tokens.num_tokens:,} tokens; a batch of "
                f"{global_batch_size} streams with windows of {window} needs at least "
                f"{global_batch_size * (window + 1):,}. Give prep more text, or lower "
                "GLOBAL_BATCH_SIZE or WINDOW."
            )

    def at(self, step: int, first_stream: int, num_streams: int) -> Window:
        """Returns what streams `[first_stream, first_stream + num_streams)` read.

        Args:
            step: The update moves step `step` to `step + 1`.
            first_stream: First of this replica's streams.
            num_streams: How many.
        """
        offset = (step % self.windows_per_epoch) * self._window
        streams = np.arange(first_stream, first_stream + num_streams)
        starts = self._first_token + streams * self._stream_length + offset
        starts %= self._tokens.num_tokens
        tokens = np.stack([self._read(start) for start in starts.tolist()])
        inputs = tokens[:, :-1]
        is_start = _starts(inputs, offset == 0, self._document_mark)
        # Nothing of the text's end leaks into its begin.
        positions = starts[:, None] + np.arange(self._window)
        is_start |= positions % self._tokens.num_tokens == 0
        weights = np.ones((num_streams, self._window), np.float32)
        return Window(inputs, tokens[:, 1:], is_start, weights)

    def _read(self, start: int) -> np.ndarray:
        """Returns the tokens of a window and one more, [T + 1] int32, round the end."""
        length = self._window + 1
        until_end = min(length, self._tokens.num_tokens - start)
        if until_end == length:
            return self._tokens.read(start, length)
        begin = self._tokens.read(0, length - until_end)
        return np.concatenate([self._tokens.read(start, until_end), begin])


class EvaluationWindows:
    """Every token of a held-out split, scored exactly once.

    The first token of the split is predicted from `</s>`, as the first of every
    document is. A stream's first token is predicted from the token before it but with
    zero state, so more streams cost a little context.

    Attributes:
        num_tokens: Tokens scored by all windows together.
        streams: How many streams they lie in.
        num_windows: How many windows cover a stream.
    """

    def __init__(
        self,
        tokens: shards.SplitTokens,
        *,
        streams: int,
        window: int,
        end_id: int,
        reset_at_documents: bool,
        first_token: int = 0,
        max_tokens: int | None = None,
    ) -> None:
        """Lays `streams` streams over `tokens`, or over a part of it.

        The part begins with `first_token` and has `max_tokens`, or what there is.

        Raises:
            DataError: the split is empty, or ends before the part begins.
        """
        if not tokens.num_tokens:
            raise errors.DataError(
                "The held-out split has no tokens, so nothing can be evaluated. Give "
                "prep more documents or raise VALIDATION_FRACTION."
            )
        if first_token >= tokens.num_tokens:
            raise errors.DataError(
                f"The held-out split has {tokens.num_tokens:,} tokens, so it has no "
                f"token {first_token:,} to begin with (EVALUATION_FIRST_TOKEN, or "
                "--first_token). Give a smaller number."
            )
        rest = tokens.num_tokens - first_token
        self.num_tokens = min(rest, max_tokens or rest)
        self._first_token = first_token
        self._tokens, self._end_id = tokens, end_id
        self._document_mark = end_id if reset_at_documents else None
        self.streams = min(streams, self.num_tokens)
        self._stream_length = -(-self.num_tokens // self.streams)
        self._window = min(window, self._stream_length)  # More would be padding.
        self.num_windows = -(-self._stream_length // self._window)

    def at(self, index: int, first_stream: int, num_streams: int) -> Window:
        """Returns window `index` of some streams; what a short stream lacks is padded.

        Args:
            index: Which window.
            first_stream: First of the rows wanted; streams beyond the last are empty.
            num_streams: How many rows.
        """
        shape = (num_streams, self._window)
        inputs = np.full(shape, self._end_id, np.int32)
        targets = np.full(shape, self._end_id, np.int32)
        weights = np.zeros(shape, np.float32)
        offset = index * self._window
        for row in range(num_streams):
            stream = first_stream + row
            start = stream * self._stream_length + offset
            end = min((stream + 1) * self._stream_length, self.num_tokens)
            length = min(self._window, end - start)
            if length <= 0:
                continue
            place = self._first_token + start
            targets[row, :length] = self._tokens.read(place, length)
            inputs[row, 1:length] = targets[row, : length - 1]
            if place > 0:
                inputs[row, 0] = self._tokens.read(place - 1, 1)[0]
            weights[row, :length] = 1.0
        is_start = _starts(inputs, index == 0, self._document_mark)
        return Window(inputs, targets, is_start, weights)

    def places(self, index: int) -> np.ndarray:
        """Returns where the targets of window `index` stand among the tokens scored.

        Returns:
            [streams, T] int64; where weights are 0.0 it means nothing.
        """
        offsets = index * self._window + np.arange(self._window)
        return np.arange(self.streams)[:, None] * self._stream_length + offsets

    def documents(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the document of every token scored, and the token's place in it.

        Documents are whole wherever streams cut them.

        Returns:
            [tokens] int64 each, counted from 0 in the order of the text.
        """
        tokens = self._tokens.read(self._first_token, self.num_tokens)
        begins = np.append(True, tokens[:-1] == self._end_id)
        documents = begins.cumsum() - 1
        places = np.arange(self.num_tokens) - np.flatnonzero(begins)[documents]
        return documents, places


def _drawn(order_seed: int, num_tokens: int) -> int:
    """Returns the position that a seed draws, the same on any machine and version."""
    if not order_seed or not num_tokens:
        return 0
    digest = hashlib.blake2b(f"{order_seed}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % num_tokens


def _starts(
    inputs: np.ndarray, streams_begin: bool, document_mark: int | None
) -> np.ndarray:
    """Returns [B, T] bool: where the state must be zero before reading.

    `</s>` ends one document and is read as the first token of the next, from
    zero state: what it predicts is the next document's first token, and nothing
    of the previous document leaks into it.
    """
    # No token is negative.
    starts = inputs == (-1 if document_mark is None else document_mark)
    starts[:, 0] |= streams_begin
    return starts
