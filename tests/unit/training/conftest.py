"""What the tests of training share: a small data folder, jobs, one-process groups."""

import dataclasses
import hashlib
import io
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import sentencepiece

from lmcodistill.data import shards
from lmcodistill.settings import codistillation, model, schedules, training
from lmcodistill.storage import files, layout, publication
from lmcodistill.training import cluster, student
from lmcodistill.training import job as job_lib

VOCAB_SIZE, END = 12, 2
# 8 streams' worth of text for two students, with ends of documents on the way.
TOKENS = np.random.default_rng(0).integers(3, VOCAB_SIZE, 120)
TOKENS[[7, 31, 64, 99, 119]] = END


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> pathlib.Path:
    """Two partitions of 60 tokens and a held-out split of 40, of 12 pieces."""
    root = tmp_path_factory.mktemp("data")
    vocabulary = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["one two three four five six seven eight nine"] * 3),
        model_writer=vocabulary,
        model_type="word",
        vocab_size=VOCAB_SIZE,
        minloglevel=2,
    )
    (root / "vocabulary.model").write_bytes(vocabulary.getvalue())

    def split(name: str, tokens: np.ndarray) -> shards.Split:
        content = tokens.astype("<u2").tobytes()
        file = layout.DataLayout.shard_name(0)
        (root / name).mkdir()
        (root / name / file).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        shard = shards.Shard(file, len(tokens), 2, digest)
        return shards.Split(name, (shard,), 2, len(tokens), words=0, bytes=0)

    manifest = shards.Manifest(
        vocabulary=hashlib.sha256(vocabulary.getvalue()).hexdigest(),
        vocab_size=VOCAB_SIZE,
        end_id=END,
        train=(
            split("train-00000-of-00002", TOKENS[:60]),
            split("train-00001-of-00002", TOKENS[60:]),
        ),
        held_out={"validation": split("validation", TOKENS[40:80])},
    )
    files.write_text(root / "manifest.json", files.to_json(manifest.to_json()))
    return root


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
