"""Whether a gin value fits the annotation of the field it is bound to.

gin itself accepts any literal anywhere. Here a bool is no int, an int is a
float, a list is a tuple, and a bare word from the command line is a string
where a string is wanted.
"""

import math
import types
import typing

from lmcodistill.config import reader

# Larger integers are typing mistakes, and too large for TensorFlow.
_MAX_INT = 1 << 63

_IN_WORDS = {
    type(None): "None",
    str: "a string",
    int: "an int",
    float: "a number",
    bool: "True or False",
}
_TUPLES = {str: "('a', 'b')", int: "(1, 2)", float: "(0.1, 0.2)"}


class MismatchError(Exception):
    """The value is not of the wanted type; the caller knows where it stood."""


def conform(value: object, annotation: typing.Any) -> object:
    """Returns `value` as the field's type wants it.

    Raises:
        MismatchError: it cannot be that type.
    """
    if isinstance(value, reader.BareWord) and str in _arms(annotation):
        return value.text
    for arm in _arms(annotation):
        inner = typing.get_args(arm)
        if typing.get_origin(arm) is tuple and isinstance(value, tuple | list):
            if inner[1:] == (...,):
                inner = inner[:1] * len(value)
            if len(inner) == len(value):
                return tuple(map(conform, value, inner))
        elif _is_extreme(value):
            continue
        elif arm is float and type(value) is int:
            return float(value)
        elif type(value) is arm:
            return value
    raise MismatchError


def describe(annotation: typing.Any) -> str:
    """Returns the type in words: `int or None`."""
    words = []
    for arm in _arms(annotation):
        if typing.get_origin(arm) is tuple:
            inner = typing.get_args(arm)[0]
            words.append(f"a tuple such as {_TUPLES.get(inner, '(a, b)')}")
        else:
            words.append(_IN_WORDS.get(arm, arm.__name__))
    return " or ".join(words)


def in_words(value: object) -> str:
    """Returns a value and its type in words, for the end of a refusal."""
    if isinstance(value, reader.BareWord):
        return f"the word {reader.shortened(repr(value.text))}"
    if value is None:
        return "None"
    return f"{reader.shortened(repr(value))} ({type(value).__name__})"


def _arms(annotation: typing.Any) -> tuple[typing.Any, ...]:
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return typing.get_args(annotation)
    return (annotation,)


def _is_extreme(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and abs(value) >= _MAX_INT
