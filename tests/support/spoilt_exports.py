"""Exports to spoil, and the ways in which storage or a stranger's hand spoils them.

Real exports of a tiny model, read as a student reads its peer's: listed, verified,
probed. `tools.soak.scenarios.exports` counts what comes of it.
"""

import hashlib
import json
import os
import pathlib
import random
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from lmcodistill import errors
from lmcodistill.data import vocabulary as vocabulary_lib
from lmcodistill.exports import manifest as manifest_lib
from lmcodistill.exports import probe, quantized, reader, writer
from lmcodistill.model import quantization
from lmcodistill.model import weights as weights_lib
from lmcodistill.settings import model as model_settings
from lmcodistill.storage import files, layout, publication, tensors
from tests.support import small_data

STUDENT, STEP = 1, 50
OWNER = publication.Owner(generation=2, check=lambda: None)
CONFIG = model_settings.LanguageModel(embedding_size=3, num_layers=2, hidden_size=4)
VOCAB_SIZE = small_data.VOCAB_SIZE

Manifest = dict[str, Any]


def make_vocabulary() -> vocabulary_lib.Vocabulary:
    """Returns 12 word pieces."""
    return vocabulary_lib.Vocabulary(small_data.vocabulary_model())


class Bench:
    """An export to spoil, another one to take parts from, and their reader.

    Attributes:
        weights: What its reader should find in it.
        spoilt: The export's folder; every trial begins with a whole one.
        other: One of the same student, of other weights.
    """

    def __init__(self, folder: pathlib.Path, seed: int, dtype: str = "float32"):
        """Publishes both, stored in `dtype` whatever it loses."""
        self.random = random.Random(seed)
        self.vocabulary = make_vocabulary()
        text = np.random.default_rng(seed).integers(3, VOCAB_SIZE, [4, 9], np.int32)
        starts = np.zeros([4, 8], bool)
        self._probe = probe.Probe(text[:, :-1], text[:, 1:], starts, None)
        quantizer = None
        if dtype != "float32":
            quantizer = quantized.Quantizer(dtype, self._probe, max_loss=np.inf)
        self._exporter = writer.Exporter(
            CONFIG,
            self.vocabulary,
            student=STUDENT,
            reset_at_documents=True,
            quantizer=quantizer,
        )
        given = weights_lib.initial(CONFIG, VOCAB_SIZE, seed)
        self._stored = quantization.quantized(CONFIG, VOCAB_SIZE, given, dtype)
        self.weights = quantization.dequantized(self._stored, CONFIG.weight_dtype)
        self.spoilt = self._publish(folder / "spoilt", given)
        others = weights_lib.initial(CONFIG, VOCAB_SIZE, seed + 1)
        self.other = self._publish(folder / "other", others)
        self._whole = {name: (self.spoilt / name).read_bytes() for name in self.names}
        self.wanted = manifest_lib.Expected(
            self.vocabulary.fingerprint, VOCAB_SIZE, STUDENT
        )

    def _publish(self, folder: pathlib.Path, weights: writer.Weights) -> pathlib.Path:
        path = self._exporter.publish(folder, STEP, weights, OWNER).path
        assert isinstance(path, pathlib.Path)
        return path

    @property
    def names(self) -> list[str]:
        """The names of all its files."""
        paths = (p for p in self.other.rglob("*") if p.is_file())
        return sorted(p.relative_to(self.other).as_posix() for p in paths)

    @property
    def snapshot(self) -> publication.Snapshot:
        """The export as a reader finds it."""
        return publication.Snapshot(self.spoilt, STEP, OWNER.generation)

    def repair(self) -> None:
        """Makes the export whole again, and the only one of its folder."""
        for path in self.spoilt.parent.iterdir():
            shutil.rmtree(path)
        for name, content in self._whole.items():
            (self.spoilt / name).parent.mkdir(parents=True, exist_ok=True)
            (self.spoilt / name).write_bytes(content)

    def read(self) -> str:
        """Reads the export; returns what came of it.

        Returns:
            `refused: REASON`, `identical`, or what should never be.
        """
        try:
            exports = publication.committed(self.spoilt.parent, layout.EXPORT)
            if not exports:
                return "refused: not_committed"
            export = reader.read(exports[0], self.wanted)
            vocabulary = reader.vocabulary_of(exports[0])
            self._probe.check(export)
        except errors.SnapshotError as error:
            return f"refused: {error.reason}"
        except Exception as error:
            return f"crashed: {error!r}"[:200]
        same = vocabulary.model == self.vocabulary.model and all(
            export.weights[name].tobytes() == value.tobytes()
            for name, value in self.weights.items()
        )
        return "identical" if same else "loaded"

    def manifest(self) -> Manifest:
        """Returns the manifest as it is."""
        return json.loads((self.spoilt / publication.MANIFEST).read_bytes())

    def sign(self, manifest: Manifest | bytes) -> None:
        """Writes a manifest as its writer could: the commit file fits it."""
        content = manifest
        if not isinstance(content, bytes):
            content = files.to_json(content).encode()
        (self.spoilt / publication.MANIFEST).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        (self.spoilt / publication.COMMIT_FILE).write_text(digest)

    def change(self, **values: Any) -> None:
        """Signs a manifest with other values; `...` removes one."""
        manifest = {**self.manifest(), **values}
        self.sign({n: value for n, value in manifest.items() if value is not ...})

    def change_tensors(self, **values: np.ndarray | None) -> None:
        """Writes other tensors under the same description, and signs."""
        bundle = {**self._stored, **{n.replace("__", "/"): values[n] for n in values}}
        keyed = {reader.key_of(n): v for n, v in bundle.items() if v is not None}
        tensors.write(self.spoilt / manifest_lib.VARIABLES, keyed)
        self.list_again()

    def list_again(self) -> None:
        """Signs a manifest with the sizes and digests that the files now have."""
        listed = {
            name: {
                "bytes": (self.spoilt / name).stat().st_size,
                "sha256": files.sha256_of(self.spoilt / name),
            }
            for name in self.manifest()["files"]
        }
        self.change(files=listed)


# Damage: what storage, a copy or a stranger's hand does to one file.


def _truncate(path: pathlib.Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def _flip(path: pathlib.Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _append(path: pathlib.Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randint(1, 100)))


def _overwrite(path: pathlib.Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    content[start : start + 16] = rng.randbytes(len(content[start : start + 16]))
    path.write_bytes(content)


def _delete(path: pathlib.Path, rng: random.Random) -> None:
    path.unlink()


def _empty(path: pathlib.Path, rng: random.Random) -> None:
    path.write_bytes(b"")


def _folder(path: pathlib.Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _link(path: pathlib.Path, rng: random.Random) -> None:
    elsewhere = path.with_name(path.name + "-moved")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def _dead_link(path: pathlib.Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to("/nowhere")


def _pipe(path: pathlib.Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: dict[str, Callable[[pathlib.Path, random.Random], None]] = {
    "truncated": _truncate,
    "bit flipped": _flip,
    "bytes added": _append,
    "bytes overwritten": _overwrite,
    "deleted": _delete,
    "emptied": _empty,
    "a folder": _folder,
    "a link to the file": _link,
    "a dead link": _dead_link,
    "a pipe": _pipe,
}


# Damage to the whole: what `DAMAGES` cannot say of one file.


def _other_file(bench: Bench) -> None:
    # The one file of two exports of a student that is alike is the graph.
    name = bench.random.choice(
        [publication.MANIFEST, publication.COMMIT_FILE]
        + [manifest_lib.VARIABLES + suffix for suffix in tensors.SUFFIXES]
    )
    shutil.copyfile(bench.other / name, bench.spoilt / name)


def _wrong_size(bench: Bench) -> None:
    listed = bench.manifest()["files"]
    row = listed[bench.random.choice(sorted(listed))]
    row["bytes"] = max(0, row["bytes"] + bench.random.choice([-1, 1, -500, 10**9]))
    bench.change(files=listed)


def _wrong_digest(bench: Bench) -> None:
    listed = bench.manifest()["files"]
    row = listed[bench.random.choice(sorted(listed))]
    row["sha256"] = bench.random.randbytes(32).hex()
    bench.change(files=listed)


def _not_listed(bench: Bench) -> None:
    listed = bench.manifest()["files"]
    del listed[bench.random.choice(sorted(listed))]
    bench.change(files=listed)


def _cut_manifest(bench: Bench) -> None:
    content = (bench.spoilt / publication.MANIFEST).read_bytes()
    bench.sign(content[: bench.random.randrange(len(content) - 2)])


def _linked_folder(bench: Bench) -> None:
    elsewhere = bench.spoilt.parent / "elsewhere"
    shutil.rmtree(elsewhere, ignore_errors=True)
    inner = bench.spoilt / bench.random.choice(["saved_model", "saved_model/variables"])
    inner.rename(elsewhere)
    inner.symlink_to(elsewhere)


def _forged_index(bench: Bench) -> None:
    path = bench.spoilt / (manifest_lib.VARIABLES + tensors.SUFFIXES[0])
    content = bytearray(path.read_bytes())
    for _ in range(bench.random.randint(1, 3)):
        content[bench.random.randrange(len(content))] ^= 1 << bench.random.randrange(8)
    path.write_bytes(content)
    bench.list_again()


HARMS: dict[str, Callable[[Bench], None]] = {
    "of another export": _other_file,
    "wrong size, signed": _wrong_size,
    "wrong digest, signed": _wrong_digest,
    "not listed, signed": _not_listed,
    "manifest cut, signed": _cut_manifest,
    "folder is a link": _linked_folder,
    "index forged, signed": _forged_index,
}
