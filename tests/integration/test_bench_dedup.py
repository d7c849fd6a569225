"""The benchmark of the search for copies, at a size that takes no time."""

import json
import subprocess
import sys


def test_benchmark_finds_what_is_most_alike_and_reports_memory_and_speed(root):
    sizes = {"documents": 200, "pairs": 8, "memory_documents": 300}
    sizes |= {"rounds": 1, "speed_documents": 50}

    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", "dedup", "--json"]
        + [f"--{name}={value}" for name, value in sizes.items()],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert "made-up text instead of books: no --books" in done.stderr
    found = json.loads(done.stdout)
    ours = found["quality"]["ours"]
    assert ours["recall"]["0.95"]["recall"] == 1.0
    assert ours["dropped_below_0.3"] == 0
    assert found["speed"]["ours"]["mb_per_cpu_second"]["median"] > 1.0
    assert found["memory"]["4x"]["text_mb"] > 3 * found["memory"]["1x"]["text_mb"]
