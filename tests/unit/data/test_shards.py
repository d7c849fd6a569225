"""Shards: read as one stream, and refused where they are not what prep wrote."""

import json
import os

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.data import shards

THREE_SHARDS = [[3, 4, 5], [6], [7, 8, 2]]


@pytest.fixture
def folder(data_folder):
    return data_folder(train=[THREE_SHARDS, [[9, 2]]], validation=[[10, 11, 2], [4, 2]])


def edit_manifest(folder, change):
    path = folder / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_token_ids_take_two_bytes_below_65536_and_four_from_there():
    assert shards.token_dtype(65_535) == np.dtype("<u2")
    assert shards.token_dtype(65_536) == np.dtype("<u4")


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 7, [3, 4, 5, 6, 7, 8, 2]),  # Over all three.
        (2, 3, [5, 6, 7]),  # The middle one whole.
        (2, 2, [5, 6]),
        (3, 1, [6]),
        (3, 4, [6, 7, 8, 2]),
        (6, 1, [2]),
        (4, 0, []),
        (7, 0, []),
    ],
)
def test_stream_reads_across_the_boundaries_of_shards(folder, start, length, expected):
    data = shards.ShardSet(folder)

    actual = data.tokens_of(data.train_split(0)).read(start, length)

    assert actual.dtype == np.int32
    assert actual.tolist() == expected


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (5, 3), (8, 0)])
def test_reading_beyond_the_stream_is_an_error(folder, start, length):
    data = shards.ShardSet(folder)

    with pytest.raises(IndexError, match="of 7 tokens"):
        data.tokens_of(data.train_split(0)).read(start, length)


def test_empty_shard_is_passed_over(data_folder):
    data = shards.ShardSet(data_folder(train=[[[3], [], [4, 2]]], validation=[[]]))

    assert data.tokens_of(data.train_split(0)).read(0, 3).tolist() == [3, 4, 2]
    assert data.tokens_of(data.held_out_split("validation")).num_tokens == 0


def test_ids_above_32767_stay_positive():
    tokens = shards.SplitTokens([np.array([65_534, 1], "<u2")])

    assert tokens.read(0, 2).tolist() == [65_534, 1]


def test_partitions_and_held_out_splits_are_found_by_number_and_name(folder):
    data = shards.ShardSet(folder)

    assert data.train_split(1).tokens == 2
    assert data.held_out_split("validation").tokens == 5
    assert data.vocabulary.fingerprint == data.manifest.vocabulary


def test_splits_are_read_as_one_stream_in_the_order_given(folder):
    data = shards.ShardSet(folder)

    joined = data.tokens_of(data.train_split(1), data.train_split(0))

    assert joined.num_tokens == 9
    assert joined.read(0, 9).tolist() == [9, 2, 3, 4, 5, 6, 7, 8, 2]


def test_manifest_comes_back(folder):
    manifest = shards.ShardSet(folder).manifest

    again = shards.Manifest.from_json(manifest.to_json(), folder)

    assert again == manifest


def test_folder_without_manifest_says_how_to_make_one(tmp_path):
    with pytest.raises(errors.DataError, match="no manifest.json.* `lmcodistill prep"):
        shards.ShardSet(tmp_path)


def test_other_format_version_says_to_run_prep_again(folder):
    edit_manifest(folder, lambda m: m.update(format_version=3))

    with pytest.raises(
        errors.DataError, match=r"version 3; this program reads 1 and 2\. Run `lm"
    ):
        shards.ShardSet(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("vocab_size"),
        lambda m: m.pop("provenance"),
        lambda m: m.update(train=5),
        lambda m: m.update(end_id="two"),
        lambda m: m.update(held_out=[]),
        lambda m: m["train"][0].pop("tokens"),
        lambda m: m["train"][0].update(extra=1),
        lambda m: m["train"][0].update(name="../elsewhere"),
        lambda m: m["train"][0]["shards"][0].update(file="../shard-00000.tokens"),
        lambda m: m["train"][0]["shards"][0].update(file="/etc/hostname"),
        lambda m: m["train"][0]["shards"][0].update(tokens=-1),
        lambda m: m["train"][0]["shards"][0].update(tokens="3"),
        lambda m: m["train"][0].update(name=".."),
        lambda m: m["train"][0].update(name="train\0"),
        lambda m: m["train"][0]["shards"][0].update(file=".hidden"),
        lambda m: m["train"][0]["shards"][0].update(file="C:\\shard"),
        lambda m: m["train"][0]["shards"][0].update(file="s" * 300),
        lambda m: m.update(inputs=[{"name": "a"}]),
        lambda m: m["train"][0]["shards"][0].update(file=7),
    ],
)
def test_garbled_manifest_is_refused(folder, change):
    edit_manifest(folder, change)

    with pytest.raises(errors.DataError, match="garbles a field.* Run prep again"):
        shards.ShardSet(folder)


def test_vocabulary_of_another_run_is_refused(folder, vocabulary_model):
    # A field that SentencePiece does not know: a model still, of other bytes.
    (folder / "vocabulary.model").write_bytes(vocabulary_model + b"\xf8\x07\x01")

    with pytest.raises(errors.DataError, match="has fingerprint .* beside it expects"):
        shards.ShardSet(folder)


def test_manifest_of_another_vocabulary_is_refused(folder):
    edit_manifest(folder, lambda m: m.update(vocabulary="0" * 64))

    with pytest.raises(
        errors.DataError, match="beside it expects 000000000000: .* run prep again"
    ):
        shards.ShardSet(folder)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda path: os.truncate(path, 4), "has 4 bytes"),
        (lambda path: os.truncate(path, 8), "has 8 bytes"),
        (os.unlink, "has no bytes"),
    ],
)
def test_shard_of_another_length_is_refused(folder, damage, found):
    data = shards.ShardSet(folder)
    damage(folder / "train-00000-of-00002" / "shard-00000.tokens")

    with pytest.raises(errors.DataError, match=f"{found}; the manifest says 6.*copy"):
        data.tokens_of(data.train_split(0))


def test_missing_partition_says_what_helps(folder):
    data = shards.ShardSet(folder)

    with pytest.raises(
        errors.DataError,
        match=r"2 training partition\(s\), and number 2, .*--partitions 3.*ITIONS=2",
    ):
        data.train_split(2)


def edit_vocabulary(value, **settings):
    value["provenance"] = {"settings": {"PrepVocabulary": settings}}


@pytest.mark.parametrize(
    ("settings", "lost"),
    [
        ({}, None),
        ({"digits": "split", "marks": "none"}, None),
        ({"digits": "generic"}, "every digit is written as 0"),
        ({"marks": "sentences"}, "marks of sentences are tokens, and no text"),
    ],
)
def test_text_that_tokens_do_not_give_back_is_known(folder, settings, lost):
    edit_manifest(folder, lambda value: edit_vocabulary(value, **settings))
    data = shards.ShardSet(folder)

    assert data.text_lost(data.held_out_split("validation")) == lost


def test_unknown_words_are_counted_as_lost_text(data_folder):
    unknown, word = 0, 5
    tokens = [[word, unknown, unknown, word, word, word, word, word, word, 2]]
    data = shards.ShardSet(data_folder([tokens], tokens))

    lost = data.text_lost(data.held_out_split("validation"))

    assert lost == "20.0% of the tokens are unknown words"


def test_missing_split_says_which_there_are(folder):
    data = shards.ShardSet(folder)

    with pytest.raises(errors.DataError, match=r"no split 'test'; .*\['validation'\]"):
        data.held_out_split("test")


def crafted_names():
    """Returns names that lead out of the folder, or could on some system."""
    yield from ("", ".", "..", "-rf", ".hidden", "s" * 201, "a\nb", "\u202ea", "a ")
    for out in ("/", "//", "../", "..\\", "C:", "C:\\", "\0", "~/", "./", "%2e%2e/"):
        for depth in range(1, 11):
            yield out * depth + "shard-00000.tokens"
            yield f"shard{out * depth}00000.tokens"


def test_no_crafted_name_of_a_split_or_a_shard_is_ever_opened(folder):
    names = list(crafted_names())
    text = (folder / "manifest.json").read_text()

    for name in names:
        for change in (
            lambda m, n=name: m["train"][0].update(name=n),
            lambda m, n=name: m["held_out"]["validation"]["shards"][0].update(file=n),
        ):
            value = json.loads(text)
            change(value)
            with pytest.raises(errors.DataError, match="garbles a field"):
                shards.Manifest.from_json(value, folder)
    assert len(names) > 200


def test_manifest_beyond_its_limit_is_refused_before_it_is_parsed(folder, monkeypatch):
    monkeypatch.setattr(shards, "MAX_MANIFEST_BYTES", 100)

    with pytest.raises(errors.DataError, match="more than the 100 bytes"):
        shards.ShardSet(folder)
