"""The halves of a validation text."""

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.data import shards
from lmcodistill.experiments import text_parts

END = 1


def halves(*tokens, first_token=0, max_tokens=0):
    text = shards.SplitTokens([np.array(tokens, "<u2")])
    return text_parts.halves(text, END, first_token, max_tokens)


def test_second_half_begins_with_the_document_nearest_to_the_middle():
    first, second = halves(5, 5, 5, END, 6, 6, 6, 6, 6, END, 7, 7, END)

    # The middle is 6; documents begin at 4 and at 10.
    assert first == (0, 4)
    assert second == (4, 0)


def test_documents_far_from_the_middle_make_no_halves():
    first, second = halves(5, END, 6, 6, 6, 6, 6, 6, 6, 6, 6, END)

    assert first == (0, 6)
    assert second == (6, 0)


@pytest.mark.parametrize("last", [5, END])
def test_one_document_is_cut_in_the_middle(last):
    assert halves(5, 5, 5, 5, 5, last) == ((0, 3), (3, 0))


def test_what_a_user_leaves_out_is_in_neither_half():
    first, second = halves(9, 9, 9, 9, 5, END, 6, END, first_token=4)

    assert first == (4, 2)
    assert second == (6, 0)


def test_fewer_tokens_between_updates_are_kept():
    first, second = halves(5, END, 6, END, 7, END, 8, END, max_tokens=2)

    assert (first, second) == ((0, 2), (4, 2))
    # The first half is no longer than it is.
    assert halves(5, END, 6, END, max_tokens=9)[0] == (0, 2)


def test_a_text_without_two_halves_is_refused():
    with pytest.raises(errors.DataError, match="from token 1 on"):
        halves(5, 5, first_token=1)
