"""Whether a run of a comparison can begin, asked before the first one does.

A mistake in the last arm, or in the last seed, must not cost the hours of those
before.
"""

from lmcodistill.config import loading
from lmcodistill.experiments import runs
from lmcodistill.training import job as job_lib
from lmcodistill.training import preflight


def config_of(settings: runs.ComparisonSettings, run: runs.TrainRun) -> loading.Config:
    """Returns the configuration of a run, checked as `train` would check it.

    What other runs of the comparison have yet to make, its teachers, is not.

    Raises:
        UsageError: a setting cannot work, alone or with the data.
        DataError: the data do not fit.
    """
    config = job_lib.load(settings.gin_files, run.bindings)
    for student in range(run.arm.students):
        job = job_lib.Job(
            data_dir=settings.data_dir,
            run_dir=run.folder,
            shared_dir=run.folder,
            student=student,
            num_students=run.arm.students,
            config_text=config.text,
            **job_lib.settings(config),
        )
        job_lib.check_peers(job)
        preflight.check_lessons(job, job_lib.open_inputs(job))
    return config
