"""Scratch folders go, whether their owner ends or dies."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import pytest

from lmcodistill.storage import scratch

ROOT = pathlib.Path(__file__).resolve().parents[3]
OWNER = """
import time
from lmcodistill.storage import scratch
with scratch.folder() as path:
    (path / "file").write_bytes(b"x")
    print(path, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def start_owner(temporary):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    return owner, pathlib.Path(owner.stdout.readline().strip())


def test_folder_is_gone_afterwards(temporary):
    with scratch.folder() as path:
        (path / "below").mkdir()
        assert path.parent == temporary

    assert list(temporary.iterdir()) == []


def test_folder_of_a_living_process_stays_and_that_of_a_dead_one_goes(temporary):
    owner, path = start_owner(temporary)
    with scratch.folder():
        seen_alive = (path / "file").exists()
    owner.send_signal(signal.SIGKILL)
    owner.communicate()

    with scratch.folder():
        seen_dead = path.exists()

    assert (seen_alive, seen_dead) == (True, False)


def test_folders_that_only_look_alike_stay(temporary):
    for name in ("lmcodistill-run", "lmcodistill-scratch-of-mine", "lmcodistill-"):
        (temporary / name).mkdir()
    (temporary / "lmcodistill-scratch-abcdefgh").touch()
    target = temporary / "target"
    target.mkdir()
    (temporary / "lmcodistill-scratch-linklink").symlink_to(target)

    with scratch.folder():
        pass

    assert len(list(temporary.iterdir())) == 6
    assert target.is_dir()


MAKER = """
from lmcodistill.storage import scratch
for _ in range(300):
    with scratch.folder() as path:
        (path / "file").write_bytes(b"x")
"""


def test_processes_that_make_many_take_none_from_each_other(temporary):
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", MAKER],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        for _ in range(4)
    ]

    assert [maker.wait(timeout=120) for maker in makers] == [0] * 4
    assert list(temporary.iterdir()) == []
