r"""Report the held-out cross entropy of exports.

Every token of the split, or of a part of it, is scored once. With several
exports each is scored, and then their ensemble: the mean of their
probabilities. Of a run all students are scored. Cross entropy and perplexity
per token depend on the vocabulary; perplexity per word and bits per byte do
not, where its tokens give the text back. Where they do not, because words are
unknown or digits are all 0, the text that was scored is an easier one, and
marks of paragraphs cost nats and are no text: such figures have a star, and
`text_lost` in --json says why. Of a part nobody knows the words and bytes.
Words are the text's: a published perplexity of the Penn Treebank, which counts
the ends of sentences as words, is that per token.

Examples:
  lmcodistill evaluate --data_dir DATA --export RUN
  lmcodistill evaluate --data_dir DATA --export RUN/students/0 RUN/students/1
  lmcodistill evaluate --data_dir DATA --split test --lanes 1 \
    --export RUN/students/0/exports/export-000030199-i1
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags, export_flags, progress_lines
from lmcodistill.inference import loading

if TYPE_CHECKING:
    from lmcodistill.data import shards
    from lmcodistill.inference import predictor as predictor_lib

ARGUMENTS = "[EXPORT ...]"
READS_GIN = False
_HEAD = ("model", "nats/token", "ppl/token", "ppl/word", "bits/byte", "tokens")


def define_flags(define: command_flags.Definer) -> None:
    """Defines what to score, and how it is read."""
    define.path("data_dir", "The data folder that prep made.", command_flags.COPY_IT)
    define.require("data_dir")
    export_flags.define_exports(define)
    export_flags.define_key(define)
    define.string("split", "validation", "Which held-out split.")
    define.integer(
        "lanes",
        32,
        "Rows that the text is read in; each starts without context.",
        1,
        command_flags.MOST_ROWS,
    )
    define.integer(
        "window", 32, "Tokens of a row read at once.", 1, command_flags.MOST_ROWS
    )
    define.integer("first_token", 0, "Where the text that is scored begins.", 0)
    define.integer("tokens", 0, "Tokens of it to score; 0: all from there on.", 0)


def run(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Scores the exports; see the module's text."""
    flag_values.refuse_missing()
    paths = [*flag_values.export, *arguments]
    if not paths:
        raise errors.UsageError(
            "evaluate needs at least one --export; `--help` has examples."
        )
    from lmcodistill.data import shards

    data = shards.ShardSet(flag_values.data_dir)
    split = data.held_out_split(flag_values.split)
    ensemble = loading.load(*paths, key=export_flags.key(flag_values))
    ensemble.require_one_reading()
    students = ensemble.students()
    predictors = [*students, ensemble] if len(students) > 1 else students
    results = [_score(flag_values, data, predictor) for predictor in predictors]
    lost = data.text_lost(split)
    if flag_values.json:
        found = {"split": flag_values.split, "text_lost": lost, "results": results}
        print(json.dumps(found))
        return
    _print_table(results, lost)


def _score(
    flag_values: flags.FlagValues,
    data: shards.ShardSet,
    predictor: predictor_lib.Predictor,
) -> dict[str, Any]:
    """Scores one export, or the ensemble of several."""
    score = predictor.evaluate(
        data,
        split=flag_values.split,
        lanes=flag_values.lanes,
        window=flag_values.window,
        first_token=flag_values.first_token,
        max_tokens=flag_values.tokens or None,
        progress=functools.partial(
            progress_lines.ProgressLines, predictor.label, unit="windows"
        ),
    )
    return {
        "name": predictor.label,
        "exports": [member.export.source for member in predictor.members],
        "steps": [member.export.step for member in predictor.members],
        "tokens": score.num_tokens,
        "cross_entropy": score.cross_entropy,
        "perplexity_per_token": score.perplexity,
        "perplexity_per_word": score.word_perplexity,
        "bits_per_byte": score.bits_per_byte,
    }


def _print_table(results: list[dict[str, Any]], lost: str | None) -> None:
    import rich.console

    from lmcodistill.report import terminal

    rows = [
        [
            result["name"],
            f"{result['cross_entropy']:.4f}",
            f"{result['perplexity_per_token']:.2f}",
            _number(result["perplexity_per_word"], ".2f", lost),
            _number(result["bits_per_byte"], ".4f", lost),
            f"{result['tokens']:,}",
        ]
        for result in results
    ]
    console = rich.console.Console()
    terminal.show(console, _HEAD, rows)
    if lost:
        console.print(f"* not to be compared with other vocabularies: {lost}.")


def _number(value: float | None, form: str, lost: str | None) -> str:
    star = "*" if lost else ""
    return "-" if value is None else f"{value:{form}}{star}"
