"""What an export says of itself: its manifest, checked before a tensor is read.

A manifest is untrusted input. What passes here describes a model that
this program can build, of the size that its files have, for the ids that the
reader's text is made of.
"""

import dataclasses
import re
import typing
from typing import Any

from lmcodistill import errors
from lmcodistill.model import quantization, registry, weights
from lmcodistill.settings import codistillation
from lmcodistill.settings import model as model_settings
from lmcodistill.storage import files, publication, tensors

# The second says in which type its matrices are stored; the first is for exports
# in float32, which older programs read as well.
FORMAT_VERSION, QUANTIZED_FORMAT_VERSION = 2, 3
KIND = "export"
# What an export consists of; its readers accept nothing else.
SAVED_MODEL = "saved_model"
GRAPH = f"{SAVED_MODEL}/saved_model.pb"
VARIABLES = f"{SAVED_MODEL}/variables/variables"
VOCABULARY = "vocabulary.model"
_INDEX, _DATA = (VARIABLES + suffix for suffix in tensors.SUFFIXES)
_MAX_BYTES = {GRAPH: 64 << 20, VOCABULARY: 64 << 20, _INDEX: 1 << 20}
_MAX_DEPTH = 16
# Beyond this there is no number in the configuration of a model of our time.
_MAX_SIZE = 1 << 24
# Beside the tensors, their data file holds a SavedModel's object graph.
_MAX_OBJECT_GRAPH_BYTES = 1 << 20
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Description:
    """All of an export but its weights.

    Attributes:
        source: Where it came from.
        student: Who published it.
        step: After how many updates.
        config: The model's configuration.
        vocab_size: V.
        vocabulary: Fingerprint of the vocabulary its ids mean.
        reset_at_documents: Whether it was trained with zero state at the start
            of every document.
        generation: Of its student, when it was published.
        dtype: How its matrices are stored, see `quantization.table`.
    """

    source: str
    student: int
    step: int
    config: model_settings.ModelConfig
    vocab_size: int
    vocabulary: str
    reset_at_documents: bool
    generation: int
    dtype: str = dataclasses.field(default="float32", kw_only=True)

    @property
    def label(self) -> str:
        """What people call it: whose it is, and of which step."""
        return f"student {self.student}, step {self.step}"

    def header(self) -> dict[str, Any]:
        """Returns it as JSON, for `from_header`."""
        names = {field.name for field in dataclasses.fields(Description)} - {"config"}
        return {n: getattr(self, n) for n in names} | registry.to_json(self.config)

    @property
    def tensors(self) -> dict[str, tensors.Spec]:
        """What stands for its weights, see `quantization.table`."""
        table = quantization.table(self.config, self.vocab_size, self.dtype)
        return {name: tensors.Spec(*row) for name, row in table.items()}

    @property
    def tensor_table(self) -> dict[str, dict[str, Any]]:
        """The same as manifests have it."""
        return {
            name: {"shape": list(spec.shape), "dtype": spec.dtype}
            for name, spec in self.tensors.items()
        }

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> "Description":
        """Returns the description of a `header`."""
        fields = {n: x for n, x in header.items() if not n.startswith("model")}
        return cls(**fields, config=registry.from_json(header))

    def to_manifest(self) -> dict[str, Any]:
        """Returns what `parse` reads; a publication adds step and files."""
        kind: dict[str, Any] = {"format_version": FORMAT_VERSION, "kind": KIND}
        if self.dtype != "float32":
            kind |= {"format_version": QUANTIZED_FORMAT_VERSION, "dtype": self.dtype}
        return {
            **kind,
            "student": self.student,
            "vocabulary": self.vocabulary,
            "vocab_size": self.vocab_size,
            "reset_at_documents": self.reset_at_documents,
            **registry.to_json(self.config),
            "model_fingerprint": self.config.fingerprint(),
            "tensors": self.tensor_table,
        }


@dataclasses.dataclass(frozen=True)
class Expected:
    """Whose exports can be used.

    Attributes:
        vocabulary: Fingerprint of the reader's vocabulary.
        vocab_size: V of the reader.
        student: Whose export it must be; None takes anybody's.
    """

    vocabulary: str
    vocab_size: int
    student: int | None = None


def parse(
    snapshot: publication.Snapshot,
    manifest: dict[str, Any],
    expected: Expected | None = None,
) -> Description:
    """Returns what a manifest describes.

    Args:
        snapshot: Whose.
        manifest: Its manifest, as the commit file has it.
        expected: Whose exports can be used; None: anybody's.

    Raises:
        SnapshotError: it describes nothing that can be used; `reason` says which
            part is wrong.
    """
    path = snapshot.path
    if not _depth_is_at_most(manifest, _MAX_DEPTH):
        raise _refusal(path, "manifest", f"it is nested more than {_MAX_DEPTH} deep")
    dtype = _dtype(path, manifest)
    # The key is older than the word.
    by_name = {"step": snapshot.step, "incarnation": snapshot.generation}
    for key, number in by_name.items():
        if _whole(path, manifest, key) != number:
            raise errors.SnapshotError(
                f"{path} says that its {key} is {manifest[key]}; its name says "
                f"{number}. It was copied or renamed; remove it.",
                reason="name",
            )
    student = _whole(path, manifest, "student")
    if expected is not None and expected.student not in (None, student):
        raise errors.SnapshotError(
            f"{path} says that student {student} wrote it; student {expected.student} "
            "was expected. It was copied from elsewhere; remove it.",
            reason="student",
        )
    resets = manifest.get("reset_at_documents")
    if not isinstance(resets, bool):
        raise _refusal(path, "manifest", f"reset_at_documents is {_short(resets)}")
    vocabulary, vocab_size = _vocabulary(path, manifest, expected)
    described = Description(
        source=str(path),
        student=student,
        step=snapshot.step,
        config=_config(path, manifest, vocab_size),
        vocab_size=vocab_size,
        vocabulary=vocabulary,
        reset_at_documents=resets,
        generation=snapshot.generation,
        dtype=dtype,
    )
    _check_tensors(described, manifest)
    return described


def _dtype(path: object, manifest: dict[str, Any]) -> str:
    """Returns how the matrices are stored, of a format that this program reads."""
    version, kind = manifest.get("format_version"), manifest.get("kind")
    is_known = version in (FORMAT_VERSION, QUANTIZED_FORMAT_VERSION)
    if kind != KIND or type(version) is not int or not is_known:
        raise errors.SnapshotError(
            f"{path} is a {_short(kind)} of format {_short(version)}; this program "
            f"reads exports of format {FORMAT_VERSION} and {QUANTIZED_FORMAT_VERSION}. "
            "Train all students with one version.",
            reason="format",
        )
    if version == FORMAT_VERSION:
        return "float32"
    dtype = manifest.get("dtype")
    if dtype not in codistillation.EXPORT_DTYPES[1:]:
        raise _refusal(path, "manifest", f"dtype is {_short(dtype)}")
    return dtype


def _vocabulary(
    path: object, manifest: dict[str, Any], expected: Expected | None
) -> tuple[str, int]:
    """Returns fingerprint and size of the vocabulary."""
    fingerprint = manifest.get("vocabulary")
    if not isinstance(fingerprint, str) or not _FINGERPRINT.fullmatch(fingerprint):
        raise _refusal(path, "manifest", f"vocabulary is {_short(fingerprint)}")
    size = _whole(path, manifest, "vocab_size", at_most=_MAX_SIZE)
    if expected is not None:
        require_vocabulary(path, fingerprint, size, expected)
    return fingerprint, size


def require_vocabulary(
    path: object, fingerprint: str, size: int, expected: Expected
) -> None:
    """Refuses what was trained with another vocabulary.

    Raises:
        SnapshotError: its token ids mean other pieces.
    """
    if fingerprint != expected.vocabulary:
        raise errors.SnapshotError(
            f"{path} was trained with vocabulary {fingerprint[:12]}; "
            f"{expected.vocabulary[:12]} was expected. Their token ids mean different "
            "pieces. Use exports and data of the same `lmcodistill prep`.",
            reason="vocabulary",
        )
    if size != expected.vocab_size:
        raise errors.SnapshotError(
            f"{path} predicts {size:,} token ids; the vocabulary has "
            f"{expected.vocab_size:,}.",
            reason="vocab_size",
        )


def _config(
    path: object, manifest: dict[str, Any], vocab_size: int
) -> model_settings.ModelConfig:
    """Returns the model's configuration, each of its values of the exact type."""
    family, given = registry.described_family(manifest), manifest.get("model")
    if family is None:
        name = _short(manifest["model_family"])
        raise _refusal(path, "model", f"no family {name} is installed here")
    if not isinstance(given, dict):
        raise _refusal(path, "model", f"model is {_short(given)}")
    fields = typing.get_type_hints(family.config)
    if different := sorted(fields.keys() ^ given.keys()):
        raise _refusal(path, "model", f"it lacks or adds {_short(different)}")
    for name, kind in fields.items():
        value = given[name]
        # Where gin has a number, JSON may have a whole one; never a bool or a NaN.
        accepted: Any = (int, float) if kind is float else kind
        is_sound = isinstance(value, accepted)
        is_sound = is_sound and (kind is bool) == (type(value) is bool)
        if isinstance(value, int | float):
            is_sound = is_sound and abs(value) <= _MAX_SIZE
        if not is_sound:
            raise _refusal(path, "model", f"{name} is {_short(value)}")
    try:
        config = family.config(**given)
        weights.specs(config, vocab_size)
    except errors.UsageError as error:
        raise _refusal(path, "model", str(error)) from error
    if config.vocab_size not in (None, vocab_size):
        problem = f"its own vocab_size is {config.vocab_size}, not {vocab_size}"
        raise _refusal(path, "model", problem)
    if manifest.get("model_fingerprint") != config.fingerprint():
        raise errors.SnapshotError(
            f"{path} gives its model the fingerprint "
            f"{_short(manifest.get('model_fingerprint'))}; its configuration has "
            f"{config.fingerprint()[:12]}. One of the two was changed.",
            reason="model_fingerprint",
        )
    return config


def _check_tensors(described: Description, manifest: dict[str, Any]) -> None:
    """Compares the table of tensors with the configuration, then with the files."""
    path, rows = described.source, described.tensor_table
    listed = manifest.get("tensors")
    if not isinstance(listed, dict):
        raise _refusal(path, "tensor_table", f"tensors is {_short(listed)}")
    for name in sorted(rows.keys() | listed.keys()):
        # As JSON: there, unlike here, True is not 1 and 1.0 is neither.
        if files.to_json(listed.get(name)) != files.to_json(rows.get(name)):
            raise errors.SnapshotError(
                f"{path} lists tensor {_short(name)} as {_short(listed.get(name))}; "
                f"its configuration has {_short(rows.get(name))}.",
                reason="tensor_table",
            )
    needed = sum(spec.num_bytes for spec in described.tensors.values())
    _check_files(path, manifest, needed)


def _check_files(path: object, manifest: dict[str, Any], needed: int) -> None:
    """Compares the table of files with what an export of so many bytes has."""
    listed = manifest.get("files")
    if not isinstance(listed, dict):
        raise _refusal(path, "file_table", f"files is {_short(listed)}")
    if different := sorted({*_MAX_BYTES, _DATA} ^ listed.keys()):
        raise _refusal(path, "file_table", f"it lacks or adds {_short(different)}")
    limits = _MAX_BYTES | {_DATA: needed + _MAX_OBJECT_GRAPH_BYTES}
    for name, limit in limits.items():
        row = listed[name]
        size = row.get("bytes") if isinstance(row, dict) else None
        if type(size) is not int or size < 0:
            raise _refusal(path, "file_table", f"{name} is {_short(row)}")
        if size > limit or (name == _DATA and size < needed):
            raise errors.SnapshotError(
                f"{path} lists {name} with {size:,} bytes; its tensors need "
                f"{needed:,}, and such a file has at most {limit:,}. It was "
                "tampered with or damaged.",
                reason="size",
            )


def _whole(
    path: object, manifest: dict[str, Any], name: str, at_most: int = 1 << 60
) -> int:
    """Returns a whole number, not below 0, of a manifest."""
    value = manifest.get(name)
    if type(value) is not int or not 0 <= value <= at_most:
        raise _refusal(path, "manifest", f"{name} is {_short(value)}")
    return value


def _refusal(path: object, reason: str, problem: str) -> errors.SnapshotError:
    return errors.SnapshotError(
        f"{path} describes a model that this program cannot build: {problem}.", reason
    )


def _depth_is_at_most(value: object, limit: int) -> bool:
    """Returns whether at most so many arrays and objects are in each other."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return not level


def _short(value: object) -> str:
    """Returns an untrusted value as a few characters."""
    return repr(value)[:80]
