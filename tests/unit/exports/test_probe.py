"""The probe batch: what learns passes at any age, what would do harm does not."""

import threading

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.exports import probe
from lmcodistill.model import scoring

TEXT = np.random.default_rng(0).integers(3, 12, [4, 9], np.int32)


def a_probe(bound=None, is_start=False):
    starts = np.full([4, 8], is_start)
    return probe.Probe(TEXT[:, :-1], TEXT[:, 1:], starts, bound)


def with_weights(export, change):
    """Returns an export with other weights of the same shapes."""
    changed = {name: change(value) for name, value in export.weights.items()}
    return type(export)(**{**vars(export), "weights": changed})


def noise(scale):
    rng = np.random.default_rng(5)
    return lambda value: scale * rng.standard_normal(value.shape, np.float32)


def test_cross_entropy_is_the_models(make_export):
    export = make_export(student=1, step=50)
    model = export.build()
    # Every text from zero state, which serving does as well.
    expected = scoring.token_losses(model, TEXT[:, :-1], TEXT[:, 1:])

    found = a_probe().cross_entropy(export)

    assert found == pytest.approx(np.mean(expected), rel=1e-6)


def test_state_is_zeroed_where_a_document_starts(make_export):
    export = with_weights(make_export(student=1, step=50), noise(1.0))
    pairs = TEXT[:, :-1].reshape(-1, 1), TEXT[:, 1:].reshape(-1, 1)
    alone = scoring.token_losses(export.build(), *pairs)

    found = a_probe(is_start=True).cross_entropy(export)

    assert found == pytest.approx(np.mean(alone), rel=1e-5)
    assert found != pytest.approx(a_probe().cross_entropy(export), rel=1e-3)


def test_untrained_student_passes(make_export):
    a_probe().check(make_export(student=1, step=1))


def test_weights_of_zero_pass_as_the_uniform_guess_that_they_are(make_export):
    export = with_weights(make_export(student=1, step=50), np.zeros_like)

    a_probe().check(export)

    assert a_probe().cross_entropy(export) == pytest.approx(np.log(12), rel=1e-6)


def test_noise_is_refused_with_its_loss_and_the_bound(make_export):
    export = with_weights(make_export(student=1, step=50), noise(100.0))

    with pytest.raises(
        errors.SnapshotError, match=r"entropy of \d+\.\d\d nats .* at most 3\.48 was"
    ) as refusal:
        a_probe().check(export)

    assert refusal.value.reason == "probe"


def test_bound_may_be_given(make_export):
    export = make_export(student=1, step=50)

    a_probe(bound=3.0).check(export)
    with pytest.raises(errors.SnapshotError, match=r"at most 2\.00 was expected"):
        a_probe(bound=2.0).check(export)


def test_loss_is_the_difference_and_the_share_of_tokens_that_stay(make_export):
    export = with_weights(make_export(student=1, step=50), noise(1.0))
    other = with_weights(export, lambda value: 0.9 * value)
    judge = a_probe()

    same = judge.loss(export, export.weights)
    loss = judge.loss(export, other.weights)

    assert same == (0.0, 1.0)
    expected = judge.cross_entropy(other) - judge.cross_entropy(export)
    assert loss.cross_entropy == pytest.approx(expected, abs=1e-9)
    assert 0.0 < loss.agreement <= 1.0


def test_what_is_no_number_is_refused(make_export):
    export = with_weights(
        make_export(student=1, step=50), lambda value: np.full_like(value, np.nan)
    )

    with pytest.raises(errors.SnapshotError, match="entropy of nan"):
        a_probe().check(export)


def test_another_thread_finds_the_same(make_export):
    export, found = make_export(student=1, step=50), []
    judge = a_probe()

    thread = threading.Thread(target=lambda: found.append(judge.cross_entropy(export)))
    thread.start()
    thread.join()

    assert found == [judge.cross_entropy(export)]
