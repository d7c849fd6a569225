"""Experiments from end to end: runs are made, compared, not made again."""

import csv
import json
import shutil
import time

import pytest

from tests.support import tiny_run

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def compare(finish, data_dir, tmp_path_factory):
    """Returns what `compare --json` prints; called again, it goes on."""
    folder = tmp_path_factory.mktemp("comparison")

    def run(*more):
        out = finish(
            *("compare", "--json", "--data_dir", data_dir, "--output_dir", folder),
            *("--seeds", 1, "--at_once", 2),
            *("--arms", "two_phase,codistilled,ensemble,ema,chain"),
            *tiny_run.bindings(
                WEIGHT_SCHEDULE="auto", DistillationWeight__auto_after_readings=0
            ),
            *more,
        )
        return folder, json.loads(out)

    return run


@pytest.fixture(scope="module")
def compared(compare):
    return compare()


def test_every_arm_is_scored_and_the_baseline_is_first(compared):
    _, found = compared

    assert [arm["name"] for arm in found["arms"]] == [
        "baseline",
        "ensemble",
        "codistilled",
        "ema",
        "two_phase",
        "chain",
    ]
    # Near ln(400) = 5.99 after a few updates.
    assert all(4.0 < arm["cross_entropy"] < 6.1 for arm in found["arms"])


def test_student_0_begins_as_the_baseline(compared):
    folder, _ = compared

    first = [
        json.loads(path.read_text().splitlines()[0])["cross_entropy"]
        for arm in ("baseline", "codistilled")
        for path in folder.glob(f"runs/{arm}/seed-0/run/students/0/metrics.jsonl")
    ]

    assert first == [first[0]] * 2


def test_mean_of_the_weights_is_evaluated_and_changes_no_update(compared):
    folder, _ = compared

    plain, mean = (folder / f"runs/{arm}/seed-0/run" for arm in ("baseline", "ema"))

    for kind, is_same in (("train", True), ("validation", False)):
        losses = [
            [report["cross_entropy"] for report in tiny_run.reports_of(run, 0, kind)]
            for run in (plain, mean)
        ]
        assert (losses[0] == losses[1]) is is_same


def test_a_generation_costs_what_all_before_it_did(compared):
    folder, found = compared

    spent = [
        json.loads((folder / f"runs/{arm}/seed-0/outcome.json").read_text())
        for arm in ("pooled", "chain_1", "chain")
    ]

    (chain,) = (arm for arm in found["arms"] if arm["name"] == "chain")
    total = sum(outcome["cpu_seconds"] for outcome in spent)
    assert chain["cpu_seconds"] == pytest.approx(total)


def test_report_opens_without_a_network_and_has_its_numbers_beside_it(compared):
    folder, found = compared

    page = (folder / "report.html").read_text()
    rows = list(csv.DictReader((folder / "curves.csv").open()))

    assert "http" not in page.replace("http://www.w3.org", "")
    assert found["verdicts"][0] in page
    assert {row["arm"] for row in rows} == {
        *("baseline", "codistilled", "ema", "two_phase", "chain")
    }
    assert (folder / "step-0.png").read_bytes().startswith(b"\x89PNG")


def test_what_has_ended_is_not_made_again(compared, compare):
    _, before = compared
    began = time.monotonic()

    _, after = compare()

    assert after == before
    assert time.monotonic() - began < 30.0


def test_any_arm_can_be_the_reference(compared, compare):
    _, before = compared

    _, after = compare("--reference", "codistilled", "--arms", "baseline")

    assert after["reference"] == after["arms"][0]["name"] == "codistilled"
    differences = [
        arm["difference"]["mean"]
        for found, name in ((before, "codistilled"), (after, "baseline"))
        for arm in found["arms"]
        if arm["name"] == name
    ]
    assert differences[0] == -differences[1] != 0.0


def test_arms_are_tuned_on_one_half_of_the_text_and_scored_on_the_other(
    finish, data_dir, tmp_path
):
    def compare():
        out = finish(
            *("compare", "--json", "--data_dir", data_dir, "--output_dir", tmp_path),
            *("--arms", "baseline", "--seeds", 2, "--at_once", 2),
            *("--tune", "LEARNING_RATE=0.0001,0.02", *tiny_run.bindings()),
        )
        return json.loads(out)

    found = compare()

    (tuned,) = found["tuning"]
    assert tuned["best"] == {"LEARNING_RATE": "0.02"}
    assert tuned["on_the_edge"] == ["LEARNING_RATE (highest)"]
    assert sorted(len(trial["scores"]) for trial in tuned["trials"]) == [1, 2]
    (baseline,) = found["arms"]
    assert baseline["settings"]["LEARNING_RATE"] == "0.02"

    def texts_of(pattern):
        """Returns what runs were validated on: where it begins, and its tokens."""
        configs = sorted(tmp_path.glob(f"{pattern}/run/students/0/config.gin"))
        name = "Training.evaluation_first_token = "
        return {
            int(line.removeprefix(name).split()[0])
            for config in configs
            for line in config.read_text().splitlines()
            if line.startswith(name)
        }

    assert texts_of("tuning/*/*") == {0}
    (second_half,) = texts_of("runs/*/*/*")
    (scored,) = {
        json.loads(path.read_text())["students"][0]["tokens"]
        for path in tmp_path.glob("runs/*/*/*/outcome.json")
    }
    manifest = json.loads((data_dir / "manifest.json").read_text())
    assert second_half + scored == manifest["held_out"]["validation"]["tokens"]
    assert "Tuning" in (tmp_path / "report.html").read_text()

    began = time.monotonic()
    assert compare() == found
    assert time.monotonic() - began < 30.0
    # What is recommended trains as it is.
    run_dir = tmp_path / "again"
    finish(
        *("train", "--gin_file", tmp_path / "recommended.gin", "--students", 1),
        *("--data_dir", data_dir, "--run_dir", run_dir, "--dry_run"),
    )


def test_churn_of_retrains_is_measured(compared, finish, data_dir, tmp_path):
    folder, _ = compared
    first, other = (
        folder / f"runs/{arm}/seed-0/run/students/0"
        for arm in ("baseline", "independent")
    )
    shutil.copytree(first, tmp_path / "again")

    out = finish(
        *("churn", "--json", "--data_dir", data_dir),
        *("--group", f"same={first},{tmp_path / 'again'}"),
        *("--group", f"other={first},{other}"),
        *("--group", f"all={first},{tmp_path / 'again'},{other}"),
    )

    found = json.loads(out)["groups"]
    same, other = (
        found[name]["churn"]["all tokens"]["total_variation"]["mean"]
        for name in ("same", "other")
    )
    assert same == 0.0
    # They read one text in one order; their first weights are not the same.
    assert other > 0.0
    every = found["all"]["churn"]["all tokens"]["total_variation"]
    # Pairs without one model each: 0, other, other.
    assert every["mean"] == pytest.approx(2 / 3 * other)
    assert every["retrains_high"] - every["mean"] == pytest.approx(
        4.302653 * other * (2 / 3 * 2 / 3) ** 0.5
    )


def test_evaluate_scores_the_parts_of_a_text_as_the_whole(compared, finish, data_dir):
    folder, _ = compared
    student = folder / "runs/baseline/seed-0/run/students/0"

    def score(*flags):
        out = finish(
            *("evaluate", "--json", "--data_dir", data_dir),
            *("--lanes", 1, "--window", 256),
            *("--export", student, *flags),
        )
        (result,) = json.loads(out)["results"]
        return result

    first, rest, whole = (
        score("--tokens", 2_000),
        score("--first_token", 2_000),
        score(),
    )

    parts = [(r["tokens"], r["tokens"] * r["cross_entropy"]) for r in (first, rest)]
    tokens, nats = map(sum, zip(*parts, strict=True))
    assert first["tokens"] == 2_000
    assert tokens == whole["tokens"]
    # The rest begins without the state that the whole has there.
    assert nats == pytest.approx(tokens * whole["cross_entropy"], rel=1e-4)
    assert first["bits_per_byte"] is None
    assert whole["bits_per_byte"] > 0.0


def test_a_killed_comparison_leaves_no_run_behind_and_goes_on(
    start, finish, data_dir, tmp_path
):
    arguments = [
        *("compare", "--json", "--data_dir", data_dir, "--output_dir", tmp_path),
        *("--arms", "baseline", "--seeds", 1),
        *tiny_run.bindings(
            NUM_TRAIN_STEPS=1_000,
            CHECKPOINT_EVERY_STEPS=10_000,
            EVALUATE_EVERY_STEPS=500,
            PUBLISH_EVERY_STEPS=10_000,
            REPORT_EVERY_STEPS=100,
        ),
    ]
    run_dir = tmp_path / "runs/baseline/seed-0/run"
    process = start(*arguments)
    assert tiny_run.wait_until(lambda: tiny_run.step_of(run_dir, 0) >= 100)

    process.kill()
    process.communicate()
    assert tiny_run.wait_until(lambda: tiny_run.processes_of(run_dir) == [], 30.0)
    finish(*arguments)

    steps = [report["step"] for report in tiny_run.reports_of(run_dir, 0, "train")]
    assert "event=restored" in tiny_run.log_of(run_dir, 0)
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(
    ("mistake", "reason"),
    [
        (["--arms=uniform_smoothing", "--smoothing_weight=-1"], "_weight=-1"),
        (["--variant=odd=codistilled NO_SUCH_KNOB=1"], "NO_SUCH_KNOB"),
        (["--output_dir=FILE"], "is a file"),
    ],
)
def test_a_mistake_in_any_arm_costs_no_run(start, data_dir, tmp_path, mistake, reason):
    (tmp_path / "file").write_text("")
    mistake = [m.replace("FILE", str(tmp_path / "file")) for m in mistake]

    process = start(
        *("compare", "--data_dir", data_dir, "--output_dir", tmp_path / "out"),
        *(*tiny_run.bindings(), *mistake),
    )
    _, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert reason in err
    assert not (tmp_path / "out").exists()
