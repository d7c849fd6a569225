"""Tensor bundles: what was written comes back, and nothing else is accepted."""

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.storage import tensors

TENSORS = {
    "model/layer_0/shift": np.arange(6, dtype=np.float32).reshape(2, 3),
    "model/embedding": np.array([1e-40, -0.0, 3.5], np.float64),
    "count": np.array(7, np.int64),
    "narrow": np.array([1.0, 2.5], ml_dtypes.bfloat16),
    "empty": np.zeros([0, 4], np.float32),
}
SHAPES = {"a": (2, 3), "b": ()}


@pytest.fixture
def bundle(tmp_path):
    tensors.write(tmp_path / "bundle", TENSORS)
    return tmp_path / "bundle"


def values(**changes):
    return {"a": np.ones([2, 3], np.float32), "b": np.float32(1.0), **changes}


def test_tensors_come_back_bit_for_bit(bundle):
    found = tensors.read(bundle)

    assert found.keys() == TENSORS.keys()
    for name, expected in TENSORS.items():
        assert found[name].dtype == expected.dtype
        assert found[name].shape == expected.shape
        assert found[name].tobytes() == expected.tobytes()


def test_object_graph_of_a_saved_model_is_left_out(tmp_path):
    graph = {"_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"x")}
    tensors.write(tmp_path / "bundle", {"a": np.ones(1), **graph, "Z": np.ones(2)})

    assert tensors.read(tmp_path / "bundle").keys() == {"a", "Z"}


def test_strings_are_refused(tmp_path):
    tensors.write(tmp_path / "bundle", {"a": np.ones(1), "text": np.array(b"x")})

    with pytest.raises(errors.SnapshotError, match="text is of type string"):
        tensors.read(tmp_path / "bundle")


def test_many_tensors_come_back(tmp_path):
    # More than one block of the index, and names with long common beginnings.
    many = {f"layer_{i // 9}/{i}": np.full([i % 5, 2], i, "f4") for i in range(500)}
    tensors.write(tmp_path / "bundle", many)

    found = tensors.read(tmp_path / "bundle")

    assert found.keys() == many.keys()
    assert all(np.array_equal(found[name], value) for name, value in many.items())


def test_expected_table_is_compared_before_the_tensors(bundle):
    expected = {n: tensors.Spec(v.shape, v.dtype.name) for n, v in TENSORS.items()}
    found = tensors.read(bundle, expected)
    # Of the same size, so that only the table of the index can tell.
    other = expected | {"count": tensors.Spec((), "float64")}

    with pytest.raises(errors.SnapshotError, match="count has type int64; float64"):
        tensors.read(bundle, other)

    assert found.keys() == TENSORS.keys()


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_missing_file_is_refused(bundle, suffix):
    bundle.with_name(bundle.name + suffix).unlink()

    with pytest.raises(errors.SnapshotError, match="cannot be read"):
        tensors.read(bundle)


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("size", [0, 5, 20])
def test_truncated_file_is_refused(bundle, suffix, size):
    path = bundle.with_name(bundle.name + suffix)
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(errors.SnapshotError, match="cannot be read"):
        tensors.read(bundle)


def test_longer_data_file_is_refused(bundle):
    with open(f"{bundle}.data-00000-of-00001", "ab") as file:
        file.write(b"x")

    with pytest.raises(errors.SnapshotError, match="cannot be read") as refusal:
        tensors.read(bundle)

    assert refusal.value.reason == "bundle"


def test_table_that_fits_is_accepted():
    tensors.check_table(values(), SHAPES, "here")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"a": np.ones([2, 3])}, r"here lacks tensors \['b'\]"),
        (values(c=np.ones(1)), r"unexpected ones \['c'\]"),
        (values(a=np.ones([3, 2])), r"tensor a has shape \(3, 2\); \(2, 3\) was exp"),
        (values(b=np.float32("nan")), "tensor b holds values that are not finite"),
        (values(b=np.float32("inf")), "tensor b holds values that are not finite"),
        (values(b=np.int32(1)), "tensor b has type int32"),
    ],
    ids=["missing", "extra", "misshapen", "nan", "infinite", "whole numbers"],
)
def test_table_that_does_not_fit_is_refused(found, reason):
    with pytest.raises(errors.SnapshotError, match=reason):
        tensors.check_table(found, SHAPES, "here")


def test_bfloat16_is_checked_too():
    found = values(b=np.array(np.nan, ml_dtypes.bfloat16))

    with pytest.raises(errors.SnapshotError, match="not finite"):
        tensors.check_table(found, SHAPES, "here")


def test_bundle_is_one_that_tensorflow_reads(bundle):
    value = tf.train.load_variable(str(bundle), "model/layer_0/shift")

    np.testing.assert_array_equal(value, TENSORS["model/layer_0/shift"])
