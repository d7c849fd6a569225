"""Exports between updates: when to publish, and what to do where storage refuses."""

import logging
import threading
import time
from collections.abc import Callable

from lmcodistill import errors
from lmcodistill.exports import probe, publisher, quantized, writer
from lmcodistill.storage import layout, publication
from lmcodistill.training import job as job_lib
from lmcodistill.training import student as student_lib
from lmcodistill.training.hooks.every import Every

log = logging.getLogger("lmcodistill")


class Publish:
    """Publishes the student's weights for its peers, in the background. Chief only.

    Where nobody waits for an export, training goes without one that storage refuses
    or that the one before is in the way of.
    """

    def __init__(
        self,
        job: job_lib.Job,
        inputs: job_lib.Inputs,
        student: student_lib.Student,
        owner: publication.Owner,
        asked: threading.Event | None = None,
        on_answer: Callable[[int], None] = lambda _: None,
    ):
        """Makes what all exports have in common.

        Where `asked` is set, somebody wants an export at once; `on_answer` is called,
        in the publisher's thread, with the step of the one that came of it.
        """
        self._asked, self._on_answer = asked or threading.Event(), on_answer
        self._answers: set[int] = set()  # The steps of exports that were asked for.
        self._student, self._folder = student, job.layout.exports
        self._owner, self._keep_seconds = owner, job.exchange.keep_export_seconds
        self._every = Every(job.exchange.publish_every_steps, job.training.last_step)
        self._terms = job.policy.publishing(job.training.checkpoint_every_steps)
        # Until when exports stay for peers that may still be reading them.
        self._young: dict[publication.Snapshot, float] = {}
        self._quantizer = None
        if job.exchange.export_dtype != "float32":
            self._quantizer = quantized.Quantizer(
                job.exchange.export_dtype,
                probe.of_text(
                    inputs.windows,
                    job.batches.global_batch_size,
                    job.exchange.max_teacher_cross_entropy,
                ),
                job.exchange.max_quantization_loss,
            )
        self._exporter = writer.Exporter(
            student.model.config,
            inputs.data.vocabulary,
            student=job.student,
            reset_at_documents=job.batches.reset_at_documents,
            quantizer=self._quantizer,
        )
        self._publisher = publisher.Publisher(
            self._export, patience_seconds=self._terms.patience_seconds
        )

    @property
    def num_in_full(self) -> int:
        """How many exports lost too much in a narrower type, since the start."""
        return len(self._quantizer.refused) if self._quantizer else 0

    def __call__(self, step: int) -> None:
        """Publishes where due; the last export is waited for.

        Raises:
            SnapshotError: the last export could not be published.
            GroupLostError: another process took the student over.
        """
        self._publisher.check()
        # One that is asked for waits, as no other does, for the one before.
        is_asked = self._asked.is_set() and step > 0 and not self._publisher.is_busy
        if not is_asked and not self._every.is_due(step):
            return
        if is_asked:
            self._answers.add(step)
            self._asked.clear()
        is_last = self._every.is_last(step)
        self._publisher.submit(
            step,
            lambda: writer.weights_of(self._student.published),
            may_skip=self._terms.may_skip and not is_last,
        )
        if is_last and not self._publisher.wait():
            raise errors.SnapshotError(
                f"The last export, of step {step}, could not be written to "
                f"{self._folder}; the log says why. The checkpoint was "
                "saved. Make room or give back the right to write, and start the same "
                "command again.",
                reason="not_saved",
            )

    def close(self) -> None:
        """Waits for the export under way: no thread may outlive TensorFlow."""
        self._publisher.wait()

    def settle(self) -> None:
        """Makes sure that no export is missing of a step that a restart skips.

        Raises:
            GroupLostError: an export that peers wait for could not be published.
        """
        if not self._terms.may_skip and not self._publisher.wait():
            raise errors.GroupLostError(
                f"An export could not be written to {self._folder} within "
                f"{self._terms.patience_seconds:g} s, and a scheduled exchange "
                "needs every one. Make room or give back the right to write, and "
                "start the same command again."
            )

    def _export(self, step: int, weights: writer.Weights) -> None:
        """Publishes one export and removes old ones; in the publisher's thread."""
        made = self._exporter.publish(self._folder, step, weights, self._owner)
        if step in self._answers:
            self._on_answer(step)
            log.info("step=%d event=published_as_asked", step)
        now = time.monotonic()
        self._young = {s: until for s, until in self._young.items() if until > now}
        self._young[made] = now + self._keep_seconds
        try:
            publication.keep_newest(
                *(self._folder, layout.EXPORT, self._terms.num_kept),
                protected=set(self._young),
                period=self._terms.counted_every_steps,
            )
        except OSError as error:  # The export stands; the next one tries again.
            log.warning("step=%d event=old_exports_kept reason=%s", step, error)
