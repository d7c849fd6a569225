"""Which worker this process is: TF_CONFIG, read and checked without TensorFlow."""

import dataclasses
import json
import os
import socket

from lmcodistill import errors


@dataclasses.dataclass(frozen=True)
class Task:
    """This process's place in its group.

    Attributes:
        index: Among the workers of the group; 0 is the chief.
        address: `host:port` that TensorFlow will listen on.
    """

    index: int
    address: str

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what the group leaves."""
        return self.index == 0


def is_set() -> bool:
    """Returns whether this process was started as one worker of a cluster."""
    return "TF_CONFIG" in os.environ


def own_task() -> Task:
    """Returns the task that TF_CONFIG describes.

    Raises:
        UsageError: TF_CONFIG is not what TensorFlow expects.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        index, kind = int(config["task"]["index"]), config["task"]["type"]
        address = config["cluster"]["worker"][index]
        int(address.rpartition(":")[2])
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise errors.UsageError(
            f"TF_CONFIG = {text!r} cannot be used ({error!r}). "
            'Expected {"cluster": {"worker": ["host:port", ...]}, "task": {"type": '
            '"worker", "index": 0}}; without TF_CONFIG the whole run starts here.'
        ) from error
    if kind != "worker":
        raise errors.UsageError(
            f"TF_CONFIG has task type {kind!r}; every task of a student is a "
            "'worker' (the first is the chief)."
        )
    return Task(index, address)


def check_port(task: Task) -> None:
    """Refuses to start where this worker's port is taken.

    TensorFlow would say so only in C++, in the middle of a stack trace.

    Raises:
        GroupLostError: another process holds the port.
    """
    port = int(task.address.rpartition(":")[2])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise errors.GroupLostError(
                f"Port {port} of {task.address}, which TF_CONFIG gives to this worker, "
                f"is taken ({error.strerror}). Another job or an earlier worker of "
                "this one still holds it; stop that, or give another port."
            ) from error
