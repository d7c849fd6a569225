"""In which type the matrix products of a teacher run.

No gradient flows through a teacher, so its rounding costs its student little, and
where a device multiplies bfloat16 itself a teacher takes half the time. Where it
does not, the conversions cost more than they save.
"""

import dataclasses
import pathlib
from collections.abc import Iterable

import tensorflow as tf

from lmcodistill.settings import model as model_settings

_CPUINFO = pathlib.Path("/proc/cpuinfo")
_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}
# Ampere, the first of NVIDIA's with bfloat16 in its tensor cores.
_OLDEST_GPU = (8, 0)


def of_teacher(
    config: model_settings.ModelConfig, asked: str, is_native: bool
) -> model_settings.ModelConfig:
    """Returns the configuration that a teacher is built with.

    Args:
        config: The peer's.
        asked: `Distillation.teacher_compute_dtype`.
        is_native: Whether the device multiplies bfloat16 itself.
    """
    if asked == "auto":
        # float64 is for tests that compare digits.
        is_bfloat16 = is_native and config.compute_dtype != "float64"
        asked = "bfloat16" if is_bfloat16 else config.compute_dtype
    return dataclasses.replace(config, compute_dtype=asked)


def multiplies_bfloat16(cpuinfo: str, gpus: Iterable[tuple[int, int] | None]) -> bool:
    """Returns whether what runs the products multiplies bfloat16 itself.

    Args:
        cpuinfo: What Linux says of the processors (x86).
        gpus: Compute capability of each GPU, None where it is not known; with
            any, the processors do not count.
    """
    gpus = list(gpus)
    if gpus:
        return all(gpu is not None and gpu >= _OLDEST_GPU for gpu in gpus)
    lines = [line for line in cpuinfo.splitlines() if line.startswith("flags")]
    return bool(lines) and all(_CPU_FLAGS & set(line.split()) for line in lines)


def is_native_here() -> bool:
    """Returns whether this process's device multiplies bfloat16 itself."""
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    cpuinfo = _CPUINFO.read_text() if _CPUINFO.is_file() else ""
    return multiplies_bfloat16(cpuinfo, gpus)
