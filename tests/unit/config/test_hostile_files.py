"""Hostile gin files: refused like a mistake, and nothing else happens."""

import pytest

from tests.support import hostile_gin


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    """Refuses one ordinary mistake, so that all that this needs is imported."""
    hostile_gin.faults_of(*hostile_gin.lay("walrus", tmp_path_factory.mktemp("warm")))


@pytest.mark.parametrize("name", hostile_gin.NAMES)
def test_hostile_file_is_refused_and_does_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given, canary = hostile_gin.lay(name, tmp_path)

    assert hostile_gin.faults_of(given, canary) == []


@pytest.mark.parametrize(
    "name",
    [
        "dynamic registration",
        "reference",
        "subclasses",
        "included pipe",
        "included link to the environment",
        "ten megabytes of brackets",
        "escape as a value",
        "lines in the name",
    ],
)
def test_program_ends_with_2_and_plain_words(name, tmp_path, lmcodistill):
    given, canary = hostile_gin.lay(name, tmp_path)

    done = lmcodistill("train", "--gin_file", given, "--dry_run", timeout=30.0)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("lmcodistill train: ")
    assert done.stderr.count("\n") <= hostile_gin.MAX_LINES
    assert done.stderr.replace("\n", "").isprintable()
    assert not canary.exists()


def test_a_harmless_file_is_told_from_them(tmp_path):
    (tmp_path / "my.gin").write_text("SEED = 1\n")

    faults = hostile_gin.faults_of(str(tmp_path / "my.gin"), tmp_path / "canary")

    assert faults == ["was not refused"]
