"""Who teaches whom: arithmetic on the step. No files and no clocks."""

from collections.abc import Callable, Sequence

from lmcodistill.settings import codistillation as settings

# From a topology's name to a student's teachers: given the other students, ascending
# from its right-hand neighbour, and how many reload periods have passed.
TOPOLOGIES: dict[str, Callable[[Sequence[int], int], Sequence[int]]] = {
    "all": lambda others, turn: others,
    "ring": lambda others, turn: others[:1],
    "rotate": lambda others, turn: others[turn % len(others) :][:1],
}


def peers_at(
    step: int, student: int, num_students: int, exchange: settings.Exchange
) -> list[int]:
    """Returns which students teach `student` from the reload at `step` on.

    Returns:
        Indices of students, ascending from the student's right-hand neighbour.
    """
    others = [(student + k) % num_students for k in range(1, num_students)]
    if not others:
        return []
    turn = step // exchange.reload_every_steps
    return list(TOPOLOGIES[exchange.topology](others, turn))


def num_teachers(exchange: settings.Exchange, num_students: int) -> int:
    """Returns K: how many peers teach each student at a time."""
    return len(peers_at(0, 0, num_students, exchange))
