"""Damaged, forged and unfitting exports: none is loaded, each for a reason."""

import pytest

from lmcodistill import errors
from lmcodistill.exports import reader
from tools.soak.harness import Setup
from tools.soak.scenarios import exports as scenarios


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_sixty_corruptions_of_all_files_are_refused(tmp_path, dtype):
    survival = scenarios.damaged_exports(Setup(7, 60, tmp_path, tmp_path), dtype)

    assert (survival.trials, survival.survived) == (60, 60), survival.notes
    # By reason, so that the log and the counters tell them apart.
    assert set(survival.notes["outcomes"]) >= {
        "refused: digest",
        "refused: size",
        "refused: marker",
    }


def test_every_kind_of_mismatch_is_refused_for_its_reason(tmp_path):
    kinds = scenarios.OF_THE_MANIFEST | scenarios.OF_THE_TENSORS

    survival = scenarios.unfitting_exports(Setup(7, len(kinds), tmp_path, tmp_path))

    assert (survival.trials, survival.survived) == (len(kinds), len(kinds)), (
        survival.notes
    )


def test_forged_whole_numbers_and_scales_are_refused_for_their_reason(tmp_path):
    trials = len(scenarios.OF_INT8)

    survival = scenarios.unfitting_int8_exports(Setup(7, trials, tmp_path, tmp_path))

    assert (survival.trials, survival.survived) == (trials, trials), survival.notes


def test_weights_that_are_no_language_model_are_refused(tmp_path):
    survival = scenarios.untrained_exports(Setup(7, 4, tmp_path, tmp_path))

    assert (survival.trials, survival.survived) == (4, 4), survival.notes


def test_whole_export_is_read(bench):
    assert bench.read() == "identical"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vocabulary": "ab" * 32}, "vocabulary abababababab; {ours} was expected"),
        ({"vocab_size": 13}, "13 token ids; the vocabulary has 12"),
        ({"student": 3}, "student 3 wrote it; student 1 was expected"),
        ({"step": 51}, "its step is 51; its name says 50"),
        ({"format_version": 1}, "'export' of format 1; this program reads .* 2 and 3"),
        ({"format_version": 3, "dtype": "int4"}, "dtype is 'int4'"),
        ({"kind": "checkpoint"}, "is a 'checkpoint'"),
        ({"model_fingerprint": "ab" * 32}, "its configuration has {model}"),
        ({"model": {}}, "lacks or adds .'compute_dtype'"),
    ],
)
def test_refusal_says_what_was_found_and_what_was_expected(
    bench, config, changes, reason
):
    bench.change(**changes)
    ours, model = bench.vocabulary.fingerprint[:12], config.fingerprint()[:12]

    with pytest.raises(
        errors.SnapshotError, match=reason.format(ours=ours, model=model)
    ):
        reader.read(bench.snapshot, bench.wanted)


def test_strangers_value_is_not_repeated_at_length(bench):
    bench.change(kind="x" * 100_000)

    with pytest.raises(errors.SnapshotError) as refusal:
        reader.read(bench.snapshot)

    assert len(str(refusal.value)) < 1_000


def test_reader_without_wishes_takes_what_is_whole(bench):
    bench.change(student=3)

    assert reader.read(bench.snapshot).student == 3


def test_vocabulary_of_another_export_is_refused(bench):
    other = bytearray(bench.vocabulary.model)
    other[-1] ^= 1
    (bench.spoilt / "vocabulary.model").write_bytes(other)
    bench.list_again()

    with pytest.raises(errors.SnapshotError, match="holds the vocabulary") as refusal:
        reader.vocabulary_of(bench.snapshot)

    assert refusal.value.reason == "vocabulary"
