"""Exports made to harm: read by everything that reads exports, nothing happens."""

import itertools
import os
import time

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.codistill import teachers
from lmcodistill.exports import manifest
from lmcodistill.exports import reader as reader_lib
from lmcodistill.inference import sampling
from lmcodistill.model import scoring
from lmcodistill.storage import layout, publication
from tests.support import booby_traps

GRAPH = manifest.GRAPH
INDEX = manifest.VARIABLES + ".index"
DATA = manifest.VARIABLES + ".data-00000-of-00001"
numbers = itertools.count()


@pytest.fixture(scope="module")
def pool():
    return teachers.TeacherPool(
        carry_state=True,
        new_state=lambda model, at: model.initial_state(2),
        scope=lambda: tf.device("CPU:0"),
    )


def use_as_all_do(snapshot, vocabulary, pool):
    """Reads an export as training, evaluation and generation do, and uses it."""
    expected = manifest.Expected(vocabulary.fingerprint, vocabulary.size, 1)
    export = reader_lib.read(snapshot, expected)
    pool.swap([export], step=60)
    tokens = tf.constant([[2, 3, 4]])
    (teacher,) = pool.active
    scoring.token_losses(teacher.model, tokens, tokens)
    travelled = reader_lib.vocabulary_of(snapshot)
    sampler = sampling.Sampler([export.build()], travelled)
    sampler.continuations("one two", num_tokens=2, temperature=0.0)
    return export


@pytest.mark.parametrize("name", booby_traps.TRAPS)
def test_booby_trap_does_nothing_to_those_who_read_it(
    bench, vocabulary, pool, tmp_path, name
):
    trap = tmp_path / f"trap{next(numbers)}"
    canary = booby_traps.set_trap(name, trap)
    (bench.spoilt / GRAPH).write_bytes((trap / "saved_model.pb").read_bytes())
    bench.list_again()

    export = use_as_all_do(bench.snapshot, vocabulary, pool)
    touched_by_reading = canary.exists()
    booby_traps.spring(trap)

    assert not touched_by_reading
    assert canary.exists()  # It was a trap.
    for weight, value in bench.weights.items():
        np.testing.assert_array_equal(export.weights[weight], value)


def test_graph_that_is_none_is_not_even_looked_at(bench, vocabulary, pool):
    (bench.spoilt / GRAPH).write_bytes(b"\xff" * 1000)
    bench.list_again()

    use_as_all_do(bench.snapshot, vocabulary, pool)

    with pytest.raises((OSError, tf.errors.OpError)):
        tf.saved_model.load(str(bench.spoilt / "saved_model"))


def pipe(path):
    os.mkfifo(path)


def link_to_a_device(path):
    path.symlink_to("/dev/zero")


def device(path):
    try:
        os.mknod(path, 0o20666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("Only root makes devices.")


def huge_file_of_nothing(path):
    with open(path, "wb") as file:
        file.truncate(1 << 42)


def folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    "thing", [pipe, link_to_a_device, device, huge_file_of_nothing, folder]
)
@pytest.mark.parametrize("name", [DATA, INDEX, GRAPH, "vocabulary.model"])
def test_what_is_no_file_of_its_size_is_refused_within_a_second(bench, name, thing):
    (bench.spoilt / name).unlink()
    thing(bench.spoilt / name)
    began = time.monotonic()

    for reader in (reader_lib.read, reader_lib.vocabulary_of):
        if reader is reader_lib.read or name == "vocabulary.model":
            with pytest.raises(errors.SnapshotError) as refusal:
                reader(bench.snapshot)
            assert refusal.value.reason in ("special_file", "size")

    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("name", [publication.MANIFEST, publication.COMMIT_FILE])
@pytest.mark.parametrize(
    "thing", [pipe, link_to_a_device, device, huge_file_of_nothing]
)
def test_manifest_that_is_no_small_file_is_refused_within_a_second(bench, name, thing):
    (bench.spoilt / name).unlink()
    thing(bench.spoilt / name)
    began = time.monotonic()

    listed = publication.committed(bench.spoilt.parent, layout.EXPORT)
    with pytest.raises(errors.SnapshotError):
        reader_lib.read(bench.snapshot)

    assert time.monotonic() - began < 1.0
    assert len(listed) <= 1


def test_huge_file_of_nothing_is_refused_before_it_is_read(bench):
    # Signed, so that only sizes can tell: the tensors do not need so many bytes.
    with open(bench.spoilt / DATA, "r+b") as file:
        file.truncate(1 << 42)
    listed = bench.manifest()["files"]
    listed[DATA]["bytes"] = 1 << 42
    bench.change(files=listed)
    began = time.monotonic()

    with pytest.raises(
        errors.SnapshotError, match="4,398,046,511,104 bytes"
    ) as refusal:
        reader_lib.read(bench.snapshot)

    assert refusal.value.reason == "size"
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    "name", ["../canary", "/etc/canary", "a/../../canary", "saved_model/assets/x", ""]
)
def test_files_that_no_export_has_are_refused(bench, tmp_path, name):
    listed = bench.manifest()["files"]
    listed[name] = listed[INDEX]
    bench.change(files=listed)

    with pytest.raises(errors.SnapshotError) as refusal:
        reader_lib.read(bench.snapshot)

    assert refusal.value.reason == "file_table"
    assert not [p for p in tmp_path.rglob("*") if p.name == "canary"]


def test_linked_variables_are_refused(bench, tmp_path):
    inner = bench.spoilt / "saved_model" / "variables"
    inner.rename(tmp_path / "elsewhere")
    inner.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(errors.SnapshotError) as refusal:
        reader_lib.read(bench.snapshot)

    assert refusal.value.reason == "special_file"


def test_generate_reads_a_booby_trap_unharmed(bench, tmp_path, lmcodistill):
    canary = booby_traps.set_trap("initializer writes a file", tmp_path / "trap")
    content = (tmp_path / "trap" / "saved_model.pb").read_bytes()
    (bench.spoilt / GRAPH).write_bytes(content)
    bench.list_again()

    done = lmcodistill("generate", "--export", str(bench.spoilt), "--tokens", "2")

    assert done.returncode == 0, done.stderr
    assert not canary.exists()
