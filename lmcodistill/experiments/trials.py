"""One trial of a tuning, up to a rung: a run that ends there and goes on later."""

import dataclasses
import hashlib
import math
import pathlib
import re
import shlex
from collections.abc import Collection

from lmcodistill import errors
from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import grids, halving, runs, text_parts
from lmcodistill.storage import files, layout, progress_file

# Of no scored repetition: those are counted from 0.
SEED = 500


@dataclasses.dataclass(frozen=True)
class TrialOutcome:
    """What a trial scored at a rung; `rung-STEP.json` is this as JSON.

    Attributes:
        commands: What was run, for people to run again.
        wall_seconds: Of training, all attempts and rungs so far.
        cpu_seconds: The same, of all processes.
        score: `halving.score`, nats per token; None where it diverged.
    """

    commands: list[str]
    wall_seconds: float
    cpu_seconds: float
    score: float | None


class TrialRun(runs.TrainRun[TrialOutcome]):
    """Some settings of an arm, tried up to a rung."""

    def __init__(
        self,
        settings: runs.ComparisonSettings,
        arm: arms_lib.Arm,
        point: grids.Point,
        steps: tuple[int, int],
        *,
        part: text_parts.TextPart,
        teachers: layout.RunLayout | None = None,
    ) -> None:
        """Takes the rung before and this one, the text that scores, and the teachers.

        Settings have a folder of their own, so a wider grid makes no trial twice.
        """
        self.point, (self._before, self._rung) = point, steps
        slug = folder_of(point, teachers)
        root = settings.root / "tuning" / arm.name / slug
        super().__init__(
            *(settings, arm, SEED, layout.RunLayout(root / "run")),
            name=f"{arm.name} {' '.join(f'{k}={v}' for k, v in point)}",
            steps=self._rung - self._before,
            teachers=teachers,
            more=(
                *point,
                *part.bindings,
                ("Training.stop_at_step", str(self._rung)),
            ),
        )

    @property
    def key(self) -> tuple[str, ...]:
        return self.arm.name, self.folder.name

    @property
    def run(self) -> layout.RunLayout:
        """Where its students are."""
        return self._run

    @property
    def progress(self) -> float:
        beat = progress_file.read(self.student(0).progress)
        step = beat["step"] if beat else 0
        return max(0.0, (step - self._before) / (self._rung - self._before))

    def outcome(self) -> TrialOutcome | None:
        if not self._path.exists():
            return None
        outcome = TrialOutcome(**files.read_json(self._path))
        self._check_commands(outcome.commands, [shlex.join(self._train_command)])
        return outcome

    def make(self, cores: Collection[int]) -> TrialOutcome:
        code, wall, cpu = self._train(cores)
        score = math.inf
        if code != errors.DivergedError.exit_code:
            self._check(code, self._train_command, "train.log")
            reports = files.read_json_lines(self.student(0).metrics)
            score = halving.score(reports, self._rung)
        outcome = TrialOutcome(
            [shlex.join(self._train_command)],
            wall,
            cpu,
            score if math.isfinite(score) else None,
        )
        files.write_text(self._path, files.to_json(dataclasses.asdict(outcome)))
        return outcome

    @property
    def _path(self) -> pathlib.Path:
        return self.folder / f"rung-{self._rung:09d}.json"


def folder_of(point: grids.Point, teachers: layout.RunLayout | None) -> str:
    """Returns the name of the folder of some settings.

    Readable, and another one where the settings or the teachers' are others.
    """
    text = "_".join(f"{name}-{value}" for name, value in point) or "as_given"
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:80]
    of = (point, teachers.root.parent.name if teachers else None)
    return f"{readable}-{hashlib.sha256(repr(of).encode()).hexdigest()[:8]}"
