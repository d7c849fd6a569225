"""`lmcodistill inspect` on what prep made of a small crawl."""

import json
import shutil

import numpy as np
import pytest

from data_prep.reading import inputs
from lmcodistill import cli
from lmcodistill.data import documents_index, shards
from tests.integration import test_prep
from tests.support import crawl


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data folder made of two WET files, with five copies and five dropped."""
    root = tmp_path_factory.mktemp("inspect")
    folder = root / "crawl"
    folder.mkdir()
    (folder / "a.warc.wet.gz").write_bytes(b"".join(crawl.wet(range(30))))
    german = crawl.wet(range(100, 105), language="deu")
    copies = crawl.wet([3, 4, 5, 6, 7])[1:]
    (folder / "b.warc.wet.gz").write_bytes(b"".join([*german, *copies]))
    (folder / "c.txt").write_text("The last of the texts is \x1b[2J a short one.\n")
    test_prep.run_pipeline(
        inputs.find([str(folder)]).files, root / "data", test_prep.settings()
    )
    return root / "data"


@pytest.fixture
def data(made, tmp_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(made, tmp_path / "data")


def inspect(capsys, *arguments):
    """Runs the command; returns its exit code and what it printed."""
    code = cli.main(["inspect", *map(str, arguments)])
    return code, capsys.readouterr().out


def test_what_prep_made_is_proven(made, capsys):
    code, out = inspect(capsys, made, "--verify")

    assert code == 0
    assert "each of the 31 documents that were kept of 3 input(s) is in exactly" in out
    assert "other_language" in out and "validation" in out


def test_only_settings_that_are_not_the_defaults_are_shown(made, capsys):
    _, out = inspect(capsys, made)

    _, shown = out.split("Settings that are not the defaults; --json has all:\n")
    settings = dict(line.strip().split(" = ") for line in shown.splitlines())
    assert settings == {
        "Prep.guide_fraction": "0.0",
        "Prep.keep_documents": "True",
        "Prep.num_partitions": "2",
        "Prep.shard_tokens": "2000",
        "Prep.validation_fraction": "0.2",
        "PrepVocabulary.size": "330",
        "PrepVocabulary.type": "'bpe'",
    }


def test_proof_for_programs_is_one_json_object(made, capsys):
    code, out = inspect(capsys, made, "--verify", "--json")

    value = json.loads(out)
    assert code == 0
    assert value["verification"] == {"faults": [], "num_faults": 0, "unproven": []}
    assert sum(split["documents"] for split in value["splits"].values()) == 31
    # Which of two copies stays depends on their ids.
    kept = [source["documents"] for source in value["inputs"]]
    assert sum(kept[:2]) == 30 and kept[2] == 1


def test_index_leads_back_to_the_documents_of_the_input(made, capsys):
    rows = np.concatenate(
        [
            documents_index.read(path).copy()
            for path in sorted(made.glob("*/*.documents"))
        ]
    )
    sources = [s.name for s in shards.Manifest.read(made / "manifest.json").inputs]

    places = sorted((sources[row["file"]], int(row["number"])) for row in rows)

    # Of b, documents 0 to 4 were in another language.
    assert {n for name, n in places if name == "a.warc.wet.gz"} <= set(range(30))
    assert {n for name, n in places if name == "b.warc.wet.gz"} <= set(range(5, 10))
    assert len(set(places)) == 31


def test_damage_is_named_and_ends_with_code_3(data, capsys):
    path = data / "validation" / "shard-00000.tokens"
    path.write_bytes(b"\xff\xff" + path.read_bytes()[2:])

    code, out = inspect(capsys, data, "--verify")
    code_json, out_json = inspect(capsys, data, "--verify", "--json")

    assert code == code_json == 3
    assert "fault: validation/shard-00000.tokens at byte 0: token: found 65,535" in out
    faults = json.loads(out_json)["verification"]["faults"]
    assert faults[0]["file"] == "validation/shard-00000.tokens"
    assert faults[0]["offset"] == 0


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("report.json", '{"total": {"read": 1}}'),
        ("report.json", '{"total": 5}'),
        ("report.json", "[]"),
        ("manifest.json", '"settings": {"Prep": 7}, "was": {'),
    ],
)
def test_what_was_edited_into_nonsense_is_refused_in_words(data, capsys, file, content):
    if file == "manifest.json":
        text = (data / file).read_text()
        content = text.replace('"settings": {', content, 1)
    (data / file).write_text(content)

    code = cli.main(["inspect", str(data)])

    assert code == 3
    assert file.removesuffix(".json") in capsys.readouterr().err


def test_folder_without_manifest_is_no_data_folder(tmp_path, capsys):
    code, _ = inspect(capsys, tmp_path)

    assert code == 3


@pytest.mark.parametrize("arguments", [(), ("a", "b")])
def test_inspect_takes_one_folder(capsys, arguments):
    code, _ = inspect(capsys, *arguments)

    assert code == 2


def test_documents_are_shown_with_their_source_and_cannot_steer_a_terminal(
    made, capsys
):
    _, listed = inspect(capsys, made, "--sample", "100", "--json")
    documents = json.loads(listed)["documents"]
    (short,) = [d for d in documents if d["source"] == "c.txt"]

    code, out = inspect(capsys, made, "--show_document", short["id"])

    assert code == 0
    assert len(documents) == 31
    assert "document 0 of c.txt\n" in out
    assert "The last of the texts is \\x1b[2J a short one." in out
