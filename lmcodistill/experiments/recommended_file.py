"""Writes a choice as a gin file that `lmcodistill train` takes as it is."""

import textwrap
from collections.abc import Iterator, Sequence

from lmcodistill.config import reader, shipped
from lmcodistill.experiments import recommendation

AT_EQUAL_DEVICE_SECONDS = "recommended.gin"
AT_EQUAL_INFERENCE_COST = "recommended_at_any_training_cost.gin"


def text_of(
    choice: recommendation.Choice,
    gin_files: Sequence[str],
    recipe: Sequence[str],
    command: Sequence[str],
) -> str:
    """Returns a gin file.

    Shipped files are included; of others, which it may not reach, it has every line.

    Args:
        choice: What is recommended.
        gin_files: Of the comparison.
        recipe: `NAME=VALUE` of what the arm sets beside them, seeds apart.
        command: What trains it, by lines.
    """
    lines = [
        f"# The best single model {choice.question}.",
        "#",
        *(f"#   {line}" for line in textwrap.wrap(choice.reason, 80)),
        f"#   {choice.arm.name} is {choice.arm.description}.",
        "#",
        "# By `lmcodistill compare`, whose report.html has the rest. To train it:",
        "#",
        *(f"#   {line}" for line in command),
    ]
    if choice.arm.taught_by:
        lines += ["#", "# Its teachers are the comparison's own, of the first seed."]
    lines.append("")
    statements = [line for name in gin_files for line in _of_file(name)]
    if recipe:
        statements += ["", "# The comparison's own settings, and the arm's."]
    statements += [reader.read_binding(binding) for binding in recipe]
    if choice.stop_at_step:
        statements += [
            "",
            "# Where its device seconds were spent, or it was best within them. A",
            "# NUM_TRAIN_STEPS that ends there, and schedules with it, was not tried.",
            reader.read_binding(f"Training.stop_at_step={choice.stop_at_step}"),
        ]
    return "\n".join([*lines, *_written(statements)]) + "\n"


def _of_file(name: str) -> Iterator[str | reader.Statement]:
    """Yields what stands for a file: lines as they are, and what is set."""
    path = reader.find_file(name)
    root = shipped.root()
    if path.resolve().is_relative_to(root.resolve()):
        yield f"include '{path.resolve().relative_to(root.resolve()).as_posix()}'"
        return
    yield f"# What {path.name} says."
    yield from reader.read_file(path, root / "defaults/train.gin")


def _written(statements: Sequence[str | reader.Statement]) -> Iterator[str]:
    """Yields the lines; of two that set the same, the second, which is what counts."""
    last = {s.target: s for s in statements if not isinstance(s, str)}
    for statement in statements:
        if isinstance(statement, str):
            yield statement
        elif statement is last[statement.target]:
            yield f"{statement.target} = {_value(statement.value)}"


def _value(value: object) -> str:
    # A word without quotes on the command line is a string.
    return repr(value.text if isinstance(value, reader.BareWord) else value)
