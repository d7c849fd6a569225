"""What people do with a trained student: generate, export, serve."""

import json
import pathlib

import numpy as np
import pytest

import lmcodistill
from tests.support import tiny_run

pytestmark = pytest.mark.distributed
TEXTS = ["The import statement finds a module.", "x"]


@pytest.fixture(scope="module")
def student_dir(finish, data_dir, tmp_path_factory) -> pathlib.Path:
    """A student trained for a few steps."""
    folder = tmp_path_factory.mktemp("served")
    finish(*tiny_run.train_arguments(data_dir, folder, students=1, TARGETS="none"))
    return folder / "students/0"


@pytest.fixture(scope="module")
def served(finish, student_dir):
    """The serving SavedModel, loaded as a server would."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401, registers the tokenizer's operations

    target = student_dir / "serving/1"
    finish("export", "--export", student_dir, "--output_dir", target)
    return tf.saved_model.load(str(target))


def test_served_scores_are_those_of_the_student(served, student_dir):
    import tensorflow as tf

    served_scores = served.signatures["score"](texts=tf.constant(TEXTS))

    scores = lmcodistill.load(student_dir).score(TEXTS)
    np.testing.assert_array_equal(
        served_scores["num_tokens"], [score.num_tokens for score in scores]
    )
    np.testing.assert_allclose(
        served_scores["cross_entropy"], [score.nats for score in scores], rtol=1e-5
    )


def test_served_completion_is_the_greedy_one(finish, served, student_dir):
    import tensorflow as tf

    prompt = "The import"
    out = finish(
        *("generate", "--export", student_dir, "--prompt", prompt),
        *("--temperature", "0", "--tokens", "32", "--json"),
    )

    completed = served.signatures["complete"](texts=tf.constant([prompt]))

    assert completed["texts"].numpy()[0].decode() == json.loads(out)["texts"][0]


def test_generate_repeats_itself_with_the_same_seed(finish, student_dir):
    command = ("generate", "--export", student_dir, "--prompt", "A class")

    once, again, other = (
        finish(*command, "--seed", seed, "--samples", "2") for seed in (1, 1, 2)
    )

    assert once == again != other
    assert once.startswith("A class")


def test_export_never_overwrites(start, student_dir):
    process = start("export", "--export", student_dir, "--output_dir", student_dir)

    _, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "is not overwritten" in err
