"""Faults on request: what `tools/soak.py` breaks, at named points of the code.

`LMCODISTILL_FAULT="publish.before_marker@3:kill"` kills this process at its third
pass of that point; `@3+` means the third and every later one, and a `;` separates
several. Actions: `kill` (SIGKILL), `stop` (SIGSTOP), `fail` (no space left) and
`sleep=SECONDS`. Without the variable a point costs one look at a dictionary.
"""

import errno
import os
import re
import signal
import time

from lmcodistill import errors

VARIABLE = "LMCODISTILL_FAULT"
_FORM = re.compile(r"([\w.]+)@(\d+)(\+?):(kill|stop|fail|sleep=(\d+(?:\.\d+)?))")
_passes: dict[str, int] = {}


def point(name: str) -> None:
    """Does what the environment asks for at this point, if anything.

    Raises:
        OSError: the fault is `fail`.
        UsageError: the environment's text is not in the form above.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return
    _passes[name] = _passes.get(name, 0) + 1
    for part in text.split(";"):
        match = _FORM.fullmatch(part.strip())
        if match is None:
            raise errors.UsageError(
                f"{VARIABLE} has {part!r}; NAME@COUNT:ACTION was expected, for "
                "example publish.before_marker@3:kill."
            )
        count, is_due = int(match[2]), _passes[name]
        if match[1] == name and (is_due == count or (match[3] and is_due > count)):
            _act(name, match[4], float(match[5] or 0.0))


def _act(name: str, action: str, seconds: float) -> None:
    if action == "fail":
        raise OSError(
            errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (asked for at {name})"
        )
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        time.sleep(seconds)
