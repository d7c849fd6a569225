"""The benchmark of prep, at a size that takes no time."""

import json
import random
import subprocess
import sys

from lmcodistill.quickstart import wet_writer
from tests.support.crawl import WORDS


def test_benchmark_reports_every_stage_the_floor_and_a_crawl(root, tmp_path):
    chosen = random.Random(0)
    wet = tmp_path / "made.warc.wet.gz"
    wet.write_bytes(
        b"".join(
            wet_writer.text_record(
                f"https://made.example/{i}",
                f"The story of the {' '.join(chosen.choices(WORDS, k=90))}.".encode(),
            )
            for i in range(300)
        )
    )

    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", "prep", f"--wet={wet}", "--json"]
        + ["--rounds=1", "--vocab_size=340", "--crawl_files=1000"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["documents"] == {"prep": 300}
    assert {"read", "tokenize", "shuffle"} <= set(found["stages"])
    assert found["floor"]["gunzip"] <= found["floor"]["reader"] < 5.0
    assert found["crawl"]["core_days"]["all"] > 0.0
