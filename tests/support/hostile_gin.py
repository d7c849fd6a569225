"""Gin files that somebody wrote to run code, to read what is not his, or to hang.

Each is laid into a folder of its own, with a canary that must not come to exist
and a Python module that makes it when it is imported. All of them must be refused
as files with a mistake are: quickly, in a few plain lines, without a trace.
"""

import os
import pathlib
import signal
import socket
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from lmcodistill import errors
from lmcodistill.config import loading
from lmcodistill.settings import classes as settings_classes

MAX_LINES = 6
MAX_SECONDS = 1.0  # Of this process's own time.
MAX_BYTES = 32 << 20
_HANGS_AFTER_SECONDS = 20

# CANARY stands for the canary's path; `booby` is the module beside the file.
TEXTS = {
    # Imports.
    "import": "import os\nSEED = 1\n",
    "import of the module beside": "import booby\n",
    "import as": "import booby as json\n",
    "import from": "from os import system\n",
    "import of a part": "import os.path\n",
    "import of ours": "from lmcodistill.commands import train\n",
    "import of what is not loaded": "import antigravity\n",
    "dynamic registration": "from __gin__ import dynamic_registration\n"
    "import booby\nbooby.spring.path = 'CANARY'\nTraining.seed = @booby.spring()\n",
    "import after good lines": "SEED = 1\n" * 50 + "import booby\n",
    "import in a block": "Training:\n  import booby\n",
    "import after a semicolon": "SEED = 1; import booby\n",
    "import after a carriage return": "SEED = 1\rimport booby\n",
    "import after a line separator": "SEED = 1\u2028import booby\n",
    "import after a backslash": "SEED = 1 \\\nimport booby\n",
    # Things to call.
    "reference": "SEED = @os.system('touch CANARY')\n",
    "reference to call": "SEED = @subprocess.run()\nsubprocess.run.args = 'id'\n",
    "reference in a tuple": "OFFLINE_EXPORTS = ('a', (@os.listdir(), 'b'))\n",
    "reference in a dictionary": "SEED = {'a': [{@os.getpid(): 1}]}\n",
    "reference in a scope": "SEED = @a/b/os.getcwd()\n",
    "reference by a knob": "EVIL = @os.getcwd()\nSEED = %EVIL\n",
    "reference to a settings class": "SEED = @Training()\n",
    "singleton": "gin.singleton.constructor = @os.getpid\nSEED = @a/gin.singleton()\n",
    "macro to evaluate": "a/gin.macro.value = @os.getpid()\nSEED = @a/gin.macro()\n",
    "macro of gin": "gin.macro.value = 1\n",
    "constant of gin": "gin.constant.name = 'SEED'\n",
    "constant to bind": "gin.REQUIRED = 3\n",
    "constant of a module": "SEED = %os.sep\n",
    "scope": "evil/Training.seed = 1\n",
    "scope of a knob": "a/b/c/SEED = 1\n",
    "scope of a block": "a/Training:\n  seed = 1\n",
    "knob in a scope": "SEED = %a/SEED\n",
    # Expressions.
    "call": "SEED = __import__('os').system('touch CANARY')\n",
    "call of eval": "SEED = eval(\"open('CANARY', 'w')\")\n",
    "call in a target": "__import__('os').system('touch CANARY') = 1\n",
    "formatted string": "TARGETS = f\"{open('CANARY', 'w')}\"\n",
    "lambda": "SEED = (lambda: open('CANARY', 'w'))()\n",
    "comprehension": "SEED = [open('CANARY', 'w') for _ in (1,)]\n",
    "subclasses": "SEED = ().__class__.__bases__[0].__subclasses__()\n",
    "walrus": "SEED = (x := 1)\n",
    "power": "SEED = 9**9**9\n",
    "repetition": "SEED = [0] * 10**10\n",
    "repeated string": "TARGETS = 'a' * 10**10\n",
    # Attributes and names that shadow.
    "class of a class": "Training.__class__ = 'x'\n",
    "constructor": "Training.__init__ = 'x'\n",
    "globals": "Training.__init__.__globals__ = 'x'\n",
    "fields": "LanguageModel.__dataclass_fields__ = {}\n",
    "hook": "Training.__post_init__ = None\n",
    "builtins": "__builtins__ = 1\n",
    "builtins read": "SEED = %__builtins__\n",
    "attribute of a value": "Training.seed.__class__ = 1\n",
    "attribute of a knob": "SEED = %SEED.__class__\n",
    "registry": "gin.config._REGISTRY = {}\n",
    "shadowed module": "os.path.sep = 'x'\n",
    "shadowed function": "config.load = 1\n",
    "shadowed own module": "lmcodistill.config.reader.MAX_FILES = 10\n",
    "keyword": "class = 1\n",
    "wide letters": "\uff33\uff25\uff25\uff24 = 1\n",
    # Includes.
    "parent": "include '../secret.gin'\n",
    "parent in the middle": "include 'models/../../secret.gin'\n",
    "absolute": "include '/etc/passwd'\n",
    "environment": "include '/proc/self/environ'\n",
    "home": "include '~/.bashrc'\n",
    "address": "include 'http://127.0.0.1:9/evil.gin'\n",
    "file address": "include 'file:///etc/passwd'\n",
    "glob": "include '*'\n",
    "python": "include 'booby.py'\n",
    "zero in a name": "include 'a\\x00.gin'\n",
    "escape in a name": "include '\\x1b]0;owned\\x07.gin'\n",
    "long name": "include '" + "a/" * 2_000 + "b.gin'\n",
    "computed": "include 'se' + 'cret.gin'\n",
    "number": "include 3\n",
    "itself": "include 'my.gin'\n",
    "forty times": "include 'models/tiny.gin'\n" * 70,
    # Bombs.
    "million digits": "SEED = " + "9" * 1_000_000 + "\n",
    "many digits": "SEED = " + "9" * 30_000 + "\n",
    "many digits in hexadecimal": "SEED = 0x" + "f" * 30_000 + "\n",
    "large exponent": "LEARNING_RATE = 1e" + "9" * 30_000 + "\n",
    "infinity": "LEARNING_RATE = 1e999\n",
    "deep brackets": "SEED = " + "[" * 10_000 + "]" * 10_000 + "\n",
    "deep parentheses on lines": "SEED = " + "(\n" * 5_000 + ")\n" * 5_000,
    "deep dictionaries": "SEED = " + "{1:" * 5_000 + "1" + "}" * 5_000 + "\n",
    "deep knobs": "SEED = %A0\n"
    + "".join(f"A{i} = [%A{i + 1}]\n" for i in range(900))
    + "A900 = 1\n",
    "chain of knobs": "SEED = %A0\n"
    + "".join(f"A{i} = %A{i + 1}\n" for i in range(900))
    + "A900 = 'x'\n",
    "knobs that double": "SEED = %A0\n"
    + "".join(f"A{i} = (%A{i + 1}, %A{i + 1})\n" for i in range(60))
    + "A60 = 1\n",
    "knobs that double in a circle": "SEED = %A\nA = (%B, %B)\nB = (%A, %A)\n",
    "knobs nobody reads": "".join(f"A{i} = 1\n" for i in range(900)),
    "knobs that read much": "".join(f"A{i} = %SEED\n" for i in range(900)),
    "overridden chain": "Training.seed = %A0\n"
    + "".join(f"A{i} = %A{i + 1}\n" for i in range(400))
    + "A400 = 1\n"
    + "Training.seed = %A0\n" * 400
    + "Training.seed = 'x'\n",
    "similar knobs": "".join(f"{'A' * 50}{i:04d} = 1\n" for i in range(500))
    + "SEED = %" + "A" * 54 + "\n",
    "too many settings": "SEED = 1\n" * 3_000,
    "long name of a knob": "A" * 30_000 + " = 1\n",
    "long name of a class": "Training" + "x" * 30_000 + ".seed = 1\n",
    "long path of a class": "a." * 15_000 + "b = 1\n",
    "long word": "TARGETS = " + "a" * 30_000 + "\n",
    "long string": "TARGETS = '" + "a" * 30_000 + "'\n",
    "string in pieces": "TARGETS = " + "'a' " * 8_000 + "\n",
    "string in pieces on lines": "TARGETS = (" + "'a'\n" * 8_000 + ")\n",
    "long tuple": "SEED = (" + "1," * 15_000 + ")\n",
    "list for a key": "SEED = {[1]: 2}\n",
    "many blanks": "".join(
        f"{name} = %gin.REQUIRED\n"
        for name in ("SEED", "WINDOW", "TARGETS", "TOPOLOGY", "DROPOUT", "OPTIMIZER")
    ),
    "indented for ever": "".join(" " * i + "Training:\n" for i in range(200)),
    "ten megabytes of brackets": "[" * 10_000_000,
    # Encodings and terminals.
    "zero byte": "SEED = 1\nWINDOW = \0\n",
    "byte order mark before an import": "\ufeffimport booby\n",
    "escape as a name": "\x1b[2J = 1\n",
    "escape in a name of a knob": "SEED\x1b[31m = 1\n",
    "escape as a value": "TARGETS = \x1b]0;owned\x07\n",
    "escape in a string": "TARGETS = '\x1b]0;owned\x07\x1b[2J'\n",
    "escape in a reference": "SEED = @\x1b[2Jx()\n",
    "escape by number": "TARGETS = '\\x1b[2J\\r\\nlmcodistill train: all is well'\n",
    "letters from right to left": "TARGETS = '\u202eSREEP'\n",
    "lines in a value": "TARGETS = '''" + "b\n" * 2_000 + "'''\n",
}  # fmt: skip

_BOOBY = """\
import pathlib
pathlib.Path({canary!r}).touch()
def spring(path=None):
    pathlib.Path({canary!r}).touch()
"""


def _included(make: Callable[[pathlib.Path], object]) -> Callable:
    """Returns what lays `my.gin`, which includes the `evil.gin` that `make` makes."""

    def lay(folder: pathlib.Path) -> str:
        make(folder / "evil.gin")
        (folder / "my.gin").write_text("include 'evil.gin'\n")
        return str(folder / "my.gin")

    return lay


def _given(make: Callable[[pathlib.Path], object]) -> Callable:
    """Returns what lays `my.gin` by `make`, to be given itself."""

    def lay(folder: pathlib.Path) -> str:
        make(folder / "my.gin")
        return str(folder / "my.gin")

    return lay


def _is(argument: str) -> Callable[[pathlib.Path], str]:
    return lambda folder: argument


def _sparse(path: pathlib.Path) -> None:
    with open(path, "wb") as file:
        file.truncate(100 << 20)


def _listen(path: pathlib.Path) -> None:
    os.chdir(path.parent)  # The name of a socket must be short.
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


def _loop(path: pathlib.Path) -> None:
    for name, other in (("evil", "b"), ("b", "c"), ("c", "evil")):
        path.with_name(f"{name}.gin").write_text(f"include '{other}.gin'\n")


def _deep(path: pathlib.Path) -> None:
    path.write_text("include '0.gin'\n")
    for number in range(1_000):
        text = f"include '{number + 1}.gin'\n"
        path.with_name(f"{number}.gin").write_text(text)
    path.with_name("1000.gin").write_text("SEED = 1\n")


def _wide(path: pathlib.Path) -> None:
    path.write_text("".join(f"include '{n}.gin'\n" for n in range(50)))
    for number in range(50):
        path.with_name(f"{number}.gin").write_text("# " + "x" * 20_000 + "\n")


def _linked_folder(path: pathlib.Path) -> None:
    path.with_name("out").symlink_to("/etc")
    path.write_text("include 'out/passwd'\n")


def _named(name: str) -> Callable[[pathlib.Path], str]:
    def lay(folder: pathlib.Path) -> str:
        (folder / name).write_text("SEED = x\n")
        return str(folder / name)

    return lay


# From the folder to what `--gin_file` is given.
FILES: dict[str, Callable[[pathlib.Path], str]] = {
    "included link to a secret": _included(lambda p: p.symlink_to("/etc/passwd")),
    "included link to the environment": _included(
        lambda p: p.symlink_to("/proc/self/environ")
    ),
    "included link to the secret beside": _included(
        lambda p: p.symlink_to(p.parent.parent / "secret.gin")
    ),
    "included file behind a linked folder": _included(_linked_folder),
    "included link to itself": _included(lambda p: p.symlink_to(p)),
    "included pipe": _included(os.mkfifo),
    "included folder": _included(os.mkdir),
    "included link to a device": _included(lambda p: p.symlink_to("/dev/zero")),
    "included socket": _included(_listen),
    "included circle": _included(_loop),
    "included a thousand deep": _included(_deep),
    "included fifty times 20 kB": _included(_wide),
    "included 100 MB": _included(_sparse),
    "pipe": _given(os.mkfifo),
    "folder": _given(os.mkdir),
    "link to itself": _given(lambda p: p.symlink_to(p)),
    "100 MB": _given(_sparse),
    "no UTF-8": _given(lambda p: p.write_bytes(b"SEED = '\xff\xfe'\n")),
    "overlong UTF-8": _given(lambda p: p.write_bytes(b"SEED = '\xc0\xaf'\n")),
    "UTF-16": _given(lambda p: p.write_bytes("import os\n".encode("utf-16"))),
    "device": _is("/dev/zero"),
    "environment of the process": _is("/proc/self/environ"),
    "memory of the process": _is("/proc/self/mem"),
    "escape in the name": _named("\x1b]0;owned\x07.gin"),
    "lines in the name": _named("my.gin: fine\nlmcodistill train: all is well\n.gin"),
}

NAMES = (*TEXTS, *FILES)


def lay(
    name: str, folder: pathlib.Path, around: str = "{}"
) -> tuple[str, pathlib.Path]:
    """Lays one hostile file, the module beside it, and a secret above it.

    Args:
        name: One of `NAMES`.
        folder: An empty folder for it alone.
        around: What a text is put into.

    Returns:
        What to give as `--gin_file`, and the canary's path.
    """
    inside, canary = folder / "inside", folder / "canary"
    inside.mkdir()
    (folder / "secret.gin").write_text("SEED = 1\n")
    (inside / "booby.py").write_text(_BOOBY.format(canary=str(canary)))
    if name in FILES:
        return FILES[name](inside), canary
    text = around.replace("{}", TEXTS[name].replace("CANARY", str(canary)))
    (inside / "my.gin").write_text(text, encoding="utf-8")
    return str(inside / "my.gin"), canary


def faults_of(given: str, canary: pathlib.Path) -> list[str]:
    """Reads a hostile file as `lmcodistill train` would; returns what did not hold."""
    modules, registry = set(sys.modules), _state_of_gin()
    where, path = os.getcwd(), list(sys.path)
    seconds = time.process_time()
    message = _refusal(given)
    seconds = time.process_time() - seconds
    tracemalloc.start()
    _refusal(given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    faults = {
        "was not refused": message is None,
        f"took {seconds:.2f} s": seconds > MAX_SECONDS,
        f"took {peak:,} bytes": peak > MAX_BYTES,
        "the canary is there": canary.exists(),
        "imported something": set(sys.modules) != modules or sys.path != path,
        "changed gin": _state_of_gin() != registry,
        "changed the folder": os.getcwd() != where,
        "too many lines": len((message or "").splitlines()) > MAX_LINES,
        "too long": len(message or "") > 2_000,
        "unprintable": not (message or "").replace("\n", "").isprintable(),
    }
    return [fault for fault, holds in faults.items() if holds]


def _state_of_gin() -> str:
    inside: Any = sys.modules["gin.config"]  # Only lmcodistill.config imports gin.
    return f"{inside._REGISTRY} {inside._CONFIG} {inside._CONSTANTS}"


def _refusal(given: str) -> str | None:
    def hangs(*_) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(_HANGS_AFTER_SECONDS)
    try:
        loading.load(
            [given],
            ["NUM_TRAIN_STEPS=10"],
            tuple(settings_classes.TRAIN.values()),
            "defaults/train.gin",
        )
    except errors.UsageError as error:
        return str(error)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return None
