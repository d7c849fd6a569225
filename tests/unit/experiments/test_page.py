"""The page of a comparison, and its table for programs."""

import csv

import pytest

from lmcodistill.experiments import page, verdicts


@pytest.fixture
def written(compared, around, tmp_path):
    """Writes the page of some arms; returns its folder."""

    def write(**trials):
        found = list(compared(**trials).values())
        sentences = [verdicts.conclusion(r) for r in found if not r.is_reference]
        report = page.ComparisonReport(
            found, sentences, {}, [], [], ["again"], "SEED = 1"
        )
        page.write(tmp_path, report)
        return tmp_path

    return write


def test_page_leads_with_what_came_of_codistillation(written, around):
    folder = written(
        baseline=around(4.0), double_batch=around(4.1), codistilled=around(3.9, 0.001)
    )

    text = (folder / "report.html").read_text()

    lead = text.partition("<p class='lead'>")[2].partition("</p>")[0]
    assert "better than the baseline" in lead
    assert text.index("with 95 % intervals") < text.index("Quality on the held-out")


def test_page_without_codistillation_leads_with_the_first_arm(written, around):
    folder = written(baseline=around(4.0), double_batch=around(4.1, 0.001))

    lead = (folder / "report.html").read_text().partition("<p class='lead'>")[2]
    assert "worse than the baseline" in lead.partition("</p>")[0]


def test_table_for_programs_has_numbers_or_nothing(written, around):
    folder = written(
        baseline=around(4.0), codistilled=around(3.9, 0.001), ensemble=around(3.8)
    )

    baseline, codistilled, _ = csv.DictReader((folder / "arms.csv").open())

    words = {"arm", "verdict"}
    for row in (baseline, codistilled):
        numbers = [row[name] for name in row.keys() - words if row[name]]
        assert all(map(float, filter(lambda x: float(x), numbers)))
    assert baseline["is_reference"] == "1" and baseline["difference"] == ""
    assert float(codistilled["difference"]) == pytest.approx(-0.1)
    low, high = (float(codistilled[f"difference_{end}"]) for end in ("low", "high"))
    assert low < -0.1 < high
    assert codistilled["verdict"] == "better"
    assert float(codistilled["share_kept"]) == pytest.approx(0.5)
