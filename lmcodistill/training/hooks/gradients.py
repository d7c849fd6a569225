"""The angle between the gradients of the two terms, before an update.

Only looks: weights, slots and carried states stay as they are.
"""

from collections.abc import Callable

from lmcodistill.model import gradient_angle
from lmcodistill.training import student as student_lib
from lmcodistill.training.hooks.every import Every


class Gradients:
    """Measures where due and where soft targets count. Collective."""

    def __init__(
        self,
        student: student_lib.Student,
        every: Every,
        on_angle: Callable[[int, gradient_angle.GradientAngle], None],
    ):
        """Has measured nothing yet.

        `on_angle` is called on every worker with the step and the angle.
        """
        self._student, self._every, self._on_angle = student, every, on_angle

    def __call__(self, step: int) -> None:
        """Measures the update that moves `step` to `step + 1`, where due."""
        if not self._every.is_due(step):
            return
        angle = self._student.gradient_angle(step)
        if angle is not None:
            self._on_angle(step, angle)
