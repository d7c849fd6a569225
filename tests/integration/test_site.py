"""The documents as a site: built as people build it, a warning fails it."""

import pathlib
import shutil
import subprocess
import sys

import pytest


def build(docs: pathlib.Path, site: pathlib.Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
    return subprocess.run([*command, docs, site], capture_output=True, text=True)


def test_every_document_is_a_page_and_no_link_or_heading_is_lost(root, tmp_path):
    done = build(root / "docs", tmp_path)

    assert done.returncode == 0, done.stderr
    documents = [p.relative_to(root / "docs") for p in (root / "docs").rglob("*.md")]
    assert len(documents) > 15
    assert all((tmp_path / path.with_suffix(".html")).is_file() for path in documents)


@pytest.mark.parametrize(
    "link", ["guide/nowhere.md", "guide/start.md#no-such-heading", "../nowhere.md"]
)
def test_a_link_that_leads_nowhere_fails_it(link, root, tmp_path):
    docs = tmp_path / "docs"
    shutil.copytree(root / "docs", docs)
    with (docs / "index.md").open("a") as index:
        index.write(f"\n[lost]({link})\n")

    done = build(docs, tmp_path / "site")

    assert done.returncode != 0
    assert "index.md" in done.stderr
