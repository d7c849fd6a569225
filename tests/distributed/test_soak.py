"""The short soak: every fault that can be made in a few minutes, a few times."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.distributed


def test_nothing_on_the_list_of_faults_gets_through(root):
    done = subprocess.run(
        [sys.executable, "-m", "tools.soak", "--fast", "--json"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=900,
    )

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    missed = [row for row in rows if row["survived"] != row["trials"]]
    assert missed == [] and done.returncode == 0, done.stderr[-3_000:]
    assert sum(row["trials"] for row in rows) > 500
