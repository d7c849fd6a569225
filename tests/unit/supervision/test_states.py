"""What a student does, judged from what its supervisors and workers left."""

import pytest

from lmcodistill.supervision import states

PID = 4_711
STARTED = {"event": "started", "pids": [PID]}
LOST = {"event": "lost", "worker": 0}
FROZEN_LOSS = {**LOST, "cause": "frozen", "reason": "gave no sign of life for 30 s"}
TRAINING = {
    "pid": PID,
    "phase": "training",
    "restored_step": 0,
    "steps_per_second": 2.0,
}


def journal(*events, begins=0):
    """Returns what a supervisor noted, a second apart."""
    return [
        {"cause": None, "last_step": 7, **event, "time": f"2026-01-01T00:00:{i:02d}"}
        for i, event in enumerate(events, begins)
    ]


def gave_up(code):
    return {"event": "gave_up", "cause": f"exit code {code}"}


def judged(*events, beat=TRAINING, owner=None, **more):
    """Returns the state of a student of one supervisor whose chief lives."""
    return states.judge(
        states.Signs(
            journals=[journal(*events)],
            heartbeats=[beat] if beat else [],
            owner=owner or states.LeaseOwner(PID, (1, 3), True, False),
            **{"quiet_seconds": 1.0, "noted_seconds": 1.0, **more},
        )
    )


@pytest.mark.parametrize(
    ("events", "state", "code"),
    [
        ([], "lost", 75),
        ([STARTED], "running", 0),
        ([STARTED, {"event": "ended"}], "done", 0),
        ([STARTED, {"event": "stopped"}], "stopped", 143),
        ([STARTED, LOST, gave_up(5)], "diverged", 5),
        ([STARTED, LOST, gave_up(3)], "failed", 3),
        ([STARTED, LOST, gave_up(75)], "failed", 75),
        ([STARTED, LOST, {"event": "restarting"}], "restarting", 0),
        ([STARTED, LOST, {"event": "restarting"}, STARTED], "running", 0),
        ([STARTED, {"event": "quiet", "worker": 1}], "frozen", 75),
        (
            [STARTED, {"event": "quiet", "worker": 1}, {"event": "heard", "worker": 1}],
            "running",
            0,
        ),
        ([STARTED, {"event": "quiet", "worker": 1}, STARTED], "running", 0),
    ],
)
def test_state_follows_from_what_the_supervisor_noted_last(events, state, code):
    found = judged(*events)

    assert (found.state, found.exit_code) == (state, code)


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        ("checking the configuration", "starting"),
        ("importing TensorFlow", "starting"),
        ("joining its group", "starting"),
        ("building the model", "starting"),
        ("restoring the checkpoint", "starting"),
        ("tracing", "running"),
        ("validating", "running"),
        ("saving", "running"),
    ],
)
def test_phase_of_the_chief_tells_starting_from_running(phase, state):
    assert judged(STARTED, beat=TRAINING | {"phase": phase}).state == state


def test_first_trace_belongs_to_the_start():
    beat = TRAINING | {"phase": "tracing", "steps_per_second": 0.0}

    assert judged(STARTED, beat=beat).state == "starting"


def test_student_of_which_nothing_was_noted_has_not_started():
    assert states.judge(states.Signs()).state == "not started"


def test_heartbeat_of_an_earlier_start_says_nothing():
    found = judged(STARTED, beat=TRAINING | {"pid": PID + 1})

    assert (found.state, found.phase) == ("starting", None)


def test_who_waits_for_its_group_names_the_addresses_that_do_not_answer():
    beat = TRAINING | {"phase": "joining its group", "restored_step": None}
    waiting = {"event": "waiting", "missing": ["10.0.0.3:2222"]}

    found = judged(STARTED, waiting, beat=beat, quiet_seconds=200.0)
    come = judged(STARTED, waiting, waiting | {"missing": []}, beat=beat)

    assert (found.state, found.waiting_for) == ("waiting", "10.0.0.3:2222")
    assert come.state == "starting"


def test_who_waits_for_peers_says_for_what():
    beat = TRAINING | {"phase": "waiting", "waiting_for": "step 40 of student 1"}

    found = judged(STARTED, beat=beat)

    assert (found.state, found.waiting_for) == ("waiting", "step 40 of student 1")


def test_process_that_a_signal_stopped_is_frozen_at_once():
    assert judged(STARTED, stopped=[PID]).state == "frozen"


@pytest.mark.parametrize(
    ("is_alive", "quiet", "state"),
    [
        (True, 9.0, "running"),
        (True, 11.0, "frozen"),
        (True, 9_999.0, "frozen"),
        (None, 11.0, "frozen"),
        (None, 100.0, "lost"),
        (False, 1.0, "lost"),
    ],
)
def test_long_silence_is_frozen_while_somebody_may_live(is_alive, quiet, state):
    owner = states.LeaseOwner(PID, (1, 3), is_alive, False)

    assert judged(STARTED, owner=owner, quiet_seconds=quiet).state == state


def test_nobody_is_frozen_while_tensorflow_is_imported():
    beat = TRAINING | {"phase": "importing TensorFlow", "restored_step": None}

    assert judged(STARTED, beat=beat, quiet_seconds=60.0).state == "starting"


def test_restart_that_never_comes_is_a_loss():
    # The supervisor was killed in the pause.
    assert (
        judged(STARTED, LOST, {"event": "restarting"}, noted_seconds=100.0).state
        == "lost"
    )


@pytest.mark.parametrize(
    ("result", "state"),
    [
        ({"outcome": "stopped", "pid": PID}, "stopped"),
        ({"outcome": "done", "pid": PID}, "done"),
        ({"outcome": "done", "pid": 1}, "lost"),
        (None, "lost"),
    ],
)
def test_worker_that_outlived_its_supervisor_has_the_last_word(result, state):
    owner = states.LeaseOwner(PID, (1, 3), False, released=True)

    assert judged(STARTED, owner=owner, result=result).state == state


def test_lease_of_an_earlier_start_says_nothing_of_this_one():
    owner = states.LeaseOwner(PID + 1, (1, 3), False, released=True)

    assert judged(STARTED, owner=owner, beat=None).state == "starting"


def test_newest_event_counts_where_each_worker_has_a_supervisor():
    first = journal(STARTED, FROZEN_LOSS, {"event": "restarting"})
    second = journal(STARTED, {"event": "stopped"}, begins=10)

    assert states.judge(states.Signs([first, second])).state == "stopped"


def test_last_cause_has_the_worker_s_own_words():
    words = {"cause": "exit code 5", "reason": "Training diverged at step 12."}
    events = journal(STARTED, FROZEN_LOSS, STARTED, LOST | words, gave_up(5))
    for event in events[-2:]:  # Noted within the same millisecond.
        event["time"] = events[-1]["time"]

    found = states.last_cause([events])

    assert (found["cause"], found["reason"]) == (words["cause"], words["reason"])
    assert states.last_cause([journal(STARTED)]) is None


def test_loss_that_was_healed_is_still_told():
    found = states.last_cause([journal(STARTED, FROZEN_LOSS, STARTED)])

    assert (found["cause"], found["last_step"]) == ("frozen", 7)
