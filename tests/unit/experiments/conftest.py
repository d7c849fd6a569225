"""Trials of arms, for tests of what is made of them."""

import pytest

from lmcodistill.experiments import arms, curves, results


@pytest.fixture(scope="session")
def known():
    return arms.standard(arms.Base(global_batch_size=32, num_train_steps=600))


@pytest.fixture(scope="session")
def trial():
    """Returns a trial with a report every 10 steps; a step takes 0.2 s."""

    def make(*values, processes=1, prior=results.Spent()):  # noqa: B008, a constant.
        points = [
            curves.Point(10 * i, 1_000 * i, 2.0 * i, 2.0 * i * processes, value)
            for i, value in enumerate(values, 1)
        ]
        return results.Trial(values[-1], points, 1.0, 5.0, prior)

    return make


@pytest.fixture(scope="session")
def compared(known):
    """Returns results by arm, from trials by arm, the reference first."""

    def make(**trials):
        reference, *_ = trials
        of_arms = {known[name]: own for name, own in trials.items()}
        return {r.arm.name: r for r in results.compare(of_arms, reference)}

    return make


@pytest.fixture(scope="session")
def around(trial):
    """Returns three seeds around a cross entropy."""

    def make(value, spread=0.0, first=5.0):
        return [trial(first, value + d) for d in (-spread, 0.0, spread)]

    return make
