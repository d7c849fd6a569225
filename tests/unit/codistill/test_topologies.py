"""Who teaches whom: tables by hand."""

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


@pytest.mark.parametrize(
    "topology, students, teachers",
    [("all", 4, 3), ("ring", 4, 1), ("rotate", 4, 1), ("all", 2, 1), ("rotate", 2, 1)],
)
def test_the_topology_says_how_many_teach_at_a_time(topology, students, teachers):
    exchange = settings.Exchange(topology=topology)

    assert topologies.num_teachers(exchange, students) == teachers
