"""Scenarios of exports that are damaged, forged, or unfitting.

They are spoilt one at a time, all in one process: a crash of the reader would be
a crash of this program.
"""

import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from lmcodistill import errors
from lmcodistill.settings import model as model_settings
from tests.support.spoilt_exports import (
    DAMAGES,
    HARMS,
    STEP,
    STUDENT,
    VOCAB_SIZE,
    Bench,
)
from tools.soak.harness import Setup, Survival

Change = Callable[[Bench], None]


def damaged_exports(setup: Setup, dtype: str = "float32") -> Survival:
    """Exports are damaged at random, all files and all kinds alike.

    Held where the export is refused with a reason, or gives bit for bit what it
    held before (white space at the end of a commit file means nothing, and neither
    does a footer's padding).
    """
    bench, row = Bench(setup.work, setup.seed, dtype), Survival()
    for number in range(setup.trials):
        bench.repair()
        if number % 4 == 3:
            kind = bench.random.choice(sorted(HARMS))
            HARMS[kind](bench)
        else:
            damage = bench.random.choice(sorted(DAMAGES))
            name = bench.names[number % len(bench.names)]
            kind = f"{pathlib.PurePath(name).name} {damage}"
            DAMAGES[damage](bench.spoilt / name, bench.random)
        outcome = bench.read()
        held = outcome == "identical" or outcome.startswith("refused: ")
        row.note(held, kind=kind, outcome=outcome)
        row.count(outcome)
    return row


def _deep(bench: Bench) -> None:
    value: Any = 1
    for _ in range(16):
        value = [value]
    bench.change(more=value)


def _model(**values: Any) -> Change:
    """Returns what gives the model other settings, with their fingerprint."""

    def change(bench: Bench) -> None:
        given = {**bench.manifest()["model"], **values}
        given = {n: value for n, value in given.items() if value is not ...}
        try:
            fingerprint = model_settings.LanguageModel(**given).fingerprint()
        except (TypeError, errors.UsageError):
            fingerprint = bench.manifest()["model_fingerprint"]
        bench.change(model=given, model_fingerprint=fingerprint)

    return change


def _says(**values: Any) -> Change:
    """Returns what gives the manifest other values."""
    return lambda bench: bench.change(**values)


def _holds(**values: np.ndarray | None) -> Change:
    """Returns what gives the bundle other tensors."""
    return lambda bench: bench.change_tensors(**values)


def _scales(value: float) -> np.ndarray:
    """Returns the projection's scales, of which the last is `value`."""
    scales = np.full([VOCAB_SIZE, 1], 0.01, np.float32)
    scales[-1] = value
    return scales


def _lists(name: str = "embedding", **row: Any) -> Change:
    """Returns what lists one tensor otherwise."""

    def change(bench: Bench) -> None:
        listed = bench.manifest()["tensors"]
        listed[name] = {**listed[name], **row}
        bench.change(tensors=listed)

    return change


def _renamed(name: str) -> Change:
    """Returns what gives the export another name."""

    def change(bench: Bench) -> None:
        bench.spoilt.rename(bench.spoilt.with_name(name))

    return change


def _garbage(scale: float) -> Change:
    """Returns what puts normal noise in all weights."""

    def change(bench: Bench) -> None:
        noise = np.random.default_rng(bench.random.randrange(1 << 30))
        bench.change_tensors(
            **{
                name.replace("/", "__"): scale
                * noise.standard_normal(value.shape, np.float32)
                for name, value in bench.weights.items()
            }
        )

    return change


def _extra_file(bench: Bench) -> None:
    listed = bench.manifest()["files"]
    for name in ("../../canary", "saved_model/assets/more"):
        listed[name] = {"bytes": 0, "sha256": ""}
    bench.change(files=listed)


# The reason each must be refused for; those of the manifest are refused without
# a look at a tensor's file.
OF_THE_MANIFEST: dict[str, tuple[Change, str]] = {
    "another vocabulary": (_says(vocabulary="0" * 64), "vocabulary"),
    "vocabulary is a number": (_says(vocabulary=0), "manifest"),
    "another vocab_size": (
        _says(vocab_size=VOCAB_SIZE + 1),
        "vocab_size",
    ),
    "vocab_size is text": (_says(vocab_size="12"), "manifest"),
    "vocab_size is true": (_says(vocab_size=True), "manifest"),
    "vocab_size is absurd": (_says(vocab_size=1 << 40), "manifest"),
    "another student": (_says(student=STUDENT + 1), "student"),
    "student is true": (_says(student=True), "manifest"),
    "no student": (_says(student=...), "manifest"),
    "another step": (_says(step=STEP + 1), "name"),
    "another incarnation": (_says(incarnation=1), "name"),
    "renamed": (_renamed("export-000000051-i2"), "name"),
    "format 1": (_says(format_version=1), "format"),
    "format 3 of no type": (_says(format_version=3), "manifest"),
    "format 3 in full": (_says(format_version=3, dtype="float32"), "manifest"),
    "stored as a number": (_says(format_version=3, dtype=8), "manifest"),
    "stored as whole numbers": (_says(format_version=3, dtype="int8"), "tensor_table"),
    "format 4": (_says(format_version=4), "format"),
    "a checkpoint": (_says(kind="checkpoint"), "format"),
    "resets is 1": (_says(reset_at_documents=1), "manifest"),
    "nested": (_deep, "manifest"),
    "no model": (_says(model=...), "model"),
    "model is a list": (_says(model=[4]), "model"),
    "unknown setting": (_model(wings=2), "model"),
    "setting missing": (_model(layer_norm=...), "model"),
    "hidden_size is text": (_model(hidden_size="4"), "model"),
    "hidden_size is true": (_model(hidden_size=True), "model"),
    "hidden_size is negative": (_model(hidden_size=-4), "model"),
    "hidden_size is absurd": (_model(hidden_size=1 << 40), "model"),
    "layers without end": (_model(num_layers=10**12), "model"),
    "forget_bias is NaN": (_model(forget_bias=float("nan")), "model"),
    "compute_dtype is unknown": (_model(compute_dtype="float16"), "model"),
    "model's own vocab_size": (
        _model(vocab_size=VOCAB_SIZE + 1),
        "model",
    ),
    "another fingerprint": (_says(model_fingerprint="0" * 64), "model_fingerprint"),
    "another hidden_size": (_model(hidden_size=5), "tensor_table"),
    "another num_layers": (_model(num_layers=3), "tensor_table"),
    "no layer_norm": (_model(layer_norm=False), "tensor_table"),
    "another compute_dtype": (_model(compute_dtype="float64"), "tensor_table"),
    "tensor listed wider": (
        _lists(shape=[VOCAB_SIZE, 4]),
        "tensor_table",
    ),
    "tensor listed as whole": (_lists(dtype="int32"), "tensor_table"),
    "tensors is a list": (_says(tensors=[]), "tensor_table"),
    "no files": (_says(files=...), "file_table"),
    "files outside": (_extra_file, "file_table"),
}
OF_THE_TENSORS: dict[str, tuple[Change, str]] = {
    "tensor missing": (
        _holds(layer_1__gain=None, layer_1__loss=np.ones(16, "f4")),
        "tensor_table",
    ),
    "tensor too many": (_holds(layer_7__gain=np.ones(1)), "tensor_table"),
    "tensor turned": (_holds(embedding=np.ones([3, 12], "f4")), "tensor_table"),
    "whole numbers": (_holds(layer_1__gain=np.ones(16, "i4")), "tensor_table"),
    "double precision": (_holds(layer_1__gain=np.ones(16)), "tensor_table"),
    "NaN": (_holds(layer_1__gain=np.full(16, np.nan, "f4")), "not_finite"),
    "infinite": (_holds(layer_1__gain=np.full(16, np.inf, "f4")), "not_finite"),
}
# Of exports that are stored in int8; the rest of the manifest is as above.
_SCALES, _WHOLE = "projection/kernel:scale", "projection/kernel:values"
OF_INT8: dict[str, tuple[Change, str]] = {
    "not said to be narrow": (_says(format_version=2), "tensor_table"),
    "said to be bfloat16": (_says(dtype="bfloat16"), "tensor_table"),
    "type is a list": (_says(dtype=["int8"]), "manifest"),
    "scales listed wider": (_lists("embedding:scale", shape=[1, 3]), "tensor_table"),
    "values listed as float32": (
        _lists("embedding:values", dtype="float32"),
        "tensor_table",
    ),
    "scale is NaN": (_holds(**{_SCALES: _scales(np.nan)}), "quantization"),
    "scale is infinite": (_holds(**{_SCALES: _scales(np.inf)}), "quantization"),
    "scale is negative": (_holds(**{_SCALES: _scales(-0.1)}), "quantization"),
    "scale is zero": (_holds(**{_SCALES: _scales(0.0)}), "quantization"),
    "scale makes infinite weights": (
        _holds(**{_SCALES: _scales(1e37)}),
        "quantization",
    ),
    "scale is huge": (_holds(**{_SCALES: _scales(1e6)}), "probe"),
    "scales turned": (
        _holds(**{_SCALES: np.ones([1, VOCAB_SIZE], "f4")}),
        "tensor_table",
    ),
    "scales missing": (
        _holds(**{_SCALES: None, "projection/more:scale": _scales(1.0)}),
        "tensor_table",
    ),
    "scales of double precision": (
        _holds(**{_SCALES: np.ones([VOCAB_SIZE, 1])}),
        "tensor_table",
    ),
    "values of 16 bits": (
        _holds(**{_WHOLE: np.ones([VOCAB_SIZE, 4], "i2")}),
        "tensor_table",
    ),
    "values in full": (
        _holds(**{_WHOLE: np.ones([VOCAB_SIZE, 4], "f4")}),
        "tensor_table",
    ),
    "value of -128": (
        _holds(**{_WHOLE: np.full([VOCAB_SIZE, 4], -128, "i1")}),
        "quantization",
    ),
    "vector is NaN": (_holds(layer_1__gain=np.full(16, np.nan, "f4")), "not_finite"),
}
GARBAGE: dict[str, tuple[Change, str]] = {
    "noise": (_garbage(10.0), "probe"),
    "loud noise": (_garbage(100.0), "probe"),
}


def unfitting_exports(setup: Setup) -> Survival:
    """Exports are signed, whole, and of no use to the reader.

    Held where each is refused for the reason it was made for, and those whose
    manifest says so with their tensors gone: nobody looked for them.
    """
    return _each(OF_THE_MANIFEST | OF_THE_TENSORS, setup)


def unfitting_int8_exports(setup: Setup) -> Survival:
    """The same with exports that are stored in `int8`."""
    return _each(OF_INT8, setup, "int8")


def untrained_exports(setup: Setup) -> Survival:
    """Exports hold weights that are not finite, or of the right shape only."""
    spoilt = {name: OF_THE_TENSORS[name] for name in ("NaN", "infinite")}
    return _each(spoilt | GARBAGE, setup)


def _each(
    kinds: dict[str, tuple[Change, str]],
    setup: Setup,
    dtype: str = "float32",
) -> Survival:
    bench, row = Bench(setup.work, setup.seed, dtype), Survival()
    for number in range(setup.trials):
        kind = sorted(kinds)[number % len(kinds)]
        change, reason = kinds[kind]
        bench.repair()
        change(bench)
        if kind in OF_THE_MANIFEST:
            for path in bench.spoilt.parent.glob("*/saved_model"):
                shutil.rmtree(path)
        outcome = bench.read()
        row.note(outcome == f"refused: {reason}", kind=kind, outcome=outcome)
        row.count(outcome)
    return row
