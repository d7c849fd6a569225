"""The proof of a data folder: every kind of damage is found, and named."""

import os

import numpy as np
import pytest

from lmcodistill.data import documents_index, fault_list, shards, verification
from tests.unit.data import proven_folder

DOCS = proven_folder.documents(12)
SHARD = "train-00000-of-00002/shard-00000"
OTHER = "train-00001-of-00002/shard-00001"


@pytest.fixture
def make(tmp_path, vocabulary_model):
    """Writes a folder of 12 documents, or one that was made wrongly."""

    def write(splits=None, inputs=None, **edits):
        return proven_folder.write(
            tmp_path / "data",
            vocabulary_model,
            proven_folder.splits_of(DOCS) if splits is None else splits,
            proven_folder.kept_of(DOCS) if inputs is None else inputs,
            **edits,
        )

    return write


def faults_of(root, **options):
    """Returns the faults as text."""
    manifest = shards.Manifest.read(root / "manifest.json")
    verdict = verification.verify(root, manifest, **options)
    assert verdict.num_faults == len(verdict.faults)
    return [str(fault) for fault in verdict.faults]


def flip(path, offset=0):
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def tokens(name):
    """Returns the path of a shard below the folder."""
    return f"{name}.tokens"


def swap(root, one, other):
    (root / one).rename(root / "aside")
    (root / other).rename(root / one)
    (root / "aside").rename(root / other)


def replace(root, name, make_other):
    (root / name).rename(root / "aside")
    make_other(root / name)


def test_whole_folder_has_no_faults_and_leaves_nothing_unproven(make):
    root = make()
    manifest = shards.Manifest.read(root / "manifest.json")
    read = []

    verdict = verification.verify(root, manifest, read.append)

    assert verdict == ((), 0, ())
    assert sum(read) == verification.bytes_to_read(manifest)


# What was done to the files, and how each fault begins.
DAMAGE = {
    "a flipped bit": (
        lambda root: flip(root / tokens(SHARD)),
        [f"{SHARD}.tokens: SHA-256"],
    ),
    "a token that no piece has": (
        lambda root: flip(root / tokens(SHARD), 5),
        [
            f"{SHARD}.tokens at byte 4: token: found ",
            f"{SHARD}.tokens: SHA-256",
        ],
    ),
    "a shard cut inside a token": (
        lambda root: os.truncate(root / tokens(OTHER), 3),
        [
            f"{OTHER}.tokens: bytes: found 3, expected ",
            f"{OTHER}.tokens: SHA-256",
            f"{OTHER}.tokens: documents: found 0, expected 1",
            f"{OTHER}.tokens: end of the last document: found 0, expected 1",
        ],
    ),
    "an empty shard": (
        lambda root: os.truncate(root / tokens(OTHER), 0),
        [f"{OTHER}.tokens: bytes: found 0", f"{OTHER}.tokens: SHA-256"],
    ),
    "a shard with something behind it": (
        lambda root: (root / tokens(OTHER)).write_bytes(
            (root / tokens(OTHER)).read_bytes() + b"\0\0\0\0"
        ),
        [f"{OTHER}.tokens: bytes: found more, expected "],
    ),
    "a missing shard": (
        lambda root: (root / tokens(SHARD)).unlink(),
        [f"{SHARD}.tokens: file: found No such file"],
    ),
    "a link in place of a shard": (
        lambda root: replace(
            root, tokens(SHARD), lambda p: p.symlink_to(root / "aside")
        ),
        [f"{SHARD}.tokens: kind: found a link or a special file"],
    ),
    "a pipe in place of a shard": (
        lambda root: replace(root, tokens(SHARD), os.mkfifo),
        [f"{SHARD}.tokens: kind: found a link or a special file"],
    ),
    "a folder in place of a shard": (
        lambda root: replace(root, tokens(SHARD), os.mkdir),
        [f"{SHARD}.tokens: kind: found a link or a special file"],
    ),
    "a link in place of a split": (
        lambda root: replace(
            root, "validation", lambda p: p.symlink_to(root / "aside")
        ),
        ["validation: kind: found a symbolic link"],
    ),
    "a flipped bit in an index": (
        lambda root: flip(root / f"{SHARD}.documents", 50),
        [f"{SHARD}.documents: SHA-256"],
    ),
    "a missing index": (
        lambda root: (root / f"{SHARD}.documents").unlink(),
        [f"{SHARD}.documents: file: found No such file"],
    ),
    "a link in place of an index": (
        lambda root: replace(
            root, f"{SHARD}.documents", lambda p: p.symlink_to(root / "aside")
        ),
        [f"{SHARD}.documents: kind: found a link or a special file"],
    ),
    "a flipped bit in the vocabulary": (
        lambda root: flip(root / "vocabulary.model", -1),
        ["vocabulary.model: SHA-256"],
    ),
    "a missing vocabulary": (
        lambda root: (root / "vocabulary.model").unlink(),
        ["vocabulary.model: content: found "],
    ),
    "a link in place of the vocabulary": (
        lambda root: replace(
            root, "vocabulary.model", lambda p: p.symlink_to(root / "aside")
        ),
        ["vocabulary.model: content: found "],
    ),
}


@pytest.mark.parametrize(("damage", "expected"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_file_is_named_with_what_is_wrong(make, damage, expected):
    root = make()
    damage(root)

    found = faults_of(root)

    assert len(found) == len(expected), found
    for fault, start in zip(found, expected, strict=True):
        assert fault.startswith(start)


def test_swapped_shards_are_both_named(make):
    root = make()
    swap(root, tokens(SHARD), tokens(OTHER))

    found = faults_of(root)

    assert {fault.split(":")[0].split(" ")[0] for fault in found} == {
        f"{SHARD}.tokens",
        f"{OTHER}.tokens",
    }


# A number of the manifest that was changed, and where that is seen.
EDITS = {
    "tokens of a shard": (lambda m: m["train"][0]["shards"][0], "tokens", SHARD),
    "documents of a shard": (lambda m: m["train"][0]["shards"][0], "documents", SHARD),
    "digest of a shard": (lambda m: m["train"][0]["shards"][0], "sha256", SHARD),
    "digest of an index": (lambda m: m["train"][0]["shards"][0], "index_sha256", SHARD),
    "start of a shard": (lambda m: m["train"][1]["shards"][1], "first_token", OTHER),
    "documents of a split": (lambda m: m["train"][0], "documents", "train-00000"),
    "tokens of a split": (lambda m: m["train"][0], "tokens", "train-00000"),
    "words of a split": (lambda m: m["held_out"]["validation"], "words", "validation"),
    "bytes of a split": (lambda m: m["held_out"]["validation"], "bytes", "validation"),
    "documents of an input": (lambda m: m["inputs"][1], "documents", "1.txt"),
    "ids of an input": (lambda m: m["inputs"][1], "ids", "1.txt"),
    "vocabulary": (lambda m: m, "vocabulary", "vocabulary.model"),
    "number of ids": (lambda m: m, "vocab_size", "manifest.json: vocab_size"),
    "end id": (lambda m: m, "end_id", "manifest.json: end_id"),
    "name of a held-out split": (
        lambda m: m["held_out"]["validation"],
        "name",
        "manifest.json: name of a split",
    ),
}


@pytest.mark.parametrize(("where", "field", "named"), EDITS.values(), ids=EDITS)
def test_edited_manifest_is_found_out(make, where, field, named):
    root = make()

    def change(manifest):
        value = where(manifest)[field]
        other = value + 1 if isinstance(value, int) else "c" * len(value)
        where(manifest)[field] = other

    proven_folder.edit_manifest(root, change)

    assert any(fault.startswith(named) for fault in faults_of(root))


@pytest.mark.parametrize("field", ["first_token", "index_sha256"])
def test_field_that_version_2_must_have_is_missed(make, field):
    root = make()
    proven_folder.edit_manifest(root, lambda m: m["train"][0]["shards"][0].pop(field))

    assert any("found None" in f or "expected None" in f for f in faults_of(root))


def test_split_that_is_listed_twice_is_found(make):
    root = make()
    proven_folder.edit_manifest(root, lambda m: m["train"].append(m["train"][0]))

    found = faults_of(root)

    assert "manifest.json: splits listed: found 4, expected 3" in found


def test_shard_that_is_listed_twice_is_found(make):
    root = make()
    proven_folder.edit_manifest(
        root, lambda m: m["train"][0]["shards"].append(m["train"][0]["shards"][0])
    )

    found = faults_of(root)

    assert "train-00000-of-00002: shards listed: found 3, expected 2" in found


def test_document_in_two_splits_is_named_in_both_though_all_digests_fit(make):
    splits = proven_folder.splits_of(DOCS)
    copied = splits[proven_folder.TRAIN[0]][0][1]
    splits["validation"][1].append(copied)
    everything = [doc for parts in splits.values() for part in parts for doc in part]

    found = faults_of(make(splits, proven_folder.kept_of(everything)))

    assert found == [
        "validation/shard-00001.documents at byte 44: document: found "
        f"{copied.id:032x}, which is in {SHARD}.documents too, expected each document "
        "once"
    ]


def test_document_that_was_kept_and_is_nowhere_is_missed(make):
    splits = proven_folder.splits_of(DOCS)
    lost = splits["validation"][0].pop()

    found = faults_of(make(splits))

    name = f"{lost.file}.txt"
    assert found[0] == f"{name}: documents in the splits: found 5, expected 6"
    assert found[1].startswith(f"{name}: sum of their ids: found ")
    assert len(found) == 2


def test_document_in_place_of_another_is_found(make):
    splits = proven_folder.splits_of(DOCS)
    first = splits["validation"][0][0]
    splits["validation"][0][0] = first._replace(id=first.id ^ 1)

    (fault,) = faults_of(make(splits))

    assert fault.startswith(f"{first.file}.txt: sum of their ids: found ")


def test_two_records_of_one_id_that_were_both_kept_are_no_fault(make):
    splits = proven_folder.splits_of(DOCS)
    part = splits["validation"][0]
    part[1] = part[1]._replace(id=part[0].id)
    everything = [doc for parts in splits.values() for part in parts for doc in part]

    assert faults_of(make(splits, proven_folder.kept_of(everything))) == []


def test_document_twice_in_one_split_is_found(make):
    splits = proven_folder.splits_of(DOCS)
    splits["validation"][1].append(splits["validation"][0][0])
    everything = [doc for parts in splits.values() for part in parts for doc in part]

    (fault,) = faults_of(make(splits, proven_folder.kept_of(everything)))

    assert "validation/shard-00001.documents at byte 44: document" in fault


def test_document_that_ends_elsewhere_than_its_index_says_is_found(make):
    def edit(name, found):
        if name == tokens(SHARD):
            # The first end moves to where the first document begins.
            end = int(np.flatnonzero(found == proven_folder.END)[0])
            found[[0, end]] = found[[end, 0]]
        return found

    (fault,) = faults_of(make(edit_tokens=edit))

    assert fault.startswith(
        f"{SHARD}.tokens at byte 0: end of document 0, in tokens: found 1, expected "
    )


def test_last_document_without_its_end_is_found(make):
    def edit(name, found):
        return found[:-1] if name == tokens(SHARD) else found

    found = faults_of(make(edit_tokens=edit))

    assert f"{SHARD}.tokens: documents: found 2, expected 3" in found
    assert any(f"{SHARD}.tokens: end of the last document" in f for f in found)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("file", 2, "at byte 44: file of document 1: found 2, expected 1"),
        ("start", 99, "at byte 44: start of document 1: found 99, expected "),
        ("tokens", 99, "at byte 88: start of document 2: found "),
    ],
)
def test_index_that_was_written_wrongly_is_found(make, field, value, expected):
    def edit(name, rows):
        if name == tokens(SHARD):
            rows[1][field] = value
        return rows

    found = faults_of(make(edit_rows=edit))

    assert found[0].startswith(f"{SHARD}.documents {expected}")


def test_completeness_is_not_claimed_without_every_index(make):
    root = make()
    (root / f"{SHARD}.documents").unlink()

    verdict = verification.verify(root, shards.Manifest.read(root / "manifest.json"))

    assert [words[:30] for words in verdict.unproven] == [
        "that no document is missing: 1"
    ]


def test_folder_of_version_1_says_what_it_cannot_prove(make):
    root = make()
    proven_folder.as_version_1(root)

    verdict = verification.verify(root, shards.Manifest.read(root / "manifest.json"))

    assert verdict.faults == ()
    assert "format version 1 has no index" in verdict.unproven[0]


def test_damage_is_found_in_a_folder_of_version_1(make):
    root = make()
    proven_folder.as_version_1(root)
    flip(root / tokens(SHARD))

    (fault,) = faults_of(root)

    assert fault.startswith(f"{SHARD}.tokens: SHA-256")


def test_folder_of_version_1_can_be_trained_on(make):
    root = make()
    proven_folder.as_version_1(root)

    data = shards.ShardSet(root)

    assert data.tokens_of(data.train_split(0)).num_tokens == data.train_split(0).tokens


def test_faults_beyond_the_limit_are_counted_only(monkeypatch):
    monkeypatch.setattr(fault_list, "MAX_FAULTS", 2)
    found = fault_list.FaultList(lambda _: None)

    for number in range(5):
        found.compare("a", "b", number, -1)

    assert [fault.found for fault in found.faults] == ["0", "1"]
    assert found.num_faults == 5


@pytest.mark.parametrize("ids_at_once", [1, 7, 100, 10_000])
def test_repeated_documents_are_found_however_few_ids_fit_in_memory(
    tmp_path, vocabulary_model, ids_at_once
):
    docs = proven_folder.documents(300, seed=1)
    copies = [docs[i] for i in (3, 50, 51, 299)]
    splits = {
        proven_folder.TRAIN[0]: [docs[:100], docs[100:]],
        "validation": [copies],
    }
    root = proven_folder.write(
        tmp_path / "data",
        vocabulary_model,
        splits,
        proven_folder.kept_of([*docs, *copies]),
    )

    found = faults_of(root, ids_at_once=ids_at_once)

    named = {fault.split("found ")[1][:32] for fault in found}
    assert named == {f"{doc.id:032x}" for doc in copies}
    assert len(found) == 4


def test_sums_of_ids_are_exact_over_many_blocks(monkeypatch):
    monkeypatch.setattr(documents_index, "BLOCK_ROWS", 7)
    rng = np.random.default_rng(0)
    rows = np.zeros(100, documents_index.ROW)
    for name in ("id_high", "id_low"):
        rows[name] = rng.integers(0, 1 << 64, 100, np.uint64)
    rows["id_low"][:20] = (1 << 64) - 1  # So that much is carried.
    rows["file"] = rng.integers(0, 3, 100)
    totals = documents_index.InputTotals(3)

    for block in documents_index.blocks(rows):
        totals.add(block)

    for file in range(3):
        ids = [int(documents_index.id_of(r), 16) for r in rows if r["file"] == file]
        assert totals.of(file) == (len(ids), f"{sum(ids) % (1 << 128):032x}")
