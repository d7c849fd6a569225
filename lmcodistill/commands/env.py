"""Show what a report of a fault should tell of this machine; no secrets.

Examples:
  lmcodistill env
  lmcodistill env --json
"""

import importlib.metadata
import json
import os
import pathlib
import platform
import shutil

from absl import flags

import lmcodistill
from lmcodistill import tf_environment
from lmcodistill.commands import command_flags

READS_GIN = False

_PACKAGES = (
    *("tensorflow", "tensorflow-text", "numpy", "sentencepiece", "gin-config"),
    *("absl-py", "fsspec", "s3fs", "gcsfs", "pyspark", "resiliparse"),
)
# Others may hold what should stay at home.
_VARIABLES = (
    *("TF_CONFIG", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "XLA_FLAGS"),
    *("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    *("SLURM_JOB_ID", "SLURM_NNODES", "SPARK_HOME", "JAVA_HOME", "PYTHONPATH"),
)


def define_flags(define: command_flags.Definer) -> None:
    """Defines none beyond those of every command."""


def run(flag_values: flags.FlagValues) -> None:
    """Shows the machine."""
    found = {
        "lmcodistill": lmcodistill.__version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
        "memory": _gib(_memory_bytes()),
        "free on this disk": _gib(shutil.disk_usage(pathlib.Path.cwd()).free),
        "devices": _devices(),
        **{name: version for name in _PACKAGES if (version := _version(name))},
        **{name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }
    if flag_values.json:
        print(json.dumps(found))
        return
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:<{width}}  {value}")


def _devices() -> str:
    """Returns what TensorFlow computes on."""
    tf_environment.start()
    import tensorflow as tf

    found = []
    for device in tf.config.list_physical_devices():
        details = tf.config.experimental.get_device_details(device)
        found.append(details.get("device_name") or device.name)
    return ", ".join(found)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
