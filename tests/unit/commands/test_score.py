"""`score`: one text a line, with the figures of the interface."""

import json
import math

import pytest

import lmcodistill
from lmcodistill.commands import score as score_command
from tests.support import untrained_run

TEXTS = list(untrained_run.TEXTS)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS))
    return path


def test_json_has_each_text_and_all_together(command, run_dir, file):
    code, out, _ = command("score", file, "--export", run_dir, "--json", "--per_token")

    found = json.loads(out)
    expected = lmcodistill.load(run_dir).score(TEXTS, per_token=True)
    assert code == 0
    assert [len(found["exports"]), len(found["texts"])] == [2, 4]
    for text, score in zip(found["texts"], expected, strict=True):
        assert text == {
            "nats": score.nats,
            "tokens": score.num_tokens,
            "bytes": score.num_bytes,
            "cross_entropy": score.cross_entropy,
            "perplexity_per_token": score.perplexity,
            "bits_per_byte": score.bits_per_byte,
            "by_token": [[token.piece, token.nats] for token in score.tokens],
        }
    nats = math.fsum(score.nats for score in expected)
    assert found["nats"] == pytest.approx(nats, rel=1e-12)
    assert found["tokens"] == 17
    assert found["bits_per_byte"] == pytest.approx(
        nats / math.log(2.0) / sum(map(len, TEXTS)), rel=1e-12
    )


def test_lines_line_up_with_texts_and_the_last_is_of_all(command, run_dir, file):
    _, out, _ = command("score", file, "--export", run_dir / "students/0")

    heading, *lines, last = out.splitlines()
    scores = lmcodistill.load(run_dir / "students/0").score(TEXTS)
    assert heading.split() == ["nats", "tokens", "ppl/token", "bits/byte", "text"]
    assert [line.split()[:2] for line in lines] == [
        [f"{score.nats:.4f}", str(score.num_tokens)] for score in scores
    ]
    assert [line.split(maxsplit=4)[4] for line in lines] == TEXTS
    assert last.endswith("(4 in all)")


def test_many_lines_are_scored_in_blocks(command, run_dir, file, monkeypatch):
    score = ("score", file, "--export", run_dir / "students/0", "--json")
    at_once = json.loads(command(*score)[1])

    monkeypatch.setattr(score_command, "_BLOCK", 3)
    in_blocks = json.loads(command(*score)[1])

    assert [text["tokens"] for text in in_blocks["texts"]] == [4, 4, 2, 7]
    assert in_blocks["nats"] == pytest.approx(at_once["nats"], rel=1e-6)


def test_dash_is_standard_input_and_an_empty_line_is_a_text(command, run_dir):
    _, out, _ = command(
        *("score", "-", "--export", run_dir, "--json"), stdin=b"one\r\n\nnine"
    )

    found = json.loads(out)["texts"]
    assert [text["tokens"] for text in found] == [2, 1, 2]
    assert found[1]["bits_per_byte"] is None


@pytest.mark.parametrize(
    ("arguments", "stdin", "expected_code", "words"),
    [
        ((), b"", 2, "score needs one FILE"),
        (("-", "more"), b"", 2, "score needs one FILE"),
        (("-",), b"", 3, "- is empty"),
        (("-",), b"one\ngr\xfc\xdfe\n", 3, "Line 2 of standard input is no UTF-8"),
        (("nowhere.txt",), b"", 3, "nowhere.txt cannot be read: No such file"),
        (("/",), b"", 3, "/ cannot be read: Is a directory"),
    ],
)
def test_what_cannot_be_read_is_one_message(
    command, run_dir, arguments, stdin, expected_code, words
):
    code, out, err = command("score", *arguments, "--export", run_dir, stdin=stdin)

    assert (code, out) == (expected_code, "")
    assert words in err
