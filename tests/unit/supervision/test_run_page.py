"""The page about a run, from made reports."""

import dataclasses
import re

import pytest

from lmcodistill.supervision import run_page, states, status


def a_student(number, **given):
    fields = {f.name: None for f in dataclasses.fields(status.StudentStatus)}
    fields |= {
        "student": number,
        "state": states.StudentState.DONE,
        "step": 40,
        "restarts": 0,
    }
    return status.StudentStatus(**fields | {"exit_code": 0, "teachers": []} | given)


def train(step, **more):
    return {"kind": "train", "step": step, "cross_entropy": 5.0 - step / 40, **more}


def taught(step, staleness):
    teachers = [{"peer": 1, "step": step - staleness, "staleness_steps": staleness}]
    return train(step, teachers=teachers, agreement=0.25, distillation_loss=4.5)


def a_run(**given):
    reports = [train(10), *(taught(step, age) for step, age in ((20, 5), (30, 15)))]
    score = {"kind": "validation", "step": 20, "cross_entropy": 4.25}
    run = run_page.RunHistory(
        name="of a test",
        students=[a_student(0), a_student(1)],
        reports={
            0: [*reports, score, score | {"step": 40, "cross_entropy": 4.5}],
            1: [],
        },
        events=[],
        command="lmcodistill train --run_dir '<run>'",
        config_text="SEED = 1  # <b>",
        samples={},
        made="Made today.",
    )
    return dataclasses.replace(run, **given)


def test_page_has_every_part_and_fetches_nothing():
    page = run_page.render(a_run())

    titles = re.findall(r"<(?:h2|figcaption)>(.*?)<", page)
    assert titles == [
        *("Curves", "Validation", "Training text"),
        *("Peers", "Staleness of the teachers over time", "How stale teachers were"),
        *("Agreement with the teachers", "Distillation loss"),
        *("Losses and restarts", "To go on", "Configuration"),
    ]
    assert "lmcodistill train --run_dir &#x27;&lt;run&gt;&#x27;" in page
    assert "SEED = 1  # &lt;b&gt;" in page
    assert not re.search(r"(src|href)=|<script", page)


def test_best_step_is_that_of_the_lowest_validation():
    page = run_page.render(a_run())

    row = re.search(r"student 0</th>(.*?)</tr>", page)[1]
    assert re.findall(r">([^<]*)</td>", row)[5] == "20"


def test_staleness_is_counted_in_columns():
    ages = [0, 1, 1, 30, 59]

    chart = run_page._histogram(ages)

    heights = re.findall(r"(\d+) reports of a teacher (\S+) to (\S+) steps", chart)
    assert sum(int(count) for count, *_ in heights) == len(ages)
    assert heights[0] == ("3", "0", "4") or int(heights[0][0]) == 3
    assert len(heights) <= 13


@pytest.mark.parametrize("ages", [[7], [-3, -3], [0, 1]])
def test_few_ages_have_a_column_each(ages):
    columns = re.findall(r"(\d+) reports of", run_page._histogram(ages))

    assert list(map(int, columns)) == [ages.count(age) for age in sorted(set(ages))]


def test_losses_are_told_with_their_cause():
    event = {"time": "2026-01-01T10:00:00.000+00:00", "student": 1, "worker": 0}
    lost = event | {"event": "lost", "cause": "frozen", "reason": "said <nothing>"}

    page = run_page.render(a_run(events=[event | {"event": "started"}, lost]))

    assert "2026-01-01 10:00:00" in page
    assert "frozen; said &lt;nothing&gt;" in page
    assert page.count("<tr><th scope='row'>2026") == 1  # Starts are no news.


def test_long_runs_are_thinned_and_keep_their_last_point():
    points = run_page._thinned([(step, 1.0) for step in range(10_001)])

    assert len(points) <= 200
    assert points[-1] == (10_000, 1.0)


def test_more_students_than_colours_have_more_charts():
    reports = {number: [train(10), train(20)] for number in range(8)}
    students = [a_student(number) for number in reports]

    page = run_page.render(a_run(students=students, reports=reports))

    assert page.count("<figcaption>Training text") == 2


def test_run_without_reports_has_a_page():
    page = run_page.render(a_run(reports={0: [], 1: []}, command=None))

    assert "No report has a teacher yet" in page
    assert "<svg" not in page


def test_samples_are_shown_without_control_characters():
    page = run_page.render(a_run(samples={0: ["a\x1b[31m\nb"]}))

    assert "a\\x1b[31m\nb" in page
