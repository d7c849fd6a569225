"""Windows over texts, against what is written down by hand."""

import numpy as np

from lmcodistill.data import text_windows

END = 2


def test_each_text_is_read_from_the_end_mark_and_ends_with_it():
    windows = text_windows.TextWindows([[3, 4, 5], [6]], window=3, end_id=END)

    first, second = (windows.at(index, 0, 2) for index in range(windows.num_windows))

    np.testing.assert_array_equal(first.inputs, [[END, 3, 4], [END, 6, END]])
    np.testing.assert_array_equal(first.targets, [[3, 4, 5], [6, END, END]])
    np.testing.assert_array_equal(first.weights, [[1, 1, 1], [1, 1, 0]])
    np.testing.assert_array_equal(first.is_start, [[True, False, False]] * 2)
    np.testing.assert_array_equal(second.inputs, [[5, END, END], [END, END, END]])
    np.testing.assert_array_equal(second.targets, [[END, END, END]] * 2)
    np.testing.assert_array_equal(second.weights, [[1, 0, 0], [0, 0, 0]])
    assert not second.is_start.any()


def test_rows_beyond_the_last_text_are_empty():
    window = text_windows.TextWindows([[3]], window=2, end_id=END).at(0, 0, 4)

    np.testing.assert_array_equal(window.weights.sum(1), [2, 0, 0, 0])


def test_empty_text_is_its_end_mark():
    windows = text_windows.TextWindows([[]], window=4, end_id=END)

    assert windows.num_windows == 1
    assert windows.at(0, 0, 1).weights.sum() == 1.0


def test_no_texts_have_no_windows():
    assert text_windows.TextWindows([], window=4, end_id=END).num_windows == 0
