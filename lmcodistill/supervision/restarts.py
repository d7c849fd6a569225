"""When a student's processes are started again, and when no more.

Arithmetic on exit codes and counts: no processes, no clocks.
"""

from lmcodistill import errors

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 60.0

LOST = errors.GroupLostError.exit_code
STOPPED = errors.StoppedError.exit_code
INTERRUPTED = 130


def helps(code: int) -> bool:
    """Returns whether a group that lost a worker with this exit code is restarted.

    A lost group is, and so is one that somebody else asked to stop. Negative codes
    are the signals that ended workers.
    """
    return code < 0 or code in (LOST, STOPPED, INTERRUPTED)


def delay_after(failures: int) -> float:
    """Returns the seconds to wait after so many failures in a row."""
    # Beyond the seventh doubling the bound holds anyway.
    return min(FIRST_DELAY_SECONDS * 2 ** min(failures - 1, 7), LONGEST_DELAY_SECONDS)


def concerns_all(code: int) -> bool:
    """Returns whether what ended a worker with this exit code ends all students.

    A mistake in flags, settings or data does. Any other failure concerns one
    student, and its peers go on without it.
    """
    return code in (errors.UsageError.exit_code, errors.DataError.exit_code)


class Restarts:
    """Counts a group's failures in a row that no progress came between.

    Attributes:
        failures: How many there are since a step was reached that is newer than any
            before.
        newest_step: The newest step ever reached; None before the first.
    """

    def __init__(self, max_restarts: int):
        """Allows so many failures in a row."""
        self._max_restarts = max_restarts
        self.failures = 0
        self.newest_step: int | None = None

    def reached(self, step: int) -> None:
        """Takes the step that the group is at."""
        # The first one that is heard of is where it began, which is no progress.
        if self.newest_step is not None and step > self.newest_step:
            self.failures = 0
        self.newest_step = max(step, self.newest_step or 0)

    def after_failure(self) -> float | None:
        """Counts a failure; returns the seconds to wait, or None to give up."""
        self.failures += 1
        if self.failures > self._max_restarts:
            return None
        return delay_after(self.failures)
