"""Windows over texts that stand for themselves: each is read from the beginning.

What `windows.EvaluationWindows` is for a split. A stream is one text, so streams
differ in length, and nothing of a text leaks into another.
"""

from collections.abc import Sequence

import numpy as np

from lmcodistill.data import windows


class TextWindows:
    """Every token of some texts, scored exactly once, the `</s>` of each included.

    A text's first token is predicted from `</s>`, as that of every document is.

    Attributes:
        num_windows: How many windows cover the longest text.
    """

    def __init__(
        self, texts: Sequence[Sequence[int] | np.ndarray], *, window: int, end_id: int
    ):
        """Takes the ids of each text, without `</s>`."""
        self._targets = [[*text, end_id] for text in texts]
        self._window, self._end_id = window, end_id
        longest = max(map(len, self._targets), default=0)
        self.num_windows = -(-longest // window)

    def at(self, index: int, first_stream: int, num_streams: int) -> windows.Window:
        """Returns window `index` of some texts; what a short one lacks is padded.

        Args:
            index: Which window.
            first_stream: First of the texts wanted; beyond the last they are empty.
            num_streams: How many rows.
        """
        shape = (num_streams, self._window)
        inputs = np.full(shape, self._end_id, np.int32)
        targets = np.full(shape, self._end_id, np.int32)
        weights = np.zeros(shape, np.float32)
        offset = index * self._window
        streams = self._targets[first_stream : first_stream + num_streams]
        for row, text in enumerate(streams):
            part = text[offset : offset + self._window]
            targets[row, : len(part)] = part
            before = text[max(offset - 1, 0) : offset + len(part) - 1]
            inputs[row, len(part) - len(before) : len(part)] = before
            weights[row, : len(part)] = 1.0
        is_start = np.zeros(shape, bool)
        is_start[:, 0] = index == 0
        return windows.Window(inputs, targets, is_start, weights)
