"""Exports of peers that were never on disk."""

from lmcodistill.exports import reader
from lmcodistill.model import weights
from lmcodistill.settings import model
from lmcodistill.training import job as job_lib
from tests.support import small_data

# Of another width and depth than the student of the tests' jobs.
TEACHER = model.LanguageModel(
    embedding_size=2, num_layers=2, hidden_size=3, compute_dtype="float64"
)


def export_for(
    job: job_lib.Job, *, seed: int, student: int = 1, step: int = 0
) -> reader.Export:
    """Returns a teacher of `job`, with the weights that `seed` draws."""
    return reader.Export(
        source="students/1",
        student=student,
        step=step,
        config=TEACHER,
        vocab_size=small_data.VOCAB_SIZE,
        vocabulary=job_lib.open_inputs(job).data.manifest.vocabulary,
        reset_at_documents=True,
        generation=1,
        weights=weights.initial(TEACHER, small_data.VOCAB_SIZE, seed),
    )
