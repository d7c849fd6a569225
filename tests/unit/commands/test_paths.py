"""Every path of every command: `~`, URLs, and what no file can be called."""

import importlib
import pathlib

import pytest

from lmcodistill import cli
from lmcodistill.commands import catalogue

# Flags that name a place, by command. A new one belongs here.
PATHS = {
    "prep": (
        "staging_dir",
        "paragraph_ids",
        "paths_file",
        "download_dir",
        "train_text",
        "validation_text",
        "test_text",
    ),
    "train": ("data_dir", "run_dir"),
    "check": ("data_dir", "run_dir"),
    "launch": ("data_dir", "run_dir", "output_dir"),
    "evaluate": ("data_dir",),
    "churn": ("data_dir",),
    "compare": ("data_dir", "output_dir"),
    "plan": ("data_dir",),
    "split": ("output_dir",),
    "report": ("output",),
}
# Flags that take a URL as well.
PLACES = {
    "prep": ("output_dir",),
    "train": ("shared_dir", "export_key_file"),
    "check": ("shared_dir", "export_key_file"),
    "launch": ("shared_dir", "export_key_file"),
    "evaluate": ("export_key_file",),
    "generate": ("export_key_file",),
    "churn": ("export_key_file",),
    "score": ("export_key_file",),
    "export": ("output_dir", "export_key_file"),
    "status": ("shared_dir",),
    "report": ("shared_dir", "export_key_file"),
}
EVERY = [(c, f) for table in (PATHS, PLACES) for c in table for f in table[c]]


def flags_of(command, *arguments):
    flag_values = catalogue.flags_of(
        importlib.import_module(f"lmcodistill.commands.{command}")
    )
    flag_values([command, *arguments])
    return flag_values


@pytest.mark.parametrize(("command", "flag"), EVERY)
def test_tilde_is_the_home_folder(command, flag, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert flags_of(command, f"--{flag}=~/x")[flag].value == tmp_path / "x"


@pytest.mark.parametrize(("command", "flag"), [(c, f) for c in PATHS for f in PATHS[c]])
def test_a_url_is_refused_where_a_path_must_be(command, flag, capsys):
    assert cli.main([command, f"--{flag}", "s3://bucket/x"]) == 2

    assert f"--{flag}: s3://bucket/x is a URL, and a path" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "flag"), EVERY)
@pytest.mark.parametrize("text", ["~nobody-of-this-name/x", "x" * 300, "R\udcfc"])
def test_what_no_path_can_be_is_refused(command, flag, text, capsys):
    assert cli.main([command, f"--{flag}", text]) == 2

    error = capsys.readouterr().err
    assert error.startswith(f"lmcodistill {command}: --{flag}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "s3://bucket/x"),
        ("status", "s3://bucket/x"),
        ("quickstart", "s3://bucket/x"),
        ("split", "s3://bucket/x"),
        ("report", "s3://bucket/x"),
        ("score", "s3://bucket/x", "--export=x"),
        ("configs", "copy", "runs/quickstart", "s3://bucket/x"),
        ("prep", "s3://bucket/x", "--output_dir", "x"),
        ("prep", "--input", "s3://bucket/x", "--output_dir", "x"),
    ],
)
def test_a_url_among_the_arguments_is_refused(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert cli.main(arguments) == 2

    assert "s3://bucket/x is a URL, and a path was" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_gin_file_may_be_below_the_home_folder(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.gin").write_text("NUM_TRAIN_STEPS = 'few'\n")

    assert cli.main(["train", "--gin_file=~/my.gin"]) == 2

    assert f"{tmp_path}/my.gin:1" in capsys.readouterr().err


def test_every_flag_that_is_called_after_a_place_names_one():
    for command in catalogue.COMMANDS:
        module = importlib.import_module(f"lmcodistill.commands.{command}")
        called = {
            name
            for name in catalogue.flags_of(module)
            if name.endswith(("_dir", "_text", "_file"))
            and name not in ("gin_file", "mount_dir")  # Of pods.
        }

        assert called <= {*PATHS.get(command, ()), *PLACES.get(command, ())}, command


def test_a_path_is_given_to_the_workers_as_it_was_understood(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    flag = flags_of("train", "--shared_dir=here")["shared_dir"]

    assert flag.serialize() == f"--shared_dir={tmp_path / 'here'}"
    assert flag.value == pathlib.Path(tmp_path, "here")
