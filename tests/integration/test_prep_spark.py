"""prep on real Spark clusters: the same bytes as on one machine, and clear words."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.support import crawl, spark_cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]
reason = spark_cluster.why_not()
pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(bool(reason), reason=reason or "Spark is here"),
]
FLAGS = (
    "--gin.VOCAB_TYPE='bpe'",
    "--gin.VOCAB_SIZE=330",
    "--gin.VALIDATION_FRACTION=0.2",
    "--gin.GUIDE_FRACTION=0.1",
    "--gin.NUM_PARTITIONS=2",
    "--gin.SHARD_TOKENS=5000",
    "--gin.KEEP_DOCUMENTS=True",
    "--gin.NEAR_DUPLICATES=True",
)
# Sentences of these have no five words in a row in common.
WORDS = ("river", "house", "doctor", "window", "letter", "garden", "winter", "captain")
MORE = ("silver", "road", "bread", "paper", "music", "bridge", "horse", "market")


def page(number):
    """Returns a WET record that is like no other."""
    rng = random.Random(number)
    lines = [
        f"The {' and the '.join(rng.sample(WORDS + MORE, 5))} of that day were with us."
        for _ in range(12)
    ]
    url = f"http://example.org/{number}"
    return crawl.record("conversion", "\n".join(lines).encode(), url=url)


@pytest.fixture(scope="module")
def crawl_folder(tmp_path_factory):
    """Files of 30 pages each, of which five are in the next file as well, and texts."""
    folder = tmp_path_factory.mktemp("crawl")
    for i in range(8):
        pages = [crawl.member(page(n)) for n in range(i * 25, i * 25 + 30)]
        (folder / f"{i}.warc.wet.gz").write_bytes(b"".join(pages))
        # As long as two sections, which are held out together.
        text = "\n".join(page(1_000 + 10 * i + k).decode() for k in range(10))
        (folder / f"{i}.txt").write_text(text)
    return folder


@pytest.fixture(scope="module")
def expected(crawl_folder, tmp_path_factory):
    """What one process of this machine makes of it."""
    output = tmp_path_factory.mktemp("local") / "data"
    finished = finish(start(crawl_folder, output, "--num_workers=1"))
    assert finished.returncode == 0, finished.stderr
    return contents(output)


def start(crawl_folder, output, *flags, environment=None, program=None):
    return subprocess.Popen(
        [
            *(program or [sys.executable, "-m", "lmcodistill"]),
            *("prep", f"--input={crawl_folder}", f"--output_dir={output}"),
            *FLAGS,
            *flags,
        ],
        cwd=ROOT,
        env=environment or os.environ,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, seconds=400):
    try:
        _, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, None, err)


def contents(folder):
    """Returns every file but the report, whose times differ."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("report.")
    }


def wait_for(condition, process, seconds=300):
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < give_up, "nothing came of it"
        time.sleep(0.02)
    return found


def test_a_cluster_that_loses_an_executor_writes_what_one_process_writes(
    crawl_folder, expected, tmp_path
):
    environment = spark_cluster.quick_environment(tmp_path / "conf")
    output = tmp_path / "data"
    with spark_cluster.Cluster(tmp_path / "cluster") as cluster:
        flags = ("--engine=spark", f"--spark_master={cluster.url}")

        running = start(crawl_folder, output, *flags, environment=environment)
        # In the middle of the first stage: some files are read, others are not.
        wait_for(lambda: list(output.glob(".work/kept/*.json")), running)
        os.kill(cluster.executors()[0], signal.SIGKILL)
        finished = finish(running)

    assert finished.returncode == 0, finished.stderr
    assert "Lost executor" in finished.stderr
    assert contents(output) == expected


@pytest.mark.slow
def test_every_way_to_spark_writes_the_same(crawl_folder, expected, tmp_path):
    environment = spark_cluster.quick_environment(tmp_path / "conf")
    submit = [
        str(pathlib.Path(sys.executable).parent / "spark-submit"),
        *("--master", "local[2]", str(ROOT / "lmcodistill" / "__main__.py")),
    ]
    ways = {
        "two_processes": (("--num_workers=2",), None),
        "threads": (("--engine=spark", "--spark_master=local[2]"), None),
        "local_cluster": (
            ("--engine=spark", "--spark_master=local-cluster[2,1,1024]"),
            None,
        ),
        "spark_submit": (("--engine=spark",), submit),
    }

    for name, (flags, program) in ways.items():
        output = tmp_path / name
        finished = finish(
            start(
                crawl_folder, output, *flags, environment=environment, program=program
            )
        )

        assert finished.returncode == 0, finished.stderr
        assert contents(output) == expected, name


@pytest.mark.slow
def test_a_killed_driver_leaves_no_process_and_the_next_finishes(
    crawl_folder, expected, tmp_path
):
    environment = spark_cluster.quick_environment(tmp_path / "conf")
    output = tmp_path / "data"
    with spark_cluster.Cluster(tmp_path / "cluster") as cluster:
        flags = ("--engine=spark", f"--spark_master={cluster.url}")

        running = start(crawl_folder, output, *flags, environment=environment)
        wait_for(lambda: list(output.glob(".work/kept/*.json")), running)
        running.kill()
        running.wait()
        give_up = time.monotonic() + 60
        while cluster.executors() and time.monotonic() < give_up:
            time.sleep(0.1)
        left = cluster.executors()
        finished = finish(start(crawl_folder, output, *flags, environment=environment))

    assert left == []
    assert finished.returncode == 0, finished.stderr
    assert contents(output) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--gin.VOCAB_SIZE=90000",), 2, "is more than the text supports"),
        (("--gin.NUM_PARTITIONS=5000",), 3, "documents"),
    ],
)
def test_errors_of_stages_keep_their_words_and_codes(
    crawl_folder, tmp_path, flags, code, said
):
    environment = spark_cluster.quick_environment(tmp_path / "conf")

    finished = finish(
        start(
            crawl_folder,
            tmp_path / "data",
            *("--engine=spark", "--spark_master=local[2]"),
            *flags,
            environment=environment,
        )
    )

    assert finished.returncode == code, finished.stderr
    assert said in finished.stderr
    assert "Traceback" not in finished.stderr and "\tat " not in finished.stderr
