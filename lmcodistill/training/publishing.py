"""Exports between steps: when to publish, and what to do where storage refuses."""

import logging
import time

from lmcodistill import errors
from lmcodistill.codistill import topologies
from lmcodistill.exports import publisher, quantized, writer
from lmcodistill.storage import layout, publication
from lmcodistill.training import job as job_lib
from lmcodistill.training import lessons
from lmcodistill.training import student as student_lib

log = logging.getLogger("lmcodistill")


class Publish:
    """Publishes the student's weights for its peers, in the background. Chief only.

    A `freshest` exchange goes without an export that storage refuses or that the
    one before is in the way of; a `scheduled` one cannot.

    Attributes:
        owner: By what right.
    """

    def __init__(
        self,
        job: job_lib.Job,
        inputs: job_lib.Inputs,
        student: student_lib.Student,
        owner: publication.Owner,
    ):
        """Makes what all exports have in common."""
        self._job, self._student, self.owner = job, student, owner
        self._is_scheduled = job.exchange.mode == "scheduled"
        # Until when exports stay for peers that may still be reading them.
        self._young: dict[publication.Snapshot, float] = {}
        self._quantizer = None
        if job.exchange.export_dtype != "float32":
            self._quantizer = quantized.Quantizer(
                job.exchange.export_dtype,
                lessons.probe_of(job, inputs),
                job.exchange.max_quantization_loss,
            )
        one = writer.Exporter(
            student.model.config,
            inputs.data.vocabulary,
            student=job.student,
            reset_at_documents=job.batches.reset_at_documents,
            quantizer=self._quantizer,
        )
        folder = job.layout.exports
        keep = topologies.exports_to_keep(
            job.exchange, job.training.checkpoint_every_steps
        )

        def publish(at: int, weights: writer.Weights) -> None:
            made = one.publish(folder, at, weights, owner)
            self._young[made] = time.monotonic() + job.exchange.keep_export_seconds
            self._young = {
                s: until for s, until in self._young.items() if until > time.monotonic()
            }
            try:
                publication.keep_newest(folder, layout.EXPORT, keep, set(self._young))
            except OSError as error:  # The export stands; the next one tries again.
                log.warning("step=%d event=old_exports_kept reason=%s", at, error)

        patience = job.exchange.deadline_seconds if self._is_scheduled else 0.0
        self._publisher = publisher.Publisher(publish, patience_seconds=patience)

    @property
    def num_in_full(self) -> int:
        """How many exports lost too much in a narrower type, since the start."""
        return len(self._quantizer.refused) if self._quantizer else 0

    def __call__(self, at: int) -> None:
        """Publishes where due; the last step always is, and is waited for.

        Raises:
            SnapshotError: the last export could not be published.
            GroupLostError: another process took the student over.
        """
        self._publisher.check()
        is_last = at == self._job.training.num_train_steps
        if not (
            is_last or topologies.is_due(at, self._job.exchange.publish_every_steps)
        ):
            return
        may_skip = not (is_last or self._is_scheduled)
        self._publisher.submit(
            at, lambda: writer.weights_of(self._student.model), may_skip=may_skip
        )
        if is_last and not self._publisher.wait():
            raise errors.SnapshotError(
                f"The last export, of step {at}, could not be written to "
                f"{self._job.layout.exports}; the log says why. The checkpoint was "
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
        if self._is_scheduled and not self._publisher.wait():
            raise errors.GroupLostError(
                f"An export could not be written to {self._job.layout.exports} within "
                f"{self._job.exchange.deadline_seconds:g} s, and a scheduled exchange "
                "needs every one. Make room or give back the right to write, and "
                "start the same command again."
            )
