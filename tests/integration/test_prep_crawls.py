"""Crawls by name and published lists of paragraphs, through the command line."""

import gzip
import hashlib
import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from lmcodistill.settings import paragraphs
from tests.support import crawl, mirror
from tools.corpora import paragraph_list

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "CC-MAIN-2024-22"
PATHS = [
    f"crawl-data/{NAME}/segments/1715971057216.39/wet/CC-{i:05d}.warc.wet.gz"
    for i in range(3)
]
FLAGS = ("--gin.VOCAB_TYPE='bpe'", "--gin.VOCAB_SIZE=330", "--num_workers=1")
FLAGS += ("--gin.VALIDATION_FRACTION=0.2", "--gin.KEEP_DOCUMENTS=True")


@pytest.fixture
def server():
    files = {
        path: b"".join(crawl.wet(range(20 * i, 20 * i + 20)))
        for i, path in enumerate(PATHS)
    }
    listed = "\n".join(PATHS).encode()
    files[f"crawl-data/{NAME}/wet.paths.gz"] = gzip.compress(listed)
    with mirror.running(files) as one:
        yield one


def command(output, *flags):
    program = [sys.executable, "-m", "lmcodistill", "prep", "--output_dir", str(output)]
    return [*program, *FLAGS, *map(str, flags)]


def prep(output, *flags):
    return subprocess.run(
        command(output, *flags), cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def asking(server):
    return (
        f"--crawl={NAME}",
        "--wet_files=2",
        f"--mirror={server.url}/",
        "--contact=me@example.org",
        "--requests_per_second=100",
    )


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("report.")
    }


def documents(folder):
    found = []
    for path in sorted((folder / "documents").iterdir()):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            found += [json.loads(line) for line in file]
    return found


def test_a_crawl_killed_in_its_download_ends_as_its_files_given_by_hand(
    server, tmp_path
):
    for path in PATHS:
        server.script[path] = [mirror.silent(30.0, 900)]
    child = subprocess.Popen(command(tmp_path / "data", *asking(server)), cwd=ROOT)
    deadline = time.monotonic() + 60
    while [p.stat().st_size for p in tmp_path.rglob(".*.partial")] != [900, 900]:
        assert time.monotonic() < deadline, "nothing was downloaded"
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    server.script.clear()

    again = prep(tmp_path / "data", *asking(server))

    assert again.returncode == 0, again.stderr
    files = sorted((tmp_path / "downloads").rglob("*.warc.wet.gz"))
    assert len(files) == 2
    resumed = [r for path in PATHS for r in server.ranges(path) if r]
    assert resumed == ["bytes=900-"] * 2
    assert "me@example.org" in server.log[0].headers["user-agent"]
    by_hand = prep(tmp_path / "hand", *[f"--input={path}" for path in files])
    assert by_hand.returncode == 0, by_hand.stderr
    assert digests(tmp_path / "data") == digests(tmp_path / "hand")


def test_a_paragraph_list_keeps_its_paragraphs_and_counts_the_rest(server, tmp_path):
    wets = []
    for path in PATHS[:2]:
        wets.append(tmp_path / pathlib.PurePath(path).name)
        wets[-1].write_bytes(server.files[path])
    paragraph_list.write(
        tmp_path / "list.tar.bz2",
        wets,
        lambda page, text: "visit 3 " in text and "/1" in page.url,
        paragraphs.ParagraphList(),
    )

    done = prep(
        tmp_path / "data",
        *[f"--input={path}" for path in wets],
        f"--paragraph_ids={tmp_path / 'list.tar.bz2'}",
        "--gin.NUM_PARTITIONS=2",
    )

    assert done.returncode == 0, done.stderr
    kept = documents(tmp_path / "data")
    # Pages 1 and 10 to 19 of 40, one paragraph of each.
    assert len(kept) == 11
    assert all("visit 3 " in d["text"] and "\n" not in d["text"] for d in kept)
    report = json.loads((tmp_path / "data" / "report.json").read_text())
    assert report["total"]["dropped"] == {"not_in_paragraph_list": 29}
    assert report["total"]["paragraphs"] == {"found": 11, "not_found": 0}
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    used = manifest["provenance"]["settings"]["ParagraphList"]["sha256"]
    listed = (tmp_path / "list.tar.bz2").read_bytes()
    assert used == hashlib.sha256(listed).hexdigest()


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--wet_files=2"], 2, "of which crawl"),
        ([f"--crawl={NAME}", "--wet_files=2"], 2, "--contact is missing"),
        ([f"--crawl={NAME}", "--train_text=a"], 2, "Give one of the two"),
        (["--paragraph_ids=none.csv", "--input=README.md"], 2, "is not a file"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_read(tmp_path, flags, code, words):
    done = prep(tmp_path / "data", *flags)

    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "data").exists()
