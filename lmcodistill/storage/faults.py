"""Faults on request: what `tools.soak` breaks, at named points of the code.

`LMCODISTILL_FAULT="export.before_marker@3:kill"` kills this process at its third
pass of that point; `@3+` means the third and every later one, `@3-9` one of these
passes at random, and `export.*` every point of that name. A `;` separates several.
Actions: `kill` (SIGKILL), `stop` (SIGSTOP), `fail` (no space left),
`sleep=SECONDS` and `nan` (a number there becomes none). Without the variable a
point costs one look at a dictionary.
"""

import errno
import os
import random
import re
import signal
import time

from lmcodistill import errors

VARIABLE = "LMCODISTILL_FAULT"
_FORM = re.compile(
    r"([\w.]+\*?)@(\d+)(\+|-\d+)?:(kill|stop|fail|nan|sleep=(\d+(?:\.\d+)?))"
)
_passes: dict[str, int] = {}
_drawn: dict[str, int] = {}


def point(name: str) -> bool:
    """Does what the environment asks for at this point, if anything.

    Returns:
        Whether that is `nan`, which the caller has to do itself.

    Raises:
        OSError: the fault is `fail`.
        UsageError: the environment's text is not in the form above.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return False
    due = []
    for part in text.split(";"):
        match = _FORM.fullmatch(part.strip())
        if match is None:
            raise errors.UsageError(
                f"{VARIABLE} has {part!r}; NAME@COUNT:ACTION was expected, for "
                "example export.before_marker@3:kill."
            )
        if match[1] == name or (match[1][-1] == "*" and name.startswith(match[1][:-1])):
            _passes[part] = _passes.get(part, 0) + 1
            if _is_due(part, _passes[part], int(match[2]), match[3] or ""):
                due.append(match)
    for match in due:  # Once all have counted this pass: an action may raise.
        _act(name, match[4], float(match[5] or 0.0))
    return any(match[4] == "nan" for match in due)


def forget() -> None:
    """Counts from one again; for tests, which share a process."""
    _passes.clear()
    _drawn.clear()


def _is_due(part: str, passed: int, first: int, rest: str) -> bool:
    if rest == "+":
        return passed >= first
    if part not in _drawn:
        _drawn[part] = random.randint(first, int(rest[1:] or first) if rest else first)
    return passed == _drawn[part]


def _act(name: str, action: str, seconds: float) -> None:
    if seconds == 0.0:  # Slowness is not worth a line each time.
        os.write(2, f"event=fault point={name} action={action}\n".encode())
    if action == "fail":
        raise OSError(
            errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (asked for at {name})"
        )
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action.startswith("sleep"):
        time.sleep(seconds)
