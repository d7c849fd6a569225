"""What TensorFlow reads from the environment, set before anything imports it.

TensorFlow looks at these variables once, when it is loaded; a process inherits
them from the one that started it. What is set already stays.
"""

import os

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
