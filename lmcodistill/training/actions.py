"""What happens between steps: publish, reload, report, evaluate, checkpoint.

Each action is called with the step that was reached and decides by arithmetic
whether it is due, so all workers of a group act alike. Those marked
*collective* talk to the other workers.
"""

import dataclasses
import logging
import math
import pathlib
import time
from collections.abc import Callable

import numpy as np

from lmcodistill import errors
from lmcodistill.codistill import exchange, exports, lookup, teachers
from lmcodistill.data import windows
from lmcodistill.storage import layout, publication
from lmcodistill.training import (
    checkpoints,
    cluster,
    evaluation,
    job,
    metrics,
    step,
    student,
)

log = logging.getLogger("lmcodistill")


class Publish:
    """Publishes the student's weights for its peers. Chief only."""

    def __init__(self, what: job.Job, inputs: job.Inputs, learner: student.Student):
        self._job, self._inputs, self._student = what, inputs, learner

    def __call__(self, at: int) -> None:
        """Publishes where due; the last step always is."""
        is_last = at == self._job.training.num_train_steps
        if is_last or exchange.is_due(at, self._job.exchange.publish_every_steps):
            began = time.monotonic()
            folder = self._job.layout.exports
            exports.publish(
                folder,
                at,
                self._student.model,
                self._inputs.data.vocabulary,
                student=self._job.student,
                reset_at_documents=self._job.batches.reset_at_documents,
            )
            keep = exchange.exports_to_keep(
                self._job.exchange, self._job.training.checkpoint_every_steps
            )
            publication.keep_newest(folder, layout.EXPORT, keep)
            log.info(
                "step=%d event=published seconds=%.2f", at, time.monotonic() - began
            )


class Reload:
    """Looks for the peers' exports and swaps teachers. Collective.

    The chief alone looks, waits and reads; the others get what it read. So all
    replicas use the same teacher in the same step, and storage is read once.
    """

    def __init__(
        self,
        what: job.Job,
        group: cluster.Group,
        learner: student.Student,
        asked_to_stop: Callable[[], bool],
    ):
        self._job, self._group, self._student = what, group, learner
        self._asked_to_stop = asked_to_stop

    def __call__(self, at: int) -> bool:
        """Reloads where due.

        Returns:
            False where the wait for a scheduled export was given up because the
            group was asked to stop.
        """
        what = self._job
        if what.distillation.targets == "offline":
            if not self._student.teachers.active and at >= what.weight.burn_in_steps:
                self._swap(at, self._offline())
            return True
        if what.distillation.targets != "peers" or not exchange.is_reload_due(
            at, what.weight.burn_in_steps, what.exchange
        ):
            return True
        peers = exchange.peers_at(at, what.student, what.num_students, what.exchange)
        lessons = [self._lesson(peer, at) for peer in peers]
        if self._group.broadcast_json(self._asked_to_stop() and None in lessons):
            return False
        self._swap(at, [lesson for lesson in lessons if lesson is not None])
        return True

    def _offline(self) -> list[exports.Export]:
        found: list[exports.Export] = []
        if not self._group.is_chief:
            return found
        for index, path in enumerate(self._job.distillation.offline_exports):
            snapshot = lookup.find(pathlib.Path(path))
            export = exports.read(snapshot)
            self._student.teachers.check(export)
            found.append(dataclasses.replace(export, student=index))
        return found

    def _lesson(self, peer: int, at: int) -> exports.Export | teachers.Teacher | None:
        """Returns what `peer` teaches from now on; only the chief's counts."""
        if not self._group.is_chief:
            return None
        current = self._student.teachers.of_peer(peer)
        snapshot = self._find(peer, at)
        if snapshot is None:
            return current
        if current is not None and current.step == snapshot.step:
            return current
        try:
            export = exports.read(snapshot)
            self._student.teachers.check(export)
        except errors.SnapshotError as error:
            log.warning(
                "step=%d teacher=%d event=export_refused reason=%s", at, peer, error
            )
            return current
        return export

    def _find(self, peer: int, at: int) -> publication.Snapshot | None:
        folder = self._job.peer_layout(peer).exports
        settings = self._job.exchange
        if settings.mode == "freshest":
            return lookup.newest(folder)
        wanted = exchange.scheduled_export(at, settings)
        if wanted is None:
            return None
        snapshot = lookup.wait_for(
            folder, wanted, settings.deadline_seconds, self._asked_to_stop
        )
        if snapshot is None and not self._asked_to_stop():
            raise errors.GroupLostError(
                f"Student {peer} did not publish its export of step {wanted} within "
                f"{settings.deadline_seconds:g} s; the scheduled exchange needs "
                f"exactly that one at step {at}. Start the peer again, or use "
                "--gin.EXCHANGE_MODE=freshest, which waits for nobody."
            )
        return snapshot

    def _swap(self, at: int, lessons: list) -> None:
        """Gives every worker the chief's lessons, if there are any, and swaps."""
        count = self._group.broadcast_json(len(lessons))
        if not count:
            return
        pool = self._student.teachers
        of_chief = lessons if self._group.is_chief else [None] * count
        pool.adopt([self._shared(lesson) for lesson in of_chief], at)
        for teacher in pool.active:
            log.info(
                "step=%d teacher=%d export_step=%d staleness=%d event=teacher_loaded",
                at,
                teacher.peer,
                teacher.step,
                at - teacher.step,
            )

    def _shared(self, lesson):
        """Returns the chief's lesson on every worker."""
        if self._group.num_workers == 1:
            return lesson
        kept = self._group.broadcast_json(
            lesson.peer if isinstance(lesson, teachers.Teacher) else None
        )
        if kept is not None:
            return self._student.teachers.of_peer(kept)
        header = lesson.header() if self._group.is_chief else None
        blank = exports.blank(self._group.broadcast_json(header))
        weights = lesson.weights if self._group.is_chief else blank.weights
        return dataclasses.replace(
            blank, weights={n: self._group.sum(weights[n]) for n in sorted(weights)}
        )


class Report:
    """Writes means over the steps since the last report; stops a diverged run."""

    def __init__(
        self,
        what: job.Job,
        learner: student.Student,
        writer: metrics.MetricsWriter | None,
        first_step: int,
    ):
        self._job, self._student, self._writer = what, learner, writer
        self._totals: list[step.Totals] = []
        self._since = (first_step, time.monotonic())

    def __call__(self, at: int, totals: step.Totals) -> None:
        """Takes the totals of the update that reached step `at`.

        Raises:
            DivergedError: the cross entropy is not finite.
        """
        self._totals.append(totals)
        is_last = at == self._job.training.num_train_steps
        if at % self._job.training.report_every_steps and not is_last:
            return
        rows = np.asarray([[float(x) for x in t] for t in self._totals], np.float64)
        means = step.Totals(*rows.mean(0))
        per_token = 1.0 / self._job.tokens_per_step
        if not math.isfinite(means.label_loss + means.gradient_norm):
            raise errors.DivergedError(
                f"Between steps {self._since[0]} and {at} the cross entropy became "
                f"{means.label_loss * per_token} and the gradient norm "
                f"{means.gradient_norm}. Lower LEARNING_RATE or Optimizer.clip_norm; "
                "the last checkpoint is from before."
            )
        self._totals = []
        first, began = self._since
        seconds = max(time.monotonic() - began, 1e-9)
        self._since = (at, time.monotonic())
        if self._writer is None:
            return
        tokens = (at - first) * self._job.tokens_per_step
        values = {
            "tokens": at * self._job.tokens_per_step,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(tokens / seconds, 1),
            "cross_entropy": means.label_loss * per_token,
            "distillation_loss": means.soft_loss * per_token,
            "teacher_cross_entropy": means.teacher_label_loss * per_token,
            "agreement": means.agreement * per_token,
            "gradient_norm": means.gradient_norm,
            "learning_rate": self._job.learning_rate.at(at - 1),
            "distillation_weight": (
                self._job.weight.at(at - 1) if self._student.has_targets else 0.0
            ),
            "teachers": [
                {"peer": t.peer, "step": t.step, "staleness_steps": at - t.step}
                for t in self._student.teachers.active
            ],
        }
        self._writer.write("train", at, values)
        log.info(
            "step=%d cross_entropy=%.4f distillation=%.4f tokens_per_second=%.0f",
            at,
            values["cross_entropy"],
            values["distillation_loss"],
            values["tokens_per_second"],
        )


class Evaluate:
    """Reports the validation cross entropy. Collective."""

    def __init__(
        self,
        what: job.Job,
        inputs: job.Inputs,
        group: cluster.Group,
        learner: student.Student,
        writer: metrics.MetricsWriter | None,
    ):
        self._job, self._group, self._writer = what, group, writer
        settings = what.training
        data = inputs.data
        self._windows = windows.EvaluationWindows(
            data.stream(data.held_out_split("validation")),
            lanes=settings.evaluation_lanes,
            window=what.batches.window,
            end_id=data.manifest.end_id,
            reset_at_documents=what.batches.reset_at_documents,
            max_tokens=settings.evaluation_tokens or None,
        )
        self._evaluator = evaluation.Evaluator([learner.model])

    def __call__(self, at: int) -> None:
        """Evaluates where due; the last step always is."""
        period = self._job.training.evaluate_every_steps
        is_last = at == self._job.training.num_train_steps
        if not period or not (is_last or exchange.is_due(at, period)):
            return
        began = time.monotonic()
        share = -(-self._windows.lanes // self._group.num_workers)
        first = self._group.worker_index * share
        sums = self._group.sum(
            np.asarray(self._evaluator.total(self._windows, first, share), np.float64)
        )
        cross_entropy = float(sums[0] / sums[1])
        if self._writer is not None:
            seconds = round(time.monotonic() - began, 3)
            self._writer.write(
                "validation",
                at,
                {
                    "cross_entropy": cross_entropy,
                    "tokens": int(sums[1]),
                    "seconds": seconds,
                },
            )
            log.info("step=%d validation_cross_entropy=%.4f", at, cross_entropy)


class Checkpoint:
    """Saves what a restart needs. Collective: the lanes are gathered."""

    def __init__(self, what: job.Job, group: cluster.Group, learner: student.Student):
        self._job, self._group, self._student = what, group, learner

    def __call__(self, at: int, force: bool = False) -> None:
        """Saves where due; the last step always is."""
        settings = self._job.training
        is_last = at == settings.num_train_steps
        if not (
            force or is_last or exchange.is_due(at, settings.checkpoint_every_steps)
        ):
            return
        # Between two reports a run may have diverged: the good ones must stay.
        exports.refuse_non_finite(self._student.model, at)
        values = self._student.values()
        if self._group.is_chief:
            checkpoints.save(
                self._job.layout.checkpoints,
                at,
                values,
                self._student.manifest(),
                settings.keep_checkpoints,
            )
            log.info("step=%d event=checkpoint_saved", at)
