"""Which tokens step `s` trains on: arithmetic on `s`, and nothing else.

A *lane* is one row of the global batch. With N tokens and B lanes, lane b reads
the span that starts at `b * (N // B)`; window k of an epoch covers the T tokens
at offset `k * T` of every lane. LSTM state is carried along a lane, so a lane's
windows follow each other; `is_start` says where the state must be zero.

Differs from the paper: arXiv:1804.03235 moves a lane to a new document only at
a window's edge; here documents follow each other inside the window, so that no
position is wasted.
"""

import dataclasses

import numpy as np

from lmcodistill import errors
from lmcodistill.data import shards


@dataclasses.dataclass(frozen=True)
class Window:
    """What a batch of lanes reads in one step.

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
    """The windows of one partition, by step.

    Attributes:
        windows_per_epoch: Steps after which every lane starts again.
    """

    def __init__(
        self,
        stream: shards.TokenStream,
        *,
        global_batch_size: int,
        window: int,
        end_id: int,
        reset_at_documents: bool,
    ):
        """Lays `global_batch_size` lanes over `stream`.

        Args:
            stream: The partition's tokens.
            global_batch_size: Lanes of the whole group, B.
            window: Tokens per lane and step, T.
            end_id: The token that ends a document.
            reset_at_documents: Whether a new document starts with zero state;
                otherwise only the first token of a lane does.

        Raises:
            DataError: a lane would hold no whole window.
        """
        self._stream, self._window = stream, window
        self._document_mark = end_id if reset_at_documents else None
        self._lane_length = stream.num_tokens // global_batch_size
        self.windows_per_epoch = (self._lane_length - 1) // window
        if self.windows_per_epoch < 1:
            raise errors.DataError(
                f"The partition has {stream.num_tokens:,} tokens; a batch of "
                f"{global_batch_size} lanes with windows of {window} needs at least "
                f"{global_batch_size * (window + 1):,}. Give prep more text, or lower "
                "GLOBAL_BATCH_SIZE or WINDOW."
            )

    def at(self, step: int, first_lane: int, num_lanes: int) -> Window:
        """Returns what lanes `[first_lane, first_lane + num_lanes)` read.

        Args:
            step: The update moves step `step` to `step + 1`.
            first_lane: First of this replica's lanes.
            num_lanes: How many.
        """
        offset = (step % self.windows_per_epoch) * self._window
        tokens = np.stack(
            [
                self._stream.read(lane * self._lane_length + offset, self._window + 1)
                for lane in range(first_lane, first_lane + num_lanes)
            ]
        )
        inputs = tokens[:, :-1]
        is_start = _starts(inputs, offset == 0, self._document_mark)
        weights = np.ones((num_lanes, self._window), np.float32)
        return Window(inputs, tokens[:, 1:], is_start, weights)


class EvaluationWindows:
    """Every token of a held-out split, scored exactly once.

    The first token is predicted from `</s>`, as the first of every document is.
    A lane's first token is predicted from the token before it but with zero
    state, so more lanes cost a little context.

    Attributes:
        num_tokens: Tokens scored by all windows together.
        lanes: How many lanes they lie in.
        num_windows: How many windows cover a lane.
    """

    def __init__(
        self,
        stream: shards.TokenStream,
        *,
        lanes: int,
        window: int,
        end_id: int,
        reset_at_documents: bool,
        max_tokens: int | None = None,
    ):
        """Lays `lanes` lanes over `stream`, or over its first `max_tokens`.

        Raises:
            DataError: the split is empty.
        """
        self.num_tokens = min(stream.num_tokens, max_tokens or stream.num_tokens)
        if not self.num_tokens:
            raise errors.DataError(
                "The held-out split has no tokens, so nothing can be evaluated. Give "
                "prep more documents or raise VALIDATION_FRACTION."
            )
        self._stream, self._window, self._end_id = stream, window, end_id
        self._document_mark = end_id if reset_at_documents else None
        self.lanes = min(lanes, self.num_tokens)
        self._lane_length = -(-self.num_tokens // self.lanes)
        self.num_windows = -(-self._lane_length // window)

    def at(self, index: int, first_lane: int, num_lanes: int) -> Window:
        """Returns window `index` of some lanes; what a short lane lacks is padded.

        Args:
            index: Which window.
            first_lane: First of the rows wanted; lanes beyond the last are empty.
            num_lanes: How many rows.
        """
        shape = (num_lanes, self._window)
        inputs = np.full(shape, self._end_id, np.int32)
        targets = np.full(shape, self._end_id, np.int32)
        weights = np.zeros(shape, np.float32)
        offset = index * self._window
        for row in range(num_lanes):
            lane = first_lane + row
            start = lane * self._lane_length + offset
            end = min((lane + 1) * self._lane_length, self.num_tokens)
            length = min(self._window, end - start)
            if length <= 0:
                continue
            targets[row, :length] = self._stream.read(start, length)
            inputs[row, 1:length] = targets[row, : length - 1]
            if start > 0:
                inputs[row, 0] = self._stream.read(start - 1, 1)[0]
            weights[row, :length] = 1.0
        is_start = _starts(inputs, index == 0, self._document_mark)
        return Window(inputs, targets, is_start, weights)


def _starts(
    inputs: np.ndarray, lanes_begin: bool, document_mark: int | None
) -> np.ndarray:
    """Returns [B, T] bool: where the state must be zero before reading.

    `</s>` ends one document and is read as the first token of the next, from
    zero state: what it predicts is the next document's first token, and nothing
    of the previous document leaks into it.
    """
    starts = np.zeros(inputs.shape, bool)
    if document_mark is not None:
        starts = inputs == document_mark
    if lanes_begin:
        starts[:, 0] = True
    return starts
