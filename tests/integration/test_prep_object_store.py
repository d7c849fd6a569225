"""prep to an object store: a real S3 protocol, a real server on loopback."""

import json
import pathlib

import pytest

from lmcodistill.storage import places
from tests.support import tiny_run

SETTINGS = (
    *("--gin_file=prep/none", "--gin.VOCAB_SIZE=290", "--num_workers=1"),
    "--gin.VALIDATION_FRACTION=0.1",
)


@pytest.fixture
def text(tmp_path) -> pathlib.Path:
    """A few documents."""
    path = tmp_path / "lines.jsonl"
    rows = [{"id": f"{i}", "text": f"The {i}th of a few lines."} for i in range(80)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def files_below(folder: places.Place, prefix: str = "") -> dict[str, bytes]:
    """Returns all files or objects by their relative names."""
    found = {}
    for name in places.names_in(folder):
        path = folder / name
        if places.is_file(path):
            found[prefix + name] = b"".join(places.read_chunks(path, 1 << 20))
        else:
            found |= files_below(path, f"{prefix}{name}/")
    return found


def but_times(files: dict[str, bytes]) -> dict[str, bytes]:
    """Returns files without the two that say how long it took."""
    return {n: x for n, x in files.items() if not n.startswith("report.")}


def test_the_same_folder_as_on_the_disk(lmcodistill, object_store, text, tmp_path):
    url = object_store.new_place()
    lmcodistill("prep", *SETTINGS, "--input", str(text), "--output_dir", "local")

    done = lmcodistill("prep", *SETTINGS, "--input", str(text), "--output_dir", url)

    here = tmp_path / "working_directory"
    assert done.returncode == 0, done.stderr
    assert f"Wrote {url}" in done.stderr
    published, local = files_below(places.place(url)), files_below(here / "local")
    assert published.keys() == local.keys()
    assert but_times(published) == but_times(local)
    assert [path.name for path in here.iterdir()] == ["local"]  # Nothing is left.


def test_given_again_it_is_found_finished(lmcodistill, object_store, text):
    url = object_store.new_place()
    command = ("prep", *SETTINGS, "--input", str(text), "--output_dir", url, "--json")
    first = lmcodistill(*command)

    again = lmcodistill(*command)
    other = lmcodistill(*command, "--gin.VOCAB_SIZE=280")

    assert again.returncode == 0
    assert f"{url} is finished already" in again.stderr
    assert json.loads(again.stdout)["total"] == json.loads(first.stdout)["total"]
    assert other.returncode == 2
    assert f"{url} was begun with other settings" in other.stderr


def test_a_publication_that_failed_is_made_anew_without_reading_again(
    lmcodistill, object_store, text, tmp_path, monkeypatch
):
    url, staging = object_store.new_place(), tmp_path / "staging"
    command = ("prep", *SETTINGS, "--input", str(text), "--staging_dir", str(staging))
    environment = {"AWS_MAX_ATTEMPTS": "1"}
    # What killed attempts leave: a folder that is finished here, half of one there.
    local = lmcodistill(*command[:-2], "--output_dir", str(staging))
    assert local.returncode == 0, local.stderr
    target = places.place(url)
    for name in (".work", "train-00000-of-00009/shard-00000.tokens"):
        places.put(staging / "manifest.json", target / name)
    object_store.stop()
    failed = lmcodistill(*command, "--output_dir", url, **environment)
    object_store.start()

    done = lmcodistill(*command, "--output_dir", url)

    assert failed.returncode == 3
    assert "Traceback" not in failed.stderr
    assert failed.stderr.count("\n") <= 6
    assert done.returncode == 0, done.stderr
    assert "stage=read" not in done.stderr
    names = files_below(target).keys()
    assert "manifest.json" in names
    assert not {".work", "train-00000-of-00009/shard-00000.tokens"} & names
    assert not staging.exists()


def test_a_place_that_holds_something_else_is_refused(
    lmcodistill, object_store, text, tmp_path
):
    url = object_store.new_place()
    places.put(text, places.place(url) / "lines.jsonl")

    done = lmcodistill("prep", *SETTINGS, "--input", str(text), "--output_dir", url)

    assert done.returncode == 2
    assert "holds other files" in done.stderr
    assert places.names_in(places.place(url)) == ["lines.jsonl"]


def test_a_staging_folder_is_for_urls(lmcodistill, text):
    done = lmcodistill(
        *(
            "prep",
            "--input",
            str(text),
            "--output_dir",
            "here",
            "--staging_dir",
            "there",
        )
    )

    assert done.returncode == 2
    assert "--staging_dir is for an --output_dir that is a URL" in done.stderr


@pytest.mark.slow
def test_a_model_for_serving_goes_to_a_url(object_store, tmp_path):
    data, run = tiny_run.make_data(tmp_path / "data"), tmp_path / "run"
    tiny_run.finish(*tiny_run.train_arguments(data, run, students=1, TARGETS="none"))
    url = object_store.new_place()
    command = ("export", "--export", run / "students/0", "--output_dir", url)

    said = tiny_run.finish(*command)

    names = files_below(places.place(url)).keys()
    assert said == f"Wrote {url}\n"
    assert {"saved_model.pb", "variables/variables.index"} <= names
    with pytest.raises(RuntimeError, match="exists and is not overwritten"):
        tiny_run.finish(*command)
