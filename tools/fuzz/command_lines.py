"""Command lines for `tools.fuzz.commands`: some good, most not, from a grammar.

A line is made from a seed and a number alone. It begins as one that works; then
flags get values, good ones and bad ones, words are added and torn, and the
environment and standard input say odd things. Where a value can never work, the
line knows that it must be refused.
"""

import dataclasses
import importlib
import json
import random
from collections.abc import Sequence

from absl import flags

from lmcodistill.commands import catalogue
from lmcodistill.config import explain
from lmcodistill.settings import classes, model

# What is not there, cannot be written, or is no file; $W is the folder of the trial.
PATHS = (
    *("$W/new", "$W/deep/er/new", "$W/file", "$W/file/below", "$W/folder", "$W/pipe"),
    *("$W/loop", "$W/dangling", "$W/empty", "$W/binary", "/dev/null", "/dev/null/x"),
    *("/proc/x", "/sys/x", "/", ".", "..", "~", "~/new", "$W/with blank", "$W/\u00fc"),
    *("$DATA", "$DATA/manifest.json", "$RUN", "$RUN/students/0", "-", "$W/*", "$W/\n"),
)
# What can be no path at all.
NO_PATHS = ("~nobody-of-this-name/x", "$W/gr\udcfcn", "$W/" + "x" * 300, "x/" * 3_000)
URLS = ("s3://bucket/x", "nothing://a/b", "memory://", "http://127.0.0.1/x", "gs:///")
NUMBERS = (
    *("", "x", "nan", "inf", "-inf", "-1", "0", "1", "2", "1e999", "1e-999", "0x10"),
    *("1.5", "9" * 30, "-" + "9" * 30, "9" * 5_000, "1_000", " 3 ", "\u0663", "None"),
)
_WORKING = ("1", "2", "3", "4")
WORDS = (
    *("", " ", "-", "--", "=", "a=b", "'", '"', "\udcff\udcfe", "\n", "\x1b[2J"),
    *("\u202eabc", "None", "[]", "{", "%s %d %", "all", "x" * 5_000, "\U0001f600"),
)
VALUES = (
    *("", "0", "-1", "1", "2.5", "1e999", "-1e999", "1e-320", "9" * 40, "None", "True"),
    *("'x'", "x", "()", "(1,)", "('a', 'b')", "[1, [2, [3]]]", "{'a': 1}", "{", "%X"),
    *("%gin.REQUIRED", "@train()", "'\udcff'", "'\\0'", "'" + "x" * 5_000 + "'", "1 1"),
    *("\u0663", "nan", "'~/x'", "('~nobody-of-this-name/x',)", "('s3://b/x',)", "-0.0"),
)
# Of flags whose text has a form of its own, what may work.
FORMS = {
    "arms": ("codistilled", "all", "nothing", "ema,chain", ",", "baseline"),
    "batch_factors": ("2", "2,4", "0", "-1", "x", "99999999999999999999"),
    "delays": ("0,5", "0", "x", "99999999999"),
    "reload_periods": ("2", "0", "x"),
    "reference": ("baseline", "nothing", "codistilled"),
    "tune": ("LEARNING_RATE=1e-3,1e-2", "X=1", "LEARNING_RATE", "=;=", "SEED=1,2"),
    "tune_arm": ("codistilled:DISTILLATION_WEIGHT=0.5,1.0", "x:y=1", ":", "baseline:"),
    "variant": ("a=codistilled WINDOW=4", "a=", "=", "a=codistilled SEED=1", "all=ema"),
    "group": (
        "g=$EXPORT,$EXPORT",
        "g=$EXPORT",
        "=a,b",
        "g=a+,b",
        "g=$EXPORT+$EXPORT,x",
    ),
    "export": ("$EXPORT", "$RUN/students/0", "$DATA"),
    "crawl": ("CC-MAIN-2024-22", "CC-MAIN", "../x"),
    "mirror": ("http://127.0.0.1:9", "ftp://x", "http://[", "http://x:99999", "x"),
    "contact": ("a@b.c", "()", "x"),
    "engine": ("local", "spark", "Local"),
    "spark_master": ("local[1]", "spark://"),
    "split": ("validation", "guide", "test", "train-00000-of-00002"),
    "prompt": ("The", "-", "gr\udcfc\udcdfe", "one two"),
    "show_document": ("0", "99999", "-1", "x" * 32, "9" * 50),
}
_SMALL = (
    *("--gin.NUM_TRAIN_STEPS=4", "--gin.GLOBAL_BATCH_SIZE=2", "--gin.WINDOW=5"),
    *("--gin.PUBLISH_EVERY_STEPS=1", "--gin.RELOAD_EVERY_STEPS=1"),
)
_WHERE = ("--data_dir=$DATA", *_SMALL)
# Of each command, lines that work.
GOOD: dict[str, Sequence[Sequence[str]]] = {
    "prep": [("--input=$TEXT", "--output_dir=$W/out", "--gin_file=prep/quickstart")],
    "inspect": [("$DATA",), ("$DATA", "--sample=1"), ("$DATA", "--show_document=0")],
    "train": [
        (*_WHERE, "--run_dir=$W/run"),
        (*_WHERE, "--run_dir=$W/run", "--dry_run"),
        (*_WHERE, "--run_dir=$W/run", "--shared_dir=$W/shared", "--students=1")
        + ("--gin.TARGETS=none",),
    ],
    "check": [(*_WHERE, "--run_dir=$W/run")],
    "evaluate": [
        ("--data_dir=$DATA", "--export=$EXPORT"),
        ("--data_dir=$DATA", "$EXPORT"),
    ],
    "generate": [("--export=$EXPORT", "--prompt=one two"), ("--export=$EXPORT",)],
    "export": [("--export=$EXPORT", "--output_dir=$W/serving/1")],
    "compare": [(*_WHERE, "--output_dir=$W/out", "--at_once=2")],
    "churn": [("--data_dir=$DATA", "$EXPORT", "$EXPORT")],
    "plan": [(*_SMALL, "--data_dir=$DATA", "--gin_file=machines/gpu_2017")],
    "launch": [
        ("slurm", "--data_dir=$DATA", "--run_dir=$W/run", *_SMALL, "--print"),
        ("docker", "--output_dir=$W/image"),
    ],
    "score": [("$TEXT", "--export=$EXPORT")],
    "status": [("$RUN",)],
    "report": [("$RUN", "--output=$W/page.html")],
    "configs": [
        ("list",),
        ("show", "runs/quickstart"),
        ("copy", "runs/quickstart", "$W/my.gin"),
        ("explain", "BURN_IN_STEPS"),
        ("diff", "runs/quickstart", "runs/quickstart_baseline"),
    ],
    "split": [("$DATA", "--partitions=3", "--output_dir=$W/split")],
    "completion": [("bash",), ("zsh",), ("fish",)],
    "env": [()],
    "quickstart": [("$W/quick",), ()],
}
_TWO = {"worker": ["127.0.0.1:0"]}
_CLUSTERS: tuple[object, ...] = (
    *("", "{", [], None, 7, {}, {"cluster": _TWO}, {"cluster": {}, "task": {}}),
    *({"cluster": _TWO, "task": {"type": t, "index": 0}} for t in ("worker", "ps", 1)),
    *({"cluster": _TWO, "task": {"type": "worker", "index": i}} for i in (-1, "0", 9)),
    *(
        {"cluster": {"worker": [a, b]}, "task": {"type": "worker", "index": 0}}
        for a, b in (
            *(("a:1", "a:1"), ("a", "b"), ("a:70000", "b:1"), ("::1:1", "b:1")),
            *(("a..b:1", "c:1"), (1, 2), ("8.8.8.8:1", "b:1"), ("\udcff:1", "b:1")),
        )
    ),
    {"cluster": {"chief": ["127.0.0.1:0"]}, "task": {"type": "chief", "index": 0}},
    {"cluster": {**_TWO, "ps": ["p:1"]}, "task": {"type": "worker", "index": 0}},
)


@dataclasses.dataclass(frozen=True)
class Line:
    """One command line.

    Attributes:
        arguments: As the shell gives them, with $W and its like inside.
        flag: The flag that it is about, as `command --flag`; it may have others.
        must_refuse: Whether it has something that can never work: exit code 2.
        must_work: Whether it is one of `GOOD`.
        tf_config: TF_CONFIG; None leaves it out.
        stdin: What standard input has.
    """

    arguments: tuple[str, ...]
    flag: str
    must_refuse: bool = False
    must_work: bool = False
    tf_config: str | None = None
    stdin: bytes = b""


class Grammar:
    """Makes lines.

    Attributes:
        every: Every flag of every command, as `command --flag`.
    """

    def __init__(self) -> None:
        self._flags = {
            command: catalogue.flags_of(
                importlib.import_module(f"lmcodistill.commands.{command}")
            )
            for command in catalogue.COMMANDS
        }
        self.every = [
            f"{command} --{name}"
            for command, own in self._flags.items()
            for name in sorted(own)
            if name != "gin_bindings"
        ]
        settings = [c for c in classes.ALL if c is not model.ModelConfig]
        settings.append(model.LanguageModel)
        fields = [field.name for cls in settings for field in explain.fields(cls)]
        self._names = [*(knob.name for knob in explain.knobs()), *fields]

    def make(self, seed: int, number: int) -> Line:
        """Returns the line of this number; all flags take turns."""
        rng = random.Random(f"{seed}/{number}")
        about = self.every[number % len(self.every)]
        command, _, flag = about.partition(" --")
        arguments = list(rng.choice(GOOD[command]))
        round_number = number // len(self.every)
        if round_number == 0:
            return Line((command, *arguments), about, must_work=True)
        must_refuse = self._add(rng, command, flag, arguments)
        names = sorted(set(self._flags[command]) - {"gin_bindings"})
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            must_refuse |= self._add(rng, command, rng.choice(names), arguments)
        if "gin_bindings" in self._flags[command]:
            for _ in range(rng.choice((0, 0, 0, 1, 2))):
                name = rng.choice((*self._names, "", "NOTHING", "Training.x"))
                arguments.append(f"--gin.{name}={rng.choice(VALUES)}")
        must_refuse &= self._tear(rng, arguments)
        tf_config = None
        if command in ("train", "check") and rng.random() < 0.3:
            cluster = rng.choice(_CLUSTERS)
            tf_config = cluster if isinstance(cluster, str) else json.dumps(cluster)
            arguments.append(f"--student={rng.choice((0, 1, 5))}")
        stdin = rng.choice((b"", b"one two", b"\xff\xfe\0", rng.randbytes(300)))
        return Line((command, *arguments), about, must_refuse, False, tf_config, stdin)

    def _add(
        self, rng: random.Random, command: str, name: str, arguments: list[str]
    ) -> bool:
        """Gives a flag a value; returns whether that can never work."""
        flag = self._flags[command][name]
        if flag.boolean:
            return _add_switch(rng, name, arguments)
        if rng.random() < 0.03:
            arguments.append(f"--no{name}")
            return True
        value, is_refused = _value(rng, flag)
        if rng.random() < 0.2 and value != "--":
            arguments += [f"--{name}", value]
        else:
            arguments.append(f"--{name}={value}")
        return is_refused

    def _tear(self, rng: random.Random, arguments: list[str]) -> bool:
        """Adds or tears words at times; returns whether it left them alone."""
        how = rng.randrange(24)
        if how == 0:
            arguments.insert(rng.randrange(len(arguments) + 1), rng.choice(WORDS))
        elif how == 1 and arguments:
            arguments.pop(rng.randrange(len(arguments)))
        elif how == 2 and arguments:
            place = rng.randrange(len(arguments))
            word = arguments[place]
            arguments[place] = word[: rng.randrange(len(word) + 1)]
        elif how == 3:
            odd = ("--nothing=1", "--undefok=x", "--flagfile=/dev/zero", "-h", "--help")
            arguments.insert(rng.randrange(len(arguments) + 1), rng.choice(odd))
        elif how == 4:
            rng.shuffle(arguments)
        else:
            return True
        return False


def _add_switch(rng: random.Random, name: str, arguments: list[str]) -> bool:
    how = rng.randrange(5)
    arguments.append(
        (f"--{name}", f"--no{name}", f"--{name}=maybe", f"--no{name}=1", f"--{name}=")[
            how
        ]
    )
    return how >= 2


def _value(rng: random.Random, flag: flags.Flag) -> tuple[str, bool]:
    """Returns a value for a flag, and whether it can never be one."""
    if isinstance(flag.parser, flags.IntegerParser | flags.FloatParser):
        text = rng.choice((*NUMBERS, *_WORKING * 6))
        try:
            flag.parser.parse(text)
        except (ValueError, TypeError):
            return text, True
        return text, False
    if isinstance(flag.parser, flags.EnumParser):
        text = rng.choice((*flag.parser.enum_values, "nothing"))
        return text, text == "nothing"
    if flag.flag_type() == "path":
        if rng.random() < 0.15:
            return rng.choice(NO_PATHS), True
        text = rng.choice((*PATHS, *URLS, *("$W/new", "$DATA", "$TEXT") * 6))
        # What all trials read is not written over.
        is_shared = text.startswith(("$DATA", "$TEXT", "$RUN"))
        return "$W/new" if is_shared and flag.name == "output" else text, False
    if flag.name == "gin_file":
        return rng.choice((*PATHS, *NO_PATHS[1:], "runs/quickstart", "runs/x")), False
    forms = FORMS.get(flag.name, ())
    others = (*WORDS, *PATHS, *NO_PATHS) if flag.name in ("export", "input") else WORDS
    return rng.choice((*forms * 4, *others)), False
