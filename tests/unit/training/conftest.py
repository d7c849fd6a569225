"""What the tests of training share: a small data folder, jobs, one-process groups."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from lmcodistill.settings import codistillation, model, schedules, training
from lmcodistill.storage import publication
from lmcodistill.training import cluster, student
from lmcodistill.training import job as job_lib
from tests.support import small_data

# 8 streams' worth of text for two students, with ends of documents on the way.
TOKENS = np.random.default_rng(0).integers(3, small_data.VOCAB_SIZE, 120)
TOKENS[[7, 31, 64, 99, 119]] = small_data.END
GUIDE = np.random.default_rng(1).integers(3, small_data.VOCAB_SIZE, 40)
GUIDE[[4, 26, 39]] = small_data.END


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> pathlib.Path:
    """Two partitions of 60 tokens, 40 held out and a guide of 40, of 12 pieces."""
    return small_data.write(
        tmp_path_factory.mktemp("data"),
        [[TOKENS[:60]], [TOKENS[60:]]],
        [TOKENS[40:80]],
        guide=[GUIDE],
    )


@pytest.fixture
def a_job(data_dir, tmp_path) -> Callable[..., job_lib.Job]:
    """Makes jobs of a float64 model under plain gradient descent."""

    def make(**changes) -> job_lib.Job:
        given = job_lib.Job(
            data_dir=data_dir,
            run_dir=tmp_path / "run",
            shared_dir=tmp_path / "run",
            student=0,
            num_students=2,
            model=model.LanguageModel(
                embedding_size=3,
                num_layers=1,
                hidden_size=4,
                compute_dtype="float64",
            ),
            batches=training.Batches(global_batch_size=2, window=5),
            optimizer=training.Optimizer(name="sgd", clip_norm=0.0),
            training=training.Training(num_train_steps=10, report_every_steps=2),
            learning_rate=schedules.LearningRate(base=0.5),
            weight=schedules.DistillationWeight(burn_in_steps=2, weight=0.7),
            distillation=codistillation.Distillation(),
            exchange=codistillation.Exchange(
                publish_every_steps=2, reload_every_steps=2
            ),
            config_text="",
        )
        return dataclasses.replace(given, **changes)

    return make


@pytest.fixture(scope="session")
def group() -> cluster.Group:
    """A group of this process alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TF_CONFIG", raising=False)
        return cluster.Group()


@pytest.fixture
def owner() -> publication.Owner:
    """The right to publish, which nobody disputes."""
    return publication.Owner(1, lambda: None)


@pytest.fixture
def make_student(group) -> Callable[[job_lib.Job], student.Student]:
    """Builds the student of a job."""

    def make(job: job_lib.Job) -> student.Student:
        return student.Student(job, job_lib.open_inputs(job), group)

    return make
