"""TensorFlow started: what it reads from the environment, and an import in silence.

TensorFlow looks at these variables once, when it is loaded; a process inherits
them from the one that started it. What is set already stays. Importing this module
imports no TensorFlow.
"""

import contextlib
import gc
import os
import sys
import tempfile
import types
from collections.abc import Iterator

_KERAS = "keras.src.optimizers"
DEFAULTS = {
    # TensorFlow's own news is not the operator's; 0 shows it all.
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # oneDNN's products. TensorFlow switches them on by itself only where the CPU
    # has AVX512 or AMX; with AVX2 alone they are faster as well: the step of the
    # paper's model took 4.5 CPU seconds with them, 7.0 without (2026-11-22).
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


def prepare() -> None:
    """Sets the defaults, for this process and those that it starts."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def of_threads(count: int) -> dict[str, str]:
    """Returns the variables of a worker whose arithmetic has `count` threads."""
    return {
        "TF_NUM_INTRAOP_THREADS": str(count),
        # A collective blocks a thread: one more must stay free.
        "TF_NUM_INTEROP_THREADS": str(max(2, count)),
        "OMP_NUM_THREADS": str(count),
    }


def start() -> None:
    """Imports TensorFlow and looks for devices, quietly.

    It says on standard error that this machine has no GPU, in words that look like
    an error, before any log level counts.
    """
    prepare()
    with quiet(), lean_import():
        import tensorflow as tf

        tf.config.list_physical_devices()
        # It warns of collectives that are traced once for each of a model's
        # shapes. What must be traced only once is counted in the log.
        tf.get_logger().setLevel("ERROR")


@contextlib.contextmanager
def lean_import() -> Iterator[None]:
    """Lets TensorFlow be imported in half of its time: 1.9 of 4.8 CPU seconds.

    It imports Keras for what that registers, and with Keras come pandas, Matplotlib and
    IPython where they are installed. `tf.keras` still imports it when it is asked for,
    which nothing here does. And modules are objects by the million that stay until the
    end: each look for garbage would go through all of them, while they are imported,
    while an update is traced, and when the process ends (0.5 of 2.08 CPU seconds of one
    that imports and ends, 2026-12-01).
    """
    if "tensorflow" in sys.modules:  # Or what is garbage by now would stay.
        yield
        return
    has_keras, looks_for_garbage = _KERAS in sys.modules, gc.isenabled()
    sys.modules.setdefault(_KERAS, types.ModuleType(_KERAS))
    gc.disable()
    try:
        yield
    finally:
        if not has_keras:
            del sys.modules[_KERAS]
        gc.freeze()
        if looks_for_garbage:
            gc.enable()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps back what libraries write to standard error; shown where they fail."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            with contextlib.suppress(OSError):
                os.write(stderr, said.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
