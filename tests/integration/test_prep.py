"""prep from files to shards, as a program and as a function."""

import collections
import dataclasses
import gzip
import hashlib
import io
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data_prep import progress
from data_prep.engines import choice
from data_prep.reading import inputs
from data_prep.run import pipeline
from data_prep.run import plan as plan_lib
from lmcodistill import errors
from lmcodistill.data import documents_index, shards, verification
from lmcodistill.settings import filtering, prep
from tests.support import crawl

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT / "../shared/data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="../shared/data is not beside this checkout"
)
FLAGS = (
    "--gin.VOCAB_TYPE='bpe'",
    "--gin.VOCAB_SIZE=330",
    "--gin.VALIDATION_FRACTION=0.2",
    "--gin.GUIDE_FRACTION=0.1",
    "--gin.NUM_PARTITIONS=2",
    "--gin.SHARD_TOKENS=2000",
)


@pytest.fixture
def crawl_folder(tmp_path):
    """Two WET files, JSON Lines and a text file: 70 documents, 60 to keep."""
    folder = tmp_path / "crawl"
    folder.mkdir()
    (folder / "a.warc.wet.gz").write_bytes(b"".join(crawl.wet(range(30))))
    german = crawl.wet(range(100, 105), language="deu")
    copies = crawl.wet([3, 4, 5, 6, 7])[1:]
    fresh = crawl.wet(range(30, 50))[1:]
    (folder / "b.warc.wet.gz").write_bytes(b"".join([*german, *copies, *fresh]))
    lines = [f"The singer sang song {i} for the people of the town." for i in range(9)]
    (folder / "c.jsonl").write_text("\n".join(json.dumps({"text": x}) for x in lines))
    (folder / "d.txt").write_text("The last of the texts is a short one.\n")
    return folder


def settings(**changes):
    return plan_lib.Plan(
        sources=(),
        prep=prep.Prep(
            **{
                "num_partitions": 2,
                "validation_fraction": 0.2,
                "guide_fraction": 0.0,
                "shard_tokens": 2_000,
                "keep_documents": True,
                **changes,
            }
        ),
        vocabulary=prep.PrepVocabulary(type="bpe", size=330),
        rules=filtering.Rules(),
    )


def run_pipeline(sources, output, chosen, num_workers=1):
    display = progress.Display(io.StringIO())
    with choice.make("local", num_workers) as engine:
        plan = dataclasses.replace(chosen, sources=tuple(sources))
        return pipeline.run(plan, output, engine, display)


def digests(folder):
    """Returns the digest of every file but the report, whose times differ."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("report.")
    }


def texts_of(data):
    """Returns the documents of every split, decoded from the shards."""
    found = {}
    for split in (*data.manifest.train, *data.manifest.held_out.values()):
        ids = data.tokens_of(split).read(0, split.tokens).tolist()
        texts, document = [], []
        for token in ids:
            if token == data.manifest.end_id:
                texts.append(data.vocabulary.decode(document))
                document = []
            else:
                document.append(token)
        assert not document, "the split does not end with a document's end"
        found[split.name] = texts
    return found


def test_every_kept_document_is_in_exactly_one_split_word_for_word(
    crawl_folder, tmp_path
):
    report = run_pipeline(
        inputs.find([str(crawl_folder)]).files, tmp_path / "data", settings()
    )

    data = shards.ShardSet(tmp_path / "data")
    splits = texts_of(data)
    together = [text for texts in splits.values() for text in texts]
    kept = []
    for path in sorted((tmp_path / "data" / "documents").iterdir()):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            kept += [json.loads(line)["text"] for line in file]
    assert set(splits) == {"train-00000-of-00002", "train-00001-of-00002", "validation"}
    assert sorted(together) == sorted(kept)
    assert len(set(together)) == len(together) == report["total"]["kept"] == 60
    assert {t for t in together if "th day" not in t} >= {
        "The last of the texts is a short one."
    }


def test_manifest_counts_words_and_bytes_of_the_text(crawl_folder, tmp_path):
    run_pipeline(inputs.find([str(crawl_folder)]).files, tmp_path / "data", settings())

    data = shards.ShardSet(tmp_path / "data")
    splits = texts_of(data)
    for split in (*data.manifest.train, *data.manifest.held_out.values()):
        texts = splits[split.name]
        assert split.documents == len(texts)
        assert split.words == sum(len(text.split()) for text in texts)
        assert split.bytes == sum(len(text.encode()) for text in texts)
        assert split.tokens == sum(shard.tokens for shard in split.shards)
        assert len(split.shards) > 1
        for shard in split.shards:
            content = (tmp_path / "data" / split.name / shard.file).read_bytes()
            assert hashlib.sha256(content).hexdigest() == shard.sha256


def shards_of(folder, split):
    return {
        name: digest
        for name, digest in digests(folder).items()
        if name.startswith(split)
    }


def test_guide_takes_documents_from_training_and_changes_nothing_else(
    crawl_folder, tmp_path
):
    sources = inputs.find([str(crawl_folder)]).files
    alone, guided = tmp_path / "alone", tmp_path / "guided"
    run_pipeline(sources, alone, settings())
    run_pipeline(sources, guided, settings(guide_fraction=0.1))

    before, after = (texts_of(shards.ShardSet(folder)) for folder in (alone, guided))
    guide = after.pop("guide")
    assert 1 < len(guide) < 15  # 6 expected, of 60.
    assert after == {
        split: [text for text in texts if text not in guide]
        for split, texts in before.items()
    }
    assert len(guide) == 60 - sum(map(len, after.values()))
    for same in ("vocabulary", "validation/"):
        assert shards_of(guided, same) == shards_of(alone, same)
    manifest = shards.ShardSet(guided).manifest
    found = verification.verify(guided, manifest)
    assert (found.faults, found.unproven) == ((), ())


def write_texts(folder, count, paragraphs=24):
    """Writes text files of some four sections each, no two alike."""
    folder.mkdir()
    for i in range(count):
        rows = [
            f"Text {i} has a part {k} of which there is some more to say. " * 14
            for k in range(paragraphs)
        ]
        (folder / f"{i}.txt").write_text("\n\n".join(rows))
    return folder


def files_of(folder):
    """Returns which input files the documents of each split came from."""
    data = shards.ShardSet(folder)
    names = {}
    for split in data.manifest.splits:
        rows = np.concatenate(
            [
                documents_index.read(documents_index.path_of(data.path_of(split, s)))
                for s in split.shards
            ]
        )
        names[split.name] = {data.manifest.inputs[i].name for i in rows["file"]}
    return names


def unigram_error(folder):
    """Returns the standard error of two files' mean loss by their own frequencies."""
    data = shards.ShardSet(folder)
    split = data.held_out_split("validation")
    counts, of_file = collections.Counter(), collections.defaultdict(list)
    for shard in split.shards:
        ids = data.tokens_of_shard(split, shard).tolist()
        counts.update(ids)
        path = documents_index.path_of(data.path_of(split, shard))
        for row in documents_index.read(path):
            of_file[row["file"]] += ids[: row["tokens"]]
            del ids[: row["tokens"]]
    [first, second] = [
        (len(ids), sum(-math.log(counts[x] / counts.total()) for x in ids))
        for ids in of_file.values()
    ]
    mean = (first[1] + second[1]) / counts.total()
    left = [loss - tokens * mean for tokens, loss in (first, second)]
    return math.sqrt(2 * (left[0] ** 2 + left[1] ** 2)) / counts.total()


def test_no_text_file_is_both_held_out_and_trained_on(tmp_path, lmcodistill):
    texts = write_texts(tmp_path / "texts", 25)

    result = lmcodistill(
        *("prep", f"--input={texts}", f"--output_dir={tmp_path / 'data'}"),
        *("--gin.VOCAB_TYPE='bpe'", "--gin.VOCAB_SIZE=330", "--num_workers=2"),
        *("--gin.QUALITY_RULES='none'", "--gin.SHARD_TOKENS=20000"),
    )

    assert result.returncode == 0, result.stderr
    names = files_of(tmp_path / "data")
    validation, guide = names.pop("validation"), names.pop("guide")
    trained_on = set.union(*names.values())
    # A tenth of 25 files, though VALIDATION_FRACTION = 0.01 is a quarter of a file.
    assert (len(validation), len(guide), len(trained_on)) == (2, 1, 22)
    assert not (validation | guide) & trained_on
    assert not validation & guide
    assert "validation has 2 source document(s) and " in result.stderr
    error = unigram_error(tmp_path / "data")
    assert f"a standard error of {error:.2g} nats per token" in result.stderr


def test_sections_of_a_single_text_are_dealt_one_by_one_and_that_is_said(
    tmp_path, lmcodistill
):
    texts = write_texts(tmp_path / "texts", 1, paragraphs=600)

    result = lmcodistill(
        *("prep", f"--input={texts}", f"--output_dir={tmp_path / 'data'}"),
        *("--gin.VOCAB_TYPE='bpe'", "--gin.VOCAB_SIZE=330"),
        "--gin.QUALITY_RULES='none'",
    )

    assert result.returncode == 0, result.stderr
    assert "validation has sections of files that are trained on" in result.stderr
    documents = (
        shards.ShardSet(tmp_path / "data").held_out_split("validation").documents
    )
    assert documents >= 8


def test_guide_that_is_too_much_for_a_small_text_is_left_out_and_said(
    tmp_path, lmcodistill
):
    texts = write_texts(tmp_path / "texts", 4)

    result = lmcodistill(
        *("prep", f"--input={texts}", f"--output_dir={tmp_path / 'data'}", *FLAGS),
        *("--gin.QUALITY_RULES='none'", "--gin.GUIDE_FRACTION=1e-9"),
    )

    assert result.returncode == 0, result.stderr
    assert "no document fell to the guide" in result.stderr
    assert set(shards.ShardSet(tmp_path / "data").manifest.held_out) == {"validation"}
    assert not (tmp_path / "data" / "guide").exists()


def test_every_drop_has_a_reason_and_the_counts_add_up(crawl_folder, tmp_path):
    report = run_pipeline(
        inputs.find([str(crawl_folder)]).files, tmp_path / "data", settings()
    )

    assert report["total"]["dropped"] == {"duplicate": 5, "other_language": 5}
    for line in (report["total"], *report["files"]):
        assert line["read"] == line["kept"] + sum(line["dropped"].values())
    assert sum(s["documents"] for s in report["splits"].values()) == 60
    assert all(s["inexact"] == 0 for s in report["splits"].values())


def test_number_of_workers_and_size_of_parts_change_no_byte(
    crawl_folder, tmp_path, monkeypatch
):
    sources = inputs.find([str(crawl_folder)]).files
    run_pipeline(sources, tmp_path / "one", settings(), num_workers=1)
    run_pipeline(sources, tmp_path / "two", settings(), num_workers=2)
    monkeypatch.setattr("data_prep.rules.extract.PART_BYTES", 5_000)
    monkeypatch.setattr("data_prep.duplicates.copies._BUCKET_BYTES", 200)
    monkeypatch.setattr("data_prep.duplicates.copies._PARTS_PER_FILE", 3)
    small_parts = settings(keep_documents=False)
    run_pipeline(sources, tmp_path / "parts", small_parts, num_workers=1)

    one = digests(tmp_path / "one")
    assert digests(tmp_path / "two") == one
    parts = digests(tmp_path / "parts")
    assert {k: v for k, v in one.items() if "/shard-" in k} == {
        k: v for k, v in parts.items() if "/shard-" in k
    }


def test_folder_that_the_input_lies_in_changes_no_byte(crawl_folder, tmp_path):
    run_pipeline(inputs.find([str(crawl_folder)]).files, tmp_path / "one", settings())
    moved = crawl_folder.rename(tmp_path / "elsewhere")
    run_pipeline(inputs.find([str(moved)]).files, tmp_path / "two", settings())

    assert digests(tmp_path / "two") == digests(tmp_path / "one")


def test_cut_file_costs_one_warning_and_only_its_cut_record(crawl_folder, tmp_path):
    path = crawl_folder / "a.warc.wet.gz"
    path.write_bytes(path.read_bytes()[:-50])

    report = run_pipeline(
        inputs.find([str(crawl_folder)]).files, tmp_path / "data", settings()
    )

    assert report["total"]["truncated_files"] == 1
    assert report["files"][0]["read"] == 29
    assert report["total"]["kept"] == 59


def start(arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "lmcodistill", "prep", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_killed_at_every_stage_and_run_again_the_bytes_are_the_same(
    crawl_folder, tmp_path
):
    def arguments(name):
        output = f"--output_dir={tmp_path / name}"
        return [f"--input={crawl_folder}", output, "--num_workers=2", *FLAGS]

    assert start(arguments("undisturbed")).wait(timeout=120) == 0
    work = tmp_path / "killed" / ".work"
    killed = 0
    for traces in ("kept/*.jsonl", "kept/*.json", "vocabulary/*.log", "tokens/*.json"):
        process = start(arguments("killed"))
        deadline = time.monotonic() + 60
        while process.poll() is None and not list(work.glob(traces)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "killed" / "manifest.json").exists()

    assert start(arguments("killed")).wait(timeout=120) == 0

    assert killed == 4
    assert digests(tmp_path / "killed") == digests(tmp_path / "undisturbed")


def test_program_prints_one_json_object_and_the_rest_for_people(
    crawl_folder, tmp_path, lmcodistill
):
    arguments = ["--input", f"{crawl_folder}/*", "--output_dir", str(tmp_path / "d")]

    first = lmcodistill("prep", *arguments, *FLAGS, "--json")
    again = lmcodistill("prep", *arguments, *FLAGS, "--json")

    assert first.returncode == again.returncode == 0, first.stderr
    assert json.loads(first.stdout)["total"]["kept"] == 60
    assert json.loads(again.stdout)["total"] == json.loads(first.stdout)["total"]
    assert "dropped         5  duplicate" in first.stderr
    assert "finished already" in again.stderr
    assert (tmp_path / "d" / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--output_dir=d"], 2, "there is nothing to read"),
        (["--input=none*", "--output_dir=d"], 2, "'none*' matches no file"),
        (["--input={crawl}"], 2, "--output_dir is missing"),
        (["--input={crawl}", "--output_dir={crawl}"], 2, "holds other files"),
        (["--input={crawl}", "--output_dir=d", "--engine=beam"], 2, "--engine=beam"),
        (["--input={crawl}", "--train_text=a", "--output_dir=d"], 2, "both given"),
        (["--train_text=a", "--output_dir=d"], 2, "both --train_text and --validation"),
        (["--input={crawl}", "--output_dir=d", "--num_workers=-1"], 2, "=-1: expected"),
        (["--input={crawl}", "--output_dir=d", "--gin.LANGUAGE='xx'"], 2, "LANGUAGE"),
        (["--input={crawl}", "--output_dir=d", "--gin.LANGUAGE='fr'"], 3, "All 70"),
    ],
)
def test_mistakes_end_with_what_was_found_and_what_to_do(
    crawl_folder, lmcodistill, arguments, code, words
):
    filled = [argument.format(crawl=crawl_folder) for argument in arguments]

    result = lmcodistill("prep", *filled)

    assert (result.returncode, words in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr


def test_other_settings_in_a_finished_folder_are_refused(crawl_folder, tmp_path):
    sources = inputs.find([str(crawl_folder)]).files
    run_pipeline(sources, tmp_path / "data", settings())

    with pytest.raises(errors.UsageError, match=r"Prep\.seed was 0, is 1"):
        run_pipeline(sources, tmp_path / "data", settings(seed=1))


def test_too_large_vocabulary_can_be_mended_without_reading_again(
    crawl_folder, tmp_path
):
    sources = inputs.find([str(crawl_folder)]).files
    chosen = settings()
    too_large = prep.PrepVocabulary(type="bpe", size=30_000)
    with pytest.raises(errors.UsageError, match="VOCAB_SIZE"):
        run_pipeline(
            sources, tmp_path / "data", dataclasses.replace(
                chosen, vocabulary=too_large
            ),
        )  # fmt: skip
    marker = tmp_path / "data" / ".work" / "kept" / "000000.json"
    written = marker.stat().st_mtime_ns

    assert marker.stat().st_mtime_ns == written
    report = run_pipeline(sources, tmp_path / "data", chosen)
    assert report["vocabulary"]["size"] == 330


def test_wat_file_alone_ends_with_a_sentence_that_says_so(tmp_path, lmcodistill):
    path = tmp_path / "a.warc.wat.gz"
    path.write_bytes(crawl.member(crawl.record("metadata", b"{}")))

    result = lmcodistill("prep", f"--input={path}", "--output_dir=d")

    assert result.returncode == 3
    assert "is a WAT file" in result.stderr
    assert "No document was found in 1 input file(s) (records: 1 metadata)" in (
        result.stderr
    )


def test_pretokenized_text_keeps_its_order_and_its_splits(tmp_path, lmcodistill):
    for name, text in (("train", "a b\n\n<unk> c\nb a\n"), ("valid", "a d d\n")):
        (tmp_path / name).write_text(text)

    result = lmcodistill(
        "prep",
        "--gin_file=prep/ptb.gin",
        "--gin.NUM_PARTITIONS=2",
        f"--train_text={tmp_path / 'train'}",
        f"--validation_text={tmp_path / 'valid'}",
        f"--output_dir={tmp_path / 'data'}",
    )

    assert result.returncode == 0, result.stderr
    data = shards.ShardSet(tmp_path / "data")
    # By count, then by word: a, b twice each; <unk>, c once.
    assert [piece.removeprefix("\u2581") for piece in data.vocabulary.pieces] == [
        "<unk>", "</s>", "a", "b", "<unk>", "c",
    ]  # fmt: skip
    assert "guide" not in data.manifest.held_out  # A hundredth of three lines.
    first, second = (data.tokens_of(split) for split in data.manifest.train)
    assert first.read(0, first.num_tokens).tolist() == [2, 3, 1, 1]
    assert second.read(0, second.num_tokens).tolist() == [4, 5, 1, 3, 2, 1]
    validation = data.tokens_of(data.held_out_split("validation"))
    assert validation.read(0, 4).tolist() == [2, 0, 0, 1]
    assert "2 token(s) outside the vocabulary" in result.stderr


def test_guide_of_pretokenized_text_is_lines_of_its_training_text(
    tmp_path, lmcodistill
):
    lines = [f"line {i}\n" for i in range(20)]
    (tmp_path / "train").write_text("".join(lines))
    (tmp_path / "valid").write_text("line 3\n")

    result = lmcodistill(
        "prep",
        "--gin_file=prep/ptb.gin",
        "--gin.GUIDE_FRACTION=0.1",
        f"--train_text={tmp_path / 'train'}",
        f"--validation_text={tmp_path / 'valid'}",
        f"--output_dir={tmp_path / 'data'}",
    )

    assert result.returncode == 0, result.stderr
    data = shards.ShardSet(tmp_path / "data")
    words = texts_of(data)
    assert words["guide"] == ["line 9", "line 19"]
    assert words["train-00000-of-00001"] == [
        f"line {i}" for i in range(20) if i not in (9, 19)
    ]
    assert data.manifest.vocab_size == 2 + 21  # The guide's words are among them.


@needs_shared
def test_penn_treebank_has_the_token_counts_of_the_literature(tmp_path):
    ptb = SHARED / "ptb"
    sources = inputs.pretokenized(
        *(str(ptb / f"ptb.{split}.txt.xz") for split in ("train", "valid", "test"))
    )
    chosen = dataclasses.replace(
        settings(num_partitions=1, keep_documents=False, shard_tokens=1 << 24),
        vocabulary=prep.PrepVocabulary(type="word", size=0),
        kind="pretokenized",
    )

    report = run_pipeline(sources, tmp_path / "data", chosen)

    data = shards.ShardSet(tmp_path / "data")
    assert data.manifest.train[0].tokens == 929_589
    assert data.held_out_split("validation").tokens == 73_760
    assert data.held_out_split("test").tokens == 82_430
    assert data.manifest.vocab_size == 10_001
    assert all(split["unknown"] == 0 for split in report["splits"].values())


@needs_shared
def test_wet_and_warc_of_one_page_give_nearly_the_same_words():
    from data_prep import counts as counts_lib
    from data_prep.reading import readers

    def words(name):
        path = SHARED / "warc-commoncrawl-whirlwind" / name
        chosen = prep.Prep(html_main_content=False)
        [document] = readers.read_documents(
            readers.Source(path, name, chosen, counts_lib.Counts(), lambda _: None)
        )
        return set(document.text.split())

    wet, warc = words("whirlwind.warc.wet.gz"), words("whirlwind.warc.gz")

    assert len(wet & warc) / len(wet) > 0.9


@needs_shared
def test_real_pages_come_back_exactly_from_their_tokens(tmp_path):
    sources = inputs.find(
        [
            str(SHARED / "warc-commoncrawl-2020" / "warcfile.warc.gz"),
            str(SHARED / "warc-dolma-2024" / "sample-0000.warc.gz"),
        ]
    ).files
    every_page = plan_lib.Plan(
        sources=(),
        prep=prep.Prep(validation_fraction=0.1),
        vocabulary=prep.PrepVocabulary(type="bpe", size=3_000),
        rules=filtering.Rules(
            language=filtering.LanguageRule(language=""),
            c4=filtering.C4Rules(apply_to="none"),
            gopher=filtering.GopherRules(apply_to="none"),
        ),
    )

    report = run_pipeline(sources, tmp_path / "data", every_page)

    assert report["total"]["kept"] >= 35
    assert all(s["inexact"] == s["unknown"] == 0 for s in report["splits"].values())
