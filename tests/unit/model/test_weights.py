"""Names, shapes and initial values of the weights."""

import numpy as np
import pytest

from lmcodistill.model import weights
from lmcodistill.settings import model as settings

TINY = settings.LanguageModel(embedding_size=3, num_layers=2, hidden_size=4)


def test_shapes_of_a_small_model():
    assert weights.shapes(TINY, 7) == {
        "embedding": (7, 3),
        "layer_0/input_kernel": (3, 16),
        "layer_0/recurrent_kernel": (4, 16),
        "layer_0/shift": (16,),
        "layer_0/gain": (16,),
        "layer_1/input_kernel": (4, 16),
        "layer_1/recurrent_kernel": (4, 16),
        "layer_1/shift": (16,),
        "layer_1/gain": (16,),
        "projection/kernel": (7, 4),
        "projection/bias": (7,),
    }


def test_plain_layers_have_no_gain_and_tied_models_no_projection():
    config = settings.LanguageModel(
        embedding_size=4, hidden_size=4, layer_norm=False, tie_embeddings=True
    )

    names = weights.shapes(config, 7).keys()

    assert not [name for name in names if name.endswith("gain")]
    assert "projection/kernel" not in names
    assert "projection/bias" in names


def test_papers_model_has_44_million_weights():
    # 24,006 * 256 embedding; 1,280 * 4,096 and 2,048 * 4,096 in the layers, each
    # with 2 * 4,096 of shift and gain; 24,006 * 1,024 + 24,006 projection.
    assert weights.num_weights(settings.LanguageModel(), 24_006) == 44_399_558


def test_same_seed_makes_the_same_weights():
    first, second = (weights.initial(TINY, 7, seed=3) for _ in range(2))

    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_seed_makes_the_same_weights_on_every_machine():
    # Written down on 2026-11-22; a change here changes every run's beginning.
    actual = weights.initial(TINY, 7, seed=3)["embedding"][0]

    np.testing.assert_array_equal(
        actual,
        np.array(
            [0.6230089664459229, -0.8287017345428467, -0.6411186456680298], np.float32
        ),
    )


def test_other_seed_makes_other_weights():
    first, second = (weights.initial(TINY, 7, seed) for seed in (0, 1))

    assert np.abs(first["embedding"] - second["embedding"]).min() > 0.0


def test_names_of_the_same_shape_get_different_values():
    values = weights.initial(TINY, 7, seed=3)
    alike = [
        values[name]
        for name in (
            "layer_0/recurrent_kernel",
            "layer_1/recurrent_kernel",
            "layer_1/input_kernel",
        )
    ]

    assert np.abs(alike[0] - alike[1]).min() > 0.0
    assert np.abs(alike[1] - alike[2]).min() > 0.0


def test_shifts_and_biases_start_at_zero_and_gains_at_one():
    values = weights.initial(TINY, 7, seed=0)

    for name, value in values.items():
        assert value.dtype == np.float32
        if name.endswith(("shift", "bias")):
            np.testing.assert_array_equal(value, np.zeros_like(value))
        elif name.endswith("gain"):
            np.testing.assert_array_equal(value, np.ones_like(value))
        else:
            assert np.abs(value).min() > 0.0


@pytest.mark.parametrize(
    ("name", "half_width"),
    [
        # sqrt(6 / (fan-in + fan-out)): a gate's fan-out is H, a row's is its own.
        ("layer_0/input_kernel", np.sqrt(6 / (60 + 40))),
        ("layer_0/recurrent_kernel", np.sqrt(6 / (40 + 40))),
        ("embedding", np.sqrt(6 / (60 + 60))),
        ("projection/kernel", np.sqrt(6 / (40 + 40))),
    ],
)
def test_glorot_fills_its_width(name, half_width):
    config = settings.LanguageModel(
        embedding_size=60, num_layers=1, hidden_size=40, init_scale=2.0
    )

    value = weights.initial(config, 300, seed=0)[name]

    # Uniform: the extremes of thousands of values come near the edge, the
    # variance is a third of the square.
    assert 0.99 < np.abs(value).max() / (2.0 * half_width) <= 1.0
    assert value.var() == pytest.approx((2.0 * half_width) ** 2 / 3, rel=0.05)


def test_uniform_has_one_width_for_all():
    config = settings.LanguageModel(
        embedding_size=60,
        num_layers=1,
        hidden_size=40,
        initializer="uniform",
        init_scale=0.1,
    )

    values = weights.initial(config, 300, seed=0)

    for name in ("embedding", "layer_0/input_kernel", "projection/kernel"):
        assert 0.099 < np.abs(values[name]).max() <= 0.1
