"""What each exchange mode plans, by hand. Steps are of 50, and a peer's first is 50."""

import dataclasses

import pytest

from lmcodistill.codistill import fixed_targets, policies, topologies
from lmcodistill.codistill.policies import ReloadPlan, Request
from lmcodistill.settings import codistillation as settings


def policy(targets="peers", student=0, students=3, burn_in=0, paths=(), **exchange):
    given = {"publish_every_steps": 50, "reload_every_steps": 50, **exchange}
    return policies.of(
        student,
        students,
        settings.Distillation(targets=targets, offline_exports=paths),
        settings.Exchange(**given),
        burn_in,
    )


def test_choices_of_the_settings_are_the_tables():
    assert set(settings.MODES) == policies.MODES.keys()
    assert set(settings.TOPOLOGIES) == topologies.TOPOLOGIES.keys()
    assert set(settings.FIXED_TARGETS) == fixed_targets.DISTRIBUTIONS.keys()


@pytest.mark.parametrize("targets", settings.TARGETS)
def test_every_kind_of_targets_has_a_policy(targets):
    assert policy(targets, paths=("x",) if targets == "offline" else ())


@pytest.mark.parametrize("field", ["mode", "topology"])
def test_name_that_nobody_handles_raises(field):
    exchange = settings.Exchange()
    object.__setattr__(exchange, field, "new")  # As if only the settings knew it.

    with pytest.raises(KeyError, match="new"):
        policies.of(0, 2, settings.Distillation(), exchange, 0).before_step(50, {})


@pytest.mark.parametrize("targets", ["none", "uniform", "unigram"])
def test_nothing_is_read_where_no_model_teaches(targets):
    alone = policy(targets)

    assert {alone.before_step(step, {}) for step in range(200)} == {ReloadPlan()}
    assert alone.num_teachers == 0


def test_offline_exports_are_read_once_at_the_end_of_burn_in():
    offline = policy("offline", burn_in=10, paths=("a", "b"))

    assert offline.before_step(9, {}) == ReloadPlan()
    assert offline.before_step(10, {}) == ReloadPlan(paths=("a", "b"))
    assert offline.before_step(11, {0: (1, 90), 1: (1, 90)}) == ReloadPlan()
    assert offline.num_teachers == 2


def reload_steps(policy, until=13):
    return [s for s in range(until) if policy.before_step(s, {}).requests]


@pytest.mark.parametrize(
    ("burn_in", "period", "expected"),
    [
        (0, 4, [0, 4, 8, 12]),
        (4, 4, [4, 8, 12]),
        (6, 4, [6, 8, 12]),  # The first look is at burn-in's end, out of turn.
        (7, 1, [7, 8, 9, 10, 11, 12]),
        (13, 4, []),
    ],
)
def test_first_look_for_exports_is_at_the_end_of_burn_in(burn_in, period, expected):
    assert reload_steps(policy(burn_in=burn_in, reload_every_steps=period)) == expected


def test_freshest_looks_for_what_is_newer_and_waits_for_nobody():
    plan = policy(student=1).before_step(100, {2: (1, 50)})

    assert plan == ReloadPlan(
        peers=(2, 0), requests=(Request(2, held=(1, 50)), Request(0))
    )


def test_teacher_beyond_the_largest_staleness_is_let_go_at_any_step():
    freshest = policy(max_staleness_steps=60)
    held = {1: (1, 50), 2: (3, 100)}

    assert freshest.before_step(110, held) == ReloadPlan()
    assert freshest.before_step(111, held) == ReloadPlan(let_go=(1,))
    assert freshest.before_step(150, held).requests == (
        Request(1, oldest=90),
        Request(2, held=(3, 100), oldest=90),
    )


@pytest.mark.parametrize(
    ("step", "delay", "expected"),
    [
        (100, 0, 100),
        (149, 0, 100),
        (100, 1, 50),
        (100, 50, 50),
        (120, 50, 50),
        (100, 51, None),  # 49: before the first export.
        (100, 100, None),  # 0: nobody publishes untrained weights.
        (100, 200, None),
        (49, 0, None),
    ],
)
def test_scheduled_export_is_the_newest_of_delay_steps_ago(step, delay, expected):
    scheduled = policy(mode="scheduled", delay_steps=delay)

    assert scheduled.export_step(step) == expected


def test_scheduled_waits_for_the_exports_of_one_step_that_it_does_not_hold():
    scheduled = policy(mode="scheduled", delay_steps=50)

    plan = scheduled.before_step(150, {1: (1, 50), 2: (1, 100)})

    assert plan == ReloadPlan(
        peers=(1, 2),
        requests=(Request(1, 100, (1, 50)),),
        must_wait=True,
        next_step=200,
    )


def test_scheduled_looks_ahead_though_nothing_is_published_yet():
    plan = policy(mode="scheduled", delay_steps=50).before_step(50, {})

    assert (plan.requests, plan.must_wait, plan.next_step) == ((), True, 100)


def test_averaging_waits_as_scheduled_does_and_has_no_teachers():
    fields = {"mode": "scheduled", "students": 2}
    averaging = policy("none", average_weights=True, **fields)
    scheduled = policy("peers", **fields)

    plan = averaging.before_step(50, {})

    assert plan == scheduled.before_step(50, {})._replace(is_averaged=True)
    assert (averaging.num_teachers, scheduled.num_teachers) == (0, 1)


@pytest.mark.parametrize(
    ("changes", "all_alive", "reads_peers", "longest_wait"),
    [
        ({}, False, True, 0.0),
        ({"mode": "scheduled"}, True, True, 14.0),
        ({"mode": "scheduled", "average_weights": True}, True, True, 14.0),
        # Who reads nobody is no hindrance, but may wait for its own storage.
        ({"targets": "none", "mode": "scheduled"}, False, False, 14.0),
        ({"targets": "none"}, False, False, 0.0),
    ],
)
def test_what_supervision_asks(changes, all_alive, reads_peers, longest_wait):
    asked = policy(**{"deadline_seconds": 7.0, **changes})

    assert asked.is_waited_for == all_alive
    assert asked.reads_peers == reads_peers
    assert asked.longest_wait_seconds == longest_wait


@pytest.mark.parametrize(
    ("mode", "keep", "expected"),
    [
        # Two windows of delay and reload, two checkpoint periods, in exports of
        # 50 steps: 2 * (100 + 50) + 2 * 200 = 700 steps, and two to spare.
        ("scheduled", 5, (False, 16, 50, 9.0)),
        ("scheduled", 40, (False, 40, 50, 9.0)),
        ("freshest", 5, (True, 5, 1, 0.0)),
    ],
)
@pytest.mark.parametrize("targets", ["peers", "none"])
def test_owner_owes_what_the_mode_promises_its_readers(targets, mode, keep, expected):
    own = policy(
        targets, mode=mode, keep_exports=keep, delay_steps=100, deadline_seconds=9.0
    )

    assert own.publishing(checkpoint_every_steps=200) == expected


def test_look_at_hanging_storage_is_given_up_only_where_nobody_waits():
    freshest = policy(read_deadline_seconds=3.0)
    scheduled = policy(read_deadline_seconds=3.0, mode="scheduled")

    assert freshest.read_deadline_seconds == 3.0
    assert scheduled.read_deadline_seconds is None


def test_policy_changes_nothing_of_what_it_is_given():
    held = {1: (1, 0)}

    policy(max_staleness_steps=1).before_step(50, held)

    assert held == {1: (1, 0)}
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy().student = 1


@pytest.mark.parametrize(
    ("given", "last", "expected"),
    [
        # The export of step 50 is still being written when step 50 looks for it.
        ({}, 200, [100, 150]),
        # What the look at the end of burn-in found is still the newest at 150.
        ({"burn_in": 120}, 200, [120]),
        ({"burn_in": 200}, 200, []),
        ({"publish_every_steps": 100}, 300, [150, 250]),
        # Each look finds another peer.
        ({"publish_every_steps": 100, "topology": "rotate"}, 300, [150, 200, 250]),
        ({"publish_every_steps": 160}, 200, []),
        ({"mode": "scheduled"}, 200, [50, 100, 150]),
        ({"mode": "scheduled", "delay_steps": 100}, 200, [150]),
        ({"mode": "scheduled", "delay_steps": 150}, 200, []),
        ({"targets": "offline", "paths": ("x",), "burn_in": 30}, 200, [30]),
        ({"targets": "offline", "paths": ("x",), "burn_in": 200}, 200, []),
        ({"targets": "none"}, 200, []),
    ],
)
def test_steps_with_something_new_to_use_are_as_by_hand(given, last, expected):
    assert list(policy(**given).update_steps(last)) == expected
