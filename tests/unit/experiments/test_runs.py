"""The processes of a comparison: each on the cores that it was given."""

import os
import threading

import pytest

from lmcodistill.experiments import runs

SHOW_CORES = "import os; print(*sorted(os.sched_getaffinity(0)), os.getpid())"


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "show_cores.py").write_text(SHOW_CORES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "show_cores"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_runs_side_by_side_keep_to_their_cores_and_leave_ours_alone(tmp_path, module):
    ours = os.sched_getaffinity(0)
    cores = [{core} for core in sorted(ours)[:2]]
    printed = {}

    def start(number):
        log = tmp_path / f"{number}.log"
        code, seconds, output = runs.call([module], log, cores[number % 2])
        assert (code, log.read_text()) == (0, "")
        assert seconds > 0.0
        printed[number] = output.split()[0]

    threads = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert printed == {n: str(*cores[n % 2]) for n in range(6)}
    assert os.sched_getaffinity(0) == ours
