"""Who teaches whom, when, and from which export: tables by hand."""

import pytest

from lmcodistill.codistill import topologies
from lmcodistill.settings import codistillation as settings

# Of 2, 3 and 4 students, who teaches student 0, 1, ...
ALL = {
    1: [[]],
    2: [[1], [0]],
    3: [[1, 2], [2, 0], [0, 1]],
    4: [[1, 2, 3], [2, 3, 0], [3, 0, 1], [0, 1, 2]],
}
RING = {1: [[]], 2: [[1], [0]], 3: [[1], [2], [0]], 4: [[1], [2], [3], [0]]}


@pytest.mark.parametrize("num_students", [1, 2, 3, 4])
@pytest.mark.parametrize(("topology", "table"), [("all", ALL), ("ring", RING)])
def test_peers_of_every_student(topology, table, num_students):
    given = settings.Exchange(topology=topology)

    for step in (0, 50, 100):
        actual = [
            topologies.peers_at(step, student, num_students, given)
            for student in range(num_students)
        ]
        assert actual == table[num_students]


def test_rotation_takes_the_peers_in_turn():
    given = settings.Exchange(topology="rotate", reload_every_steps=50)

    def peers_of(student, num_students):
        return [
            topologies.peers_at(step, student, num_students, given)
            for step in range(0, 200, 50)
        ]

    assert peers_of(0, 1) == [[], [], [], []]
    assert peers_of(1, 2) == [[0], [0], [0], [0]]
    assert peers_of(0, 3) == [[1], [2], [1], [2]]
    assert peers_of(2, 3) == [[0], [1], [0], [1]]
    assert peers_of(1, 4) == [[2], [3], [0], [2]]


def test_things_are_due_every_period_but_never_at_the_start():
    assert [s for s in range(13) if topologies.is_due(s, 4)] == [4, 8, 12]
    assert not any(topologies.is_due(s, 0) for s in range(13))


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
    given = settings.Exchange(reload_every_steps=period)

    actual = [s for s in range(13) if topologies.is_reload_due(s, burn_in, given)]

    assert actual == expected


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
    given = settings.Exchange(
        mode="scheduled",
        publish_every_steps=50,
        reload_every_steps=50,
        delay_steps=delay,
        keep_exports=9,
    )

    assert topologies.scheduled_export(step, given) == expected


@pytest.mark.parametrize(
    ("mode", "delay", "keep", "expected"),
    [
        # Two windows of delay and reload, two checkpoint periods, in exports of
        # 50 steps: 2 * (100 + 50) + 2 * 200 = 700 steps, and two to spare.
        ("scheduled", 100, 5, 16),
        ("scheduled", 100, 40, 40),
        ("freshest", 100, 5, 5),
    ],
)
def test_scheduled_exchange_keeps_what_a_peer_may_ask_for(mode, delay, keep, expected):
    given = settings.Exchange(
        mode=mode,
        publish_every_steps=50,
        reload_every_steps=50,
        delay_steps=delay,
        keep_exports=keep,
    )

    assert topologies.exports_to_keep(given, checkpoint_every_steps=200) == expected
