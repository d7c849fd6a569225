"""Windows by hand on a stream of 20 tokens, and every held-out token once."""

import itertools

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.data import shards, windows

END = 99
# Token p is p, but for the ends of documents after 4, 12 and 19 tokens. Two streams
# of 10 tokens hold three windows of 3 each: (10 - 1) // 3.
TWENTY = np.arange(20)
TWENTY[[4, 12, 19]] = END
# Draws position 14 of 20: BLAKE2b's 8 bytes of "20", little end first, modulo 20.
AT_14 = 20


def training(tokens=TWENTY, streams=2, window=3, reset_at_documents=True, order_seed=0):
    return windows.TrainingWindows(
        shards.SplitTokens([np.asarray(tokens, "<u2")]),
        global_batch_size=streams,
        window=window,
        end_id=END,
        reset_at_documents=reset_at_documents,
        order_seed=order_seed,
    )


def test_training_windows_by_hand():
    found = training()

    first, second, third = (found.at(step, 0, 2) for step in range(3))

    assert found.windows_per_epoch == 3
    assert first.inputs.tolist() == [[0, 1, 2], [10, 11, END]]
    assert first.targets.tolist() == [[1, 2, 3], [11, END, 13]]
    assert second.inputs.tolist() == [[3, END, 5], [13, 14, 15]]
    assert second.targets.tolist() == [[END, 5, 6], [14, 15, 16]]
    assert third.inputs.tolist() == [[6, 7, 8], [16, 17, 18]]
    assert third.targets.tolist() == [[7, 8, 9], [17, 18, END]]
    for window in (first, second, third):
        assert window.inputs.dtype == window.targets.dtype == np.int32
        assert window.weights.tolist() == [[1.0] * 3] * 2


def test_state_is_zero_where_a_stream_begins_and_where_the_end_piece_is_read():
    found = training()

    starts = [found.at(step, 0, 2).is_start.tolist() for step in range(3)]

    # `</s>` is read as the first token of the document that follows it.
    no, yes = False, True
    assert starts == [
        [[yes, no, no], [yes, no, yes]],
        [[no, yes, no], [no, no, no]],
        [[no, no, no], [no, no, no]],
    ]


def test_without_resets_only_the_begin_of_a_stream_starts_anew():
    found = training(reset_at_documents=False)

    starts = [found.at(step, 0, 2).is_start for step in range(4)]

    assert [s.sum() for s in starts] == [2, 0, 0, 2]
    assert starts[0][:, 0].all() and starts[3][:, 0].all()


def test_epochs_repeat_and_start_with_zero_state():
    found = training()

    for step in (3, 6, 3_000_000):
        again, first = found.at(step, 0, 2), found.at(0, 0, 2)
        np.testing.assert_array_equal(again.inputs, first.inputs)
        np.testing.assert_array_equal(again.is_start, first.is_start)


@pytest.mark.parametrize("order_seed", [0, AT_14])
@pytest.mark.parametrize("step", [0, 1, 5])
def test_replicas_together_read_what_one_would(step, order_seed):
    found = training(streams=4, window=2, order_seed=order_seed)

    whole = found.at(step, 0, 4)
    halves = [found.at(step, first, 2) for first in (0, 2)]

    for name in ("inputs", "targets", "is_start", "weights"):
        np.testing.assert_array_equal(
            getattr(whole, name), np.concatenate([getattr(h, name) for h in halves])
        )


def test_text_of_another_order_begins_elsewhere_and_goes_on_at_its_begin():
    found = training(order_seed=AT_14)

    first, second, third = (found.at(step, 0, 2) for step in range(3))

    assert first.inputs.tolist() == [[14, 15, 16], [END, 5, 6]]
    assert second.inputs.tolist() == [[17, 18, END], [7, 8, 9]]
    assert second.targets.tolist() == [[18, END, 0], [8, 9, 10]]
    assert third.inputs.tolist() == [[0, 1, 2], [10, 11, END]]
    assert third.targets.tolist() == [[1, 2, 3], [11, END, 13]]


@pytest.mark.parametrize("window", [2, 4])
def test_state_is_zero_where_the_text_begins_again(window):
    # Without resets at documents, and within a window as well as at its edge.
    found = training(window=window, reset_at_documents=False, order_seed=AT_14)

    steps = range(found.windows_per_epoch)
    starts = np.concatenate([found.at(step, 0, 2).is_start for step in steps], 1)

    # Token 0 is the seventh of stream 0.
    assert np.argwhere(starts).tolist() == [[0, 0], [0, 6], [1, 0]]


@pytest.mark.parametrize("seed", range(1, 9))
def test_every_order_reads_every_token_once_an_epoch(seed):
    # Streams of 10 tokens, three windows of 3: the last of each is a target only.
    found = training(np.arange(20), order_seed=seed)

    read = [found.at(step, 0, 2) for step in range(3)]

    for values in ([w.inputs for w in read], [w.targets for w in read]):
        assert len(np.unique(values)) == 18
    np.testing.assert_array_equal(found.at(3, 0, 2).inputs, read[0].inputs)


def test_orders_of_two_seeds_share_no_batch():
    text = np.arange(10_000)
    by_seed = [training(text, 4, 8, order_seed=seed) for seed in (0, 1, 2, 1_000)]

    seen = {w.at(step, 0, 4).inputs.tobytes() for w in by_seed for step in range(300)}

    assert len(seen) == 4 * 300


def test_windows_of_a_stream_follow_each_other_without_a_gap():
    found = training(window=2)

    inputs = np.concatenate([found.at(step, 0, 2).inputs for step in range(4)], 1)

    np.testing.assert_array_equal(inputs, TWENTY.reshape(2, 10)[:, :8])


def test_windows_read_across_shards():
    pieces = np.split(TWENTY.astype("<u2"), [1, 5, 11])
    found = windows.TrainingWindows(
        shards.SplitTokens(pieces),
        global_batch_size=2,
        window=3,
        end_id=END,
        reset_at_documents=True,
    )

    for step in range(3):
        np.testing.assert_array_equal(
            found.at(step, 0, 2).targets, training().at(step, 0, 2).targets
        )


def test_shortest_text_that_fits_is_one_window_and_its_last_target():
    # 2 streams of 3 + 1 tokens.
    assert training(range(8)).windows_per_epoch == 1
    with pytest.raises(errors.DataError, match="has 7 tokens; .* at least 8.*WINDOW"):
        training(range(7))


def test_text_with_less_than_a_token_per_stream_is_refused():
    with pytest.raises(errors.DataError, match="has 1 tokens; .* at least 8"):
        training(range(1))


def evaluation(num_tokens, streams, window, **options):
    options = {"reset_at_documents": True, **options}
    return windows.EvaluationWindows(
        shards.SplitTokens([np.arange(num_tokens, dtype="<u2")]),
        streams=streams,
        window=window,
        end_id=END,
        **options,
    )


def scored(found, streams):
    """Returns all (input, target) pairs with weight 1.0."""
    pairs = []
    for index in range(found.num_windows):
        window = found.at(index, 0, streams)
        rows = window.weights == 1.0
        assert (window.weights[~rows] == 0.0).all()
        pairs += zip(window.inputs[rows], window.targets[rows], strict=True)
    return pairs


# Lengths around the streams' and windows' multiples, and more streams than tokens.
SIZES = list(itertools.product((1, 2, 3, 7, 8, 9, 24, 25), (1, 2, 3, 8), (1, 3, 4)))


@pytest.mark.parametrize(("num_tokens", "streams", "window"), SIZES)
def test_every_held_out_token_is_scored_exactly_once(num_tokens, streams, window):
    found = evaluation(num_tokens, streams, window)

    pairs = scored(found, streams)

    # Each from the token before it, the first from `</s>`.
    expected = [(END if p == 0 else p - 1, p) for p in range(num_tokens)]
    assert sorted(pairs, key=lambda pair: pair[1]) == expected
    assert found.num_tokens == num_tokens


@pytest.mark.parametrize(("num_tokens", "streams", "window"), SIZES)
def test_first_tokens_alone_are_scored_where_fewer_are_asked_for(
    num_tokens, streams, window
):
    wanted = (num_tokens + 1) // 2

    found = evaluation(num_tokens, streams, window, max_tokens=wanted)

    assert sorted(target for _, target in scored(found, streams)) == list(range(wanted))


@pytest.mark.parametrize(("num_tokens", "streams", "window"), SIZES)
def test_two_parts_of_a_held_out_text_are_the_whole_text(num_tokens, streams, window):
    middle = num_tokens // 2

    parts = []
    if middle:
        parts += scored(evaluation(num_tokens, streams, window, max_tokens=middle), 8)
    rest = evaluation(num_tokens, streams, window, first_token=middle)
    parts += scored(rest, 8)

    # The first of the rest is predicted from the token before it as well.
    expected = [(END if p == 0 else p - 1, p) for p in range(num_tokens)]
    assert sorted(parts, key=lambda pair: pair[1]) == expected
    assert rest.num_tokens == num_tokens - middle


def test_a_part_beyond_the_end_of_a_held_out_text_is_refused():
    with pytest.raises(errors.DataError, match="5 tokens.*EVALUATION_FIRST_TOKEN"):
        evaluation(5, 2, 2, first_token=5)


def test_documents_of_a_part_are_counted_from_its_beginning():
    tokens = shards.SplitTokens([np.array([5, END, 6, 7, END, 8], "<u2")])
    options = {"streams": 2, "window": 4, "end_id": END, "reset_at_documents": True}

    found = windows.EvaluationWindows(tokens, first_token=1, **options)

    documents, places = found.documents()
    assert documents.tolist() == [0, 1, 1, 1, 2]
    assert places.tolist() == [0, 0, 1, 2, 0]


def test_evaluation_windows_by_hand():
    # 5 tokens in 2 streams of 3, windows of 2: the second stream lacks one token.
    found = evaluation(5, 2, 2)

    first, second = found.at(0, 0, 2), found.at(1, 0, 2)

    assert found.num_windows == 2
    assert first.inputs.tolist() == [[END, 0], [2, 3]]
    assert first.targets.tolist() == [[0, 1], [3, 4]]
    assert first.is_start.tolist() == [[True, False], [True, False]]
    assert second.targets[0, 0] == 2
    assert second.weights.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert not second.is_start[0, 0]


def test_lanes_beyond_the_last_are_empty():
    # So that workers may take equal shares.
    window = evaluation(5, 2, 2).at(0, 1, 3)

    assert window.targets[0].tolist() == [3, 4]
    assert window.weights.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]


def test_state_is_zero_after_the_end_of_a_held_out_document():
    tokens = shards.SplitTokens([np.array([5, END, 6, 7], "<u2")])
    options = {"streams": 1, "window": 4, "end_id": END}

    resets = windows.EvaluationWindows(tokens, reset_at_documents=True, **options)
    carries = windows.EvaluationWindows(tokens, reset_at_documents=False, **options)

    assert resets.at(0, 0, 1).inputs.tolist() == [[END, 5, END, 6]]
    assert resets.at(0, 0, 1).is_start.tolist() == [[True, False, True, False]]
    assert carries.at(0, 0, 1).is_start.tolist() == [[True, False, False, False]]


def test_empty_held_out_split_is_refused():
    with pytest.raises(errors.DataError, match="no tokens.*VALIDATION_FRACTION"):
        evaluation(0, 2, 2)
