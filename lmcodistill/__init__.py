"""Codistillation of language models at scale (Anil et al. 2018, arXiv:1804.03235).

The public Python interface, which docs/guide/python.md shows at work:

    students = lmcodistill.load("RUN")        # as an ensemble; or one: RUN/students/0
    students.score(["A text."])               # [TextScore]: nats, tokens, bytes
    students.generate("The meaning of")       # [str]
    students.evaluate("DATA", split="test")   # SplitScore
    students.vocabulary.encode("A text.")     # [int]
    lmcodistill.read_metrics("RUN")           # [dict]

Errors that people can act on are those of `lmcodistill.errors`, and say what to do.
All else in this package may change between versions. Importing it imports no
TensorFlow: `lmcodistill --help` stays quick.
"""

import importlib

from lmcodistill import errors

__version__ = "0.1.0"
__all__ = [
    "Predictor",
    "SplitScore",
    "TextScore",
    "TokenScore",
    "errors",
    "load",
    "read_metrics",
]

# Where the names are that are imported when they are first asked for; for type
# checkers, `__init__.pyi` says what they are.
_MODULES = {
    "load": "inference.loading",
    "Predictor": "inference.predictor",
    "SplitScore": "inference.scores",
    "TextScore": "inference.scores",
    "TokenScore": "inference.scores",
    "read_metrics": "storage.run_metrics",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
