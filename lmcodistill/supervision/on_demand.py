"""What may be asked of a student that runs, by a file or a signal."""

import enum
import signal


class OnDemand(enum.Enum):
    """A request; its value is the sign that stands for it on the lifeline.

    Attributes:
        event: What the journal calls it.
        signal: Which one asks all students that a supervisor runs.
    """

    CHECKPOINT = b"!", "save_asked", signal.SIGUSR1
    EXPORT = b"^", "export_asked", signal.SIGUSR2

    def __new__(cls, sign: bytes, event: str, number: signal.Signals) -> "OnDemand":
        """Makes one of its sign, its event and its signal."""
        request = object.__new__(cls)
        request._value_ = sign
        request.event, request.signal = event, number
        return request

    event: str
    signal: signal.Signals
