"""Narrower weights: what comes back, how far off it is, and what is refused."""

import ml_dtypes
import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.model import quantization, weights
from lmcodistill.settings import model as settings

TINY = settings.LanguageModel(embedding_size=3, num_layers=2, hidden_size=4)
DOUBLE = settings.LanguageModel(
    embedding_size=3, num_layers=2, hidden_size=4, compute_dtype="float64"
)
DTYPES = ("float32", "bfloat16", "int8")


def values(seed, spread=1.0, config=TINY):
    """Returns weights whose rows and columns have widths of their own."""
    rng = np.random.default_rng(seed)

    def one(shape):
        widths = [np.exp(spread * rng.standard_normal(size)) for size in shape]
        outer = widths[0] if len(shape) == 1 else np.outer(*widths)
        return (outer * rng.standard_normal(shape)).astype(config.weight_dtype)

    return {n: one(shape) for n, shape in weights.shapes(config, 7).items()}


def there_and_back(given, dtype):
    stored = quantization.quantized(TINY, 7, given, dtype)
    return stored, quantization.dequantized(stored, given["embedding"].dtype.name)


def test_matrices_have_values_and_a_scale_per_output_and_vectors_stay():
    assert quantization.table(TINY, 7, "int8") == {
        "embedding:values": ((7, 3), "int8"),
        "embedding:scale": ((7, 1), "float32"),
        "layer_0/input_kernel:values": ((3, 16), "int8"),
        "layer_0/input_kernel:scale": ((1, 16), "float32"),
        "layer_0/recurrent_kernel:values": ((4, 16), "int8"),
        "layer_0/recurrent_kernel:scale": ((1, 16), "float32"),
        "layer_0/shift": ((16,), "float32"),
        "layer_0/gain": ((16,), "float32"),
        "layer_1/input_kernel:values": ((4, 16), "int8"),
        "layer_1/input_kernel:scale": ((1, 16), "float32"),
        "layer_1/recurrent_kernel:values": ((4, 16), "int8"),
        "layer_1/recurrent_kernel:scale": ((1, 16), "float32"),
        "layer_1/shift": ((16,), "float32"),
        "layer_1/gain": ((16,), "float32"),
        "projection/kernel:values": ((7, 4), "int8"),
        "projection/kernel:scale": ((7, 1), "float32"),
        "projection/bias": ((7,), "float32"),
    }


@pytest.mark.parametrize("config", [TINY, DOUBLE], ids=["float32", "float64"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_stored_tensors_are_those_of_the_table(dtype, config):
    stored = quantization.quantized(config, 7, values(0, config=config), dtype)

    found = {name: (x.shape, x.dtype.name) for name, x in stored.items()}
    assert found == quantization.table(config, 7, dtype)


def test_papers_model_takes_a_quarter_of_the_bytes():
    def num_bytes(dtype):
        table = quantization.table(settings.LanguageModel(), 24_006, dtype)
        return sum(np.prod(s) * np.dtype(d).itemsize for s, d in table.values())

    assert num_bytes("float32") == 4 * 44_399_558
    assert num_bytes("bfloat16") < 0.501 * num_bytes("float32")
    assert num_bytes("int8") < 0.253 * num_bytes("float32")


@pytest.mark.parametrize("config", [TINY, DOUBLE], ids=["float32", "float64"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(5))
def test_weights_come_back_by_their_names_shapes_and_type(seed, dtype, config):
    given = values(seed, config=config)

    _, found = there_and_back(given, dtype)

    assert list(found) == list(given)
    for name, value in given.items():
        assert (found[name].shape, found[name].dtype) == (value.shape, value.dtype)
        if value.ndim == 1 or dtype == "float32":
            assert found[name].tobytes() == value.tobytes()


@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("seed", range(20))
def test_weight_is_off_by_at_most_half_its_scale(seed, spread):
    given = values(seed, spread)

    stored, found = there_and_back(given, "int8")

    for name, value in given.items():
        if value.ndim == 2:
            half = stored[f"{name}:scale"].astype(np.float64) / 2
            error = np.abs(found[name].astype(np.float64) - value)
            assert (error <= half * (1 + 1e-5)).all()


@pytest.mark.parametrize("seed", range(20))
def test_largest_weight_of_an_output_takes_the_whole_range(seed):
    stored, _ = there_and_back(values(seed), "int8")

    for name, value in stored.items():
        if value.dtype == np.int8:
            axis = 0 if name.startswith("layer_") else 1
            assert (np.abs(value.astype(int)).max(axis) == 127).all()
            assert value.min() >= -127


@pytest.mark.parametrize("seed", range(20))
def test_what_can_be_represented_comes_back_exactly(seed):
    rng = np.random.default_rng(seed)
    whole = rng.integers(-127, 128, [7, 3])
    whole[:, 0] = 127  # Every row has its largest; powers of two divide exactly.
    scale = 2.0 ** rng.integers(-20, 20, [7, 1])
    given = {"embedding": (whole * scale).astype(np.float32)}

    stored, found = there_and_back(given, "int8")

    np.testing.assert_array_equal(stored["embedding:values"], whole)
    np.testing.assert_array_equal(found["embedding"], given["embedding"])


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
@pytest.mark.parametrize("seed", range(20))
def test_quantizing_twice_loses_no_more_than_once(seed, dtype):
    once, found = there_and_back(values(seed), dtype)

    twice, _ = there_and_back(found, dtype)

    for name, value in once.items():
        if name.endswith(":values"):
            assert twice[name].tobytes() == value.tobytes()


@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-38, 1e-30, 1e30, 3e38])
def test_rows_of_zeros_and_of_extreme_weights_stay_finite(size):
    given = {"embedding": np.full([4, 3], size, np.float32)}

    stored, found = there_and_back(given, "int8")

    quantization.refuse_tampered(stored, "here")
    tiny = float(np.finfo(np.float32).tiny)
    np.testing.assert_allclose(found["embedding"], size, rtol=1e-6, atol=tiny)
    assert (found["embedding"] == 0.0).all() == (size < tiny / 2)


def test_bfloat16_is_the_nearest_one():
    given = values(3)

    _, found = there_and_back(given, "bfloat16")

    expected = given["embedding"].astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(found["embedding"], expected)
    np.testing.assert_allclose(found["embedding"], given["embedding"], rtol=2.0**-8)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("embedding:scale", np.nan, "scale holds nan; positive"),
        ("embedding:scale", np.inf, "scale holds inf"),
        ("embedding:scale", -1.0, "scale holds -1.0"),
        ("embedding:scale", 0.0, "scale holds 0.0"),
        ("embedding:scale", 1e37, "scale holds 9.9.*e.36; .* 127 times as much finite"),
        ("embedding:values", -128, "values holds -128; -127 to 127 was expected"),
    ],
)
def test_what_is_never_made_is_refused(name, value, reason):
    stored = quantization.quantized(TINY, 7, values(0), "int8")
    stored[name][2, 0] = value

    with pytest.raises(errors.SnapshotError, match=reason) as refusal:
        quantization.refuse_tampered(stored, "here")

    assert refusal.value.reason == "quantization"
