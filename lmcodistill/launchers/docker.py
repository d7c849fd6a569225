"""The Dockerfile of an image that has the program."""

import lmcodistill
from lmcodistill.launchers import template

# The same release as the package's own, with NVIDIA's libraries.
_CUDA = ' "tensorflow[and-cuda]"'


def text(gpus: int) -> str:
    """Returns the Dockerfile; with CUDA's libraries where workers have GPUs."""
    return template.render(
        "Dockerfile",
        version=lmcodistill.__version__,
        cuda=_CUDA if gpus else "",
    )
