"""A report that does not account for every document is no proof."""

import json

import pytest

from lmcodistill.data import shards, verification
from tests.unit.data import proven_folder

DOCS = proven_folder.documents(12)


@pytest.fixture
def root(tmp_path, vocabulary_model):
    return proven_folder.write(
        tmp_path / "data",
        vocabulary_model,
        proven_folder.splits_of(DOCS),
        proven_folder.kept_of(DOCS),
    )


def verdict_after(root, change):
    path = root / "report.json"
    report = json.loads(path.read_text())
    change(report)
    path.write_text(json.dumps(report))
    return verify(root)


def verify(root):
    return verification.verify(root, shards.Manifest.read(root / "manifest.json"))


CHANGES = {
    "a page vanished": (
        lambda report: report["files"][0].update(read=8),
        "0.txt: documents kept or dropped: found 7, expected 8",
    ),
    "a reason is gone": (
        lambda report: report["files"][1]["dropped"].clear(),
        "1.txt: documents kept or dropped: found 6, expected 7",
    ),
    "more was kept": (
        lambda report: report["files"][0].update(kept=7, dropped={}),
        "0.txt: documents kept: found 7, expected 6",
    ),
    "a record was not read": (
        lambda report: report["files"][0]["records"].update(resource=3),
        "0.txt: records that may hold a page: found 10, expected 7",
    ),
    "the sum is wrong": (
        lambda report: report["total"].update(read=15),
        "report.json: read in all: found 15, expected 14",
    ),
    "a file is missing": (
        lambda report: report["files"].pop(),
        "report.json: input files: found 1, expected 2",
    ),
    "nonsense": (
        lambda report: report.update(files=[5, 6]),
        "report.json: content: found TypeError",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_report_that_does_not_add_up_is_a_fault(root, name):
    change, words = CHANGES[name]

    found = [str(fault) for fault in verdict_after(root, change).faults]

    assert any(fault.startswith(words) for fault in found), found


def test_without_a_report_the_reasons_are_not_proven(root):
    (root / "report.json").unlink()

    verdict = verify(root)

    assert verdict.faults == ()
    assert "report.json is gone" in verdict.unproven[0]
