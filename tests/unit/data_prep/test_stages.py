"""The all-to-all steps, the report, names of inputs, what a terminal shows."""

import io

import numpy as np
import pytest

from data_prep import counts as counts_lib
from data_prep import documents, progress, work
from data_prep.duplicates import survivors
from data_prep.tokens import partition, tokenize_part, vocabulary_training
from lmcodistill import errors
from lmcodistill.data import text_forms


def test_clean_text_survives_what_json_and_terminals_bring():
    cleaned = text_forms.clean("a\r\nb\rc \u2581 \ud800! n\0ul")

    assert cleaned == "a\nb\nc _ \ufffd\ufffd\ufffd! nul"


def test_document_comes_back_from_its_line():
    document = documents.Document("0" * 32, 'quote " and\nline', "u", "eng", "s", True)

    line = document.to_json_line()

    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert documents.Document.from_json(line) == document


def test_names_of_files_cannot_steer_a_terminal():
    assert errors.printable("a\x1b[2J\nb\u202e", kept="") == "a\\x1b[2J\\nb\\u202e"


def test_plain_progress_is_silent_for_short_stages_but_for_the_end():
    stream = io.StringIO()

    with progress.Display(stream).stage("read", 100, "B") as stage:
        stage.update(50)

    assert stream.getvalue().startswith("stage=read done=100% seconds=")
    assert stream.getvalue().count("\n") == 1


def test_plain_progress_tells_rate_and_time_left(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(progress, "_PERIOD_SECONDS", 0.0)

    with progress.Display(stream).stage("read", 100, "B") as stage:
        stage.update(0)
        stage.update(50)

    line = stream.getvalue().splitlines()[1]
    assert line.startswith("stage=read done=50% rate=")
    assert "B/s left=" in line


@pytest.mark.parametrize(
    ("seconds", "text"), [(12.4, "12s"), (200, "3m20s"), (3_725, "1h02m")]
)
def test_durations_are_written_as_people_do(seconds, text):
    assert progress.duration(seconds) == text


def test_counts_come_back_from_their_commit_file():
    counts = counts_lib.Counts()
    counts.drop("empty")
    counts.keep(10, "eng")

    assert counts_lib.Counts.from_json(counts.to_json()) == counts


def test_every_unknown_word_is_a_token_of_its_own(tmp_path):
    folder = work.WorkFolder(tmp_path)
    folder.make()
    model = vocabulary_training.word_model({"a": 1, "<unk>": 1}, size=0)
    folder.vocabulary_model.write_bytes(model)
    part = work.Part(0, 0, 2)
    lines = [documents.Document("0" * 32, text) for text in ("a x y <unk> </s>", "")]
    folder.documents(part).write_bytes(b"".join(d.to_json_line() for d in lines))
    task = tokenize_part.TokenizeTask(
        number=0,
        part=part,
        root=tmp_path,
        survivors=survivors.Survivors(tmp_path, False, False),
        place=partition.ByOrder("test", 0, 2, 1, 0.0),
        splits=("test",),
    )

    tokenize_part.tokenize(task, lambda _: None)

    # Ids: 0 unknown, 1 end, 2 "<unk>", 3 "a"; the second document is empty.
    assert np.fromfile(folder.tokens(part), "<u2").tolist() == [3, 0, 0, 2, 0, 1, 1]
    counts = work.read_commit(folder.tokens_commit(part))["test"]
    assert (counts["words"], counts["unknown"], counts["documents"]) == (5, 3, 2)
