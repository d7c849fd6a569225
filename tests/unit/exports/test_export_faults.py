"""Damaged, forged and unfitting exports: none is loaded, each for a reason."""

import pytest

from lmcodistill import errors
from lmcodistill.exports import reader
from tools.soak.scenarios import exports as soak


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_sixty_corruptions_of_all_files_are_refused(tmp_path, dtype):
    tally = soak.r11(seed=7, trials=60, folder=tmp_path, dtype=dtype)

    assert (tally.trials, tally.held) == (60, 60), tally.counts
    # By reason, so that the log and the counters tell them apart.
    reasons = {reason for seen in tally.counts.values() for reason in seen}
    assert reasons >= {"refused: digest", "refused: size", "refused: marker"}


def test_every_kind_of_mismatch_is_refused_for_its_reason(tmp_path):
    kinds = soak.OF_THE_MANIFEST | soak.OF_THE_TENSORS

    tally = soak.r12(seed=7, trials=len(kinds), folder=tmp_path)

    assert (tally.trials, tally.held) == (len(kinds), len(kinds)), tally.counts


def test_forged_whole_numbers_and_scales_are_refused_for_their_reason(tmp_path):
    trials = len(soak.OF_INT8)

    tally = soak.r12_int8(seed=7, trials=trials, folder=tmp_path)

    assert (tally.trials, tally.held) == (trials, trials), tally.counts


def test_weights_that_are_no_language_model_are_refused(tmp_path):
    tally = soak.r14(seed=7, trials=4, folder=tmp_path)

    assert (tally.trials, tally.held) == (4, 4), tally.counts


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
