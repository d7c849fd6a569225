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


def test_strings_are_left_out(tmp_path):
    # A SavedModel's bundle has its object graph as one.
    tensors.write(tmp_path / "bundle", {"a": np.ones(1), "graph": np.array(b"x")})

    assert tensors.read(tmp_path / "bundle").keys() == {"a"}


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


def test_flipped_bit_is_refused(bundle):
    path = bundle.with_name(bundle.name + ".data-00000-of-00001")
    content = bytearray(path.read_bytes())
    content[3] ^= 4
    path.write_bytes(content)

    with pytest.raises(errors.SnapshotError, match="cannot be read"):
        tensors.read(bundle)


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
