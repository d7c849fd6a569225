"""Finished data, dealt anew: what prep would have written with that many partitions."""

import json
import shlex

import pytest

from lmcodistill import cli

WORDS = ["wind", "rain", "snow", "sun", "moon", "star", "tree", "leaf", "root", "fox"]
SIZES = ("--gin.SHARD_TOKENS=500", "--gin.VOCAB_SIZE=300", "--gin.VOCAB_TYPE='bpe'")


# The texts here are too short for the windows of `runs/quickstart`.
SMALL_BATCH = ("--gin.GLOBAL_BATCH_SIZE=2", "--gin.WINDOW=8")


def text_of(number):
    words = [WORDS[(number * k + k * k) % len(WORDS)] for k in range(1, 12)]
    return f"Number {number}: {' '.join(words)}."


@pytest.fixture(scope="module", params=["by hash", "in order"])
def prepared(request, tmp_path_factory):
    """Returns a function that makes data with some partitions, of either kind."""
    folder = tmp_path_factory.mktemp("split")
    texts = [text_of(i) for i in range(200)]
    if request.param == "by hash":
        source = folder / "a.jsonl"
        source.write_text("\n".join(json.dumps({"text": x}) for x in texts))
        inputs = ("--input", source, "--gin.VALIDATION_FRACTION=0.2")
    else:
        inputs = ()
        for split, part in (("train", texts[:180]), ("validation", texts[180:])):
            path = folder / f"{split}.txt"
            path.write_text("\n".join(part) + "\n")
            inputs = (*inputs, f"--{split}_text", path)

    def prepare(count):
        output = folder / f"data_{count}"
        code = cli.main(
            [
                *map(str, ("prep", *inputs, "--output_dir", output, *SIZES)),
                *(f"--gin.NUM_PARTITIONS={count}", "--num_workers=1"),
                *("--gin.GUIDE_FRACTION=0.1", "--gin.LANGUAGE=''"),
                "--gin.QUALITY_RULES=none",
            ]
        )
        assert code == 0
        return output

    return prepare


def contents(folder):
    """Returns the bytes of all files but the report, which has the time in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("report.")
    }


def test_split_is_byte_for_byte_what_prep_would_have_written(prepared, tmp_path):
    one, three = prepared(1), prepared(3)

    codes = [
        cli.main(["split", str(source), f"--partitions={count}", f"--output_dir={to}"])
        for source, count, to in (
            (one, 3, tmp_path / "three"),
            (tmp_path / "three", 1, tmp_path / "one"),
        )
    ]

    assert codes == [0, 0]
    assert contents(tmp_path / "three") == contents(three)
    assert contents(tmp_path / "one") == contents(one)
    reports = [
        json.loads((folder / "report.json").read_text())
        for folder in (tmp_path / "three", three)
    ]
    assert reports[0]["splits"] == reports[1]["splits"]
    assert len(contents(three)) > 10  # Several shards, each with its index.


@pytest.mark.parametrize("count", [1, 2, 3])
def test_command_that_split_ends_with_can_train(prepared, tmp_path, capsys, count):
    data = prepared(1)
    capsys.readouterr()
    output = tmp_path / "data of its own"

    cli.main(["split", str(data), f"--partitions={count}", f"--output_dir={output}"])

    out = capsys.readouterr().out
    program, *arguments = shlex.split(out.split("Next:\n")[1])
    assert program == "lmcodistill"
    assert cli.main([*arguments, "--dry_run", *SMALL_BATCH]) == 0
    assert "\nstudents: 2\n" in capsys.readouterr().out


def test_command_that_prep_ends_with_names_its_folder(tmp_path, capsys):
    text = tmp_path / "a.jsonl"
    text.write_text("\n".join(json.dumps({"text": text_of(i)}) for i in range(200)))

    data = tmp_path / "data"
    cli.main(
        [
            *("prep", "--gin_file=prep/quickstart", f"--input={text}"),
            *(f"--output_dir={data}", "--num_workers=1", *SIZES),
        ]
    )

    said = capsys.readouterr().err.split("Next:\n")[1]
    _, *arguments = shlex.split(said)
    assert cli.main([*arguments, "--dry_run", *SMALL_BATCH]) == 0


def test_split_that_leaves_a_student_without_text_is_refused(
    prepared, tmp_path, capsys
):
    data = prepared(1)
    capsys.readouterr()

    code = cli.main(
        ["split", str(data), "--partitions=3000", f"--output_dir={tmp_path}"]
    )

    assert code == 3
    assert "would get none of the" in capsys.readouterr().err
    assert not (tmp_path / "manifest.json").exists()


def test_finished_data_is_not_written_to(prepared, capsys):
    data = prepared(1)
    before = contents(data)

    code = cli.main(["split", str(data), "--partitions=2", f"--output_dir={data}"])

    assert code == 2
    assert "finished data folder" in capsys.readouterr().err
    assert contents(data) == before
