"""The line between a supervisor and a worker."""

import socket

import pytest

from lmcodistill.supervision import lifeline
from lmcodistill.supervision.on_demand import OnDemand


@pytest.fixture
def ends():
    """A supervisor's end and a worker's."""
    ours, theirs = socket.socketpair()
    pulse, line = lifeline.Pulse(ours), lifeline.Lifeline(theirs)
    yield pulse, line
    ours.close()
    theirs.close()


def test_a_worker_is_heard_to_start_to_join_and_to_train(ends):
    pulse, line = ends
    seen = []

    for told in ((False, None), (True, None), (True, 7)):
        line.tell(*told)
        pulse.listen(elapsed=1.0)
        seen.append((pulse.has_joined, pulse.step))

    assert seen == [(False, None), (True, None), (True, 7)]


def test_silence_adds_up_until_a_word_ends_it(ends):
    pulse, line = ends
    for _ in range(3):
        pulse.listen(elapsed=2.0)
    quiet = pulse.quiet_seconds

    line.tell(True, 3)
    pulse.listen(elapsed=2.0)

    assert (quiet, pulse.quiet_seconds) == (6.0, 0.0)


def test_what_was_said_while_nobody_listened_counts_as_the_last_word(ends):
    pulse, line = ends
    for step in range(20):
        line.tell(True, step)

    pulse.listen(elapsed=20.0)

    assert (pulse.step, pulse.quiet_seconds) == (19, 0.0)


@pytest.mark.parametrize("request_", OnDemand, ids=lambda r: r.name)
def test_a_worker_that_is_asked_hears_what_for_and_lives_on(ends, request_):
    pulse, line = ends

    pulse.ask(request_)

    assert line.lasts()
    assert [x for x, asked in line.asked.items() if asked.is_set()] == [request_]


def test_a_supervisor_that_sleeps_stops_no_worker(ends):
    pulse, line = ends

    for step in range(5_000):
        line.tell(True, step)
    pulse.listen(elapsed=1.0)

    assert line.lasts()
    assert pulse.has_joined


def test_a_worker_notices_that_its_supervisor_is_gone(ends):
    pulse, line = ends

    pulse.close()

    assert not line.lasts()


def test_nonsense_is_not_taken_for_a_step():
    ours, theirs = socket.socketpair()
    pulse = lifeline.Pulse(ours)

    theirs.send(b"9" * 100 + b"\n-5\n\xff\n\n12")
    pulse.listen(elapsed=1.0)

    assert (pulse.has_joined, pulse.step) == (False, None)
    ours.close()
    theirs.close()
