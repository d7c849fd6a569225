r"""Report the held-out cross entropy of exports.

Every token of the split, or of a part of it, is scored once. With several exports
each is scored, and then their ensemble: the mean of their probabilities.
Cross entropy and perplexity per token depend on the vocabulary; perplexity per word
and bits per byte do not, where its tokens give the text back. Where they do not,
because words are unknown or digits are all 0, the text that was scored is an easier
one, and marks of paragraphs cost nats and are no text: such figures have a star, and
`text_lost` in --json says why. Of a part nobody knows the words and bytes. Words are
the text's: a published perplexity of the Penn Treebank, which counts the ends of
sentences as words, is that per token.

Examples:
  lmcodistill evaluate --data_dir DATA --export RUN/students/0
  lmcodistill evaluate --data_dir DATA --export RUN/students/0 RUN/students/1
  lmcodistill evaluate --data_dir DATA --split test --streams 1 \
    --export RUN/students/0/exports/export-000030199-i1
"""

import json
import math
from typing import TYPE_CHECKING, Any

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags, export_flags, progress_lines
from lmcodistill.commands.start_tensorflow import start_tensorflow
from lmcodistill.data import shards, windows
from lmcodistill.exports import lookup

if TYPE_CHECKING:
    from lmcodistill.exports import reader as exports_lib

ARGUMENTS = "[EXPORT ...]"
READS_GIN = False


def define_flags(define: command_flags.Definer) -> None:
    """Defines what to score, and how it is read."""
    define.path("data_dir", "The data folder that prep made.", command_flags.COPY_IT)
    define.strings(
        "export",
        [],
        "An export's folder, or a student's, whose newest export is meant; or the "
        "URL of one.",
    )
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
    paths = [*flag_values.export, *arguments]
    if not flag_values.data_dir or not paths:
        raise errors.UsageError(
            "evaluate needs --data_dir and at least one --export; "
            "`lmcodistill evaluate --help` has examples."
        )
    data = shards.ShardSet(flag_values.data_dir)
    split = data.held_out_split(flag_values.split)
    key = export_flags.key(flag_values)
    snapshots = [lookup.find(path, key) for path in paths]
    # TensorFlow takes seconds to import; everything above is checked without.
    start_tensorflow()
    from lmcodistill.exports import manifest, reader
    from lmcodistill.inference import evaluation

    of_data = data.manifest
    expected = manifest.Expected(of_data.vocabulary, of_data.vocab_size)
    exports = [reader.read(snapshot, expected) for snapshot in snapshots]
    scored = windows.EvaluationWindows(
        data.tokens_of(split),
        streams=flag_values.lanes,
        window=flag_values.window,
        end_id=of_data.end_id,
        reset_at_documents=evaluation.reset_at_documents(exports),
        first_token=flag_values.first_token,
        max_tokens=flag_values.tokens or None,
    )
    groups = [[export] for export in exports] + ([exports] if len(exports) > 1 else [])
    results = [_score(scored, split, group) for group in groups]
    lost = data.text_lost(split)
    if flag_values.json:
        found = {"split": flag_values.split, "text_lost": lost, "results": results}
        print(json.dumps(found))
        return
    _print_table(results, lost)


def _score(
    scored: windows.EvaluationWindows,
    split: shards.Split,
    exports: list["exports_lib.Export"],
) -> dict[str, Any]:
    """Scores one export, or the ensemble of several."""
    from lmcodistill.inference import evaluation

    name = exports[0].label if len(exports) == 1 else f"ensemble of {len(exports)}"
    progress = progress_lines.ProgressLines(name, scored.num_windows, "windows")
    evaluator = evaluation.Evaluator([export.build() for export in exports])
    [nats], tokens = evaluator.totals(scored, 0, scored.streams, progress)
    is_whole = tokens == split.tokens
    per_word = math.exp(min(nats / max(split.words, 1), 700.0))
    bits_per_byte = nats / math.log(2.0) / max(split.bytes, 1)
    return {
        "name": name,
        "exports": [export.source for export in exports],
        "steps": [export.step for export in exports],
        "tokens": tokens,
        "cross_entropy": nats / tokens,
        "perplexity_per_token": math.exp(nats / tokens),
        "perplexity_per_word": per_word if is_whole else None,
        "bits_per_byte": bits_per_byte if is_whole else None,
    }


def _print_table(results: list[dict[str, Any]], lost: str | None) -> None:
    import rich.console
    import rich.table

    table = rich.table.Table(
        "model", "nats/token", "ppl/token", "ppl/word", "bits/byte", "tokens"
    )
    for result in results:
        table.add_row(
            result["name"],
            f"{result['cross_entropy']:.4f}",
            f"{result['perplexity_per_token']:.2f}",
            _number(result["perplexity_per_word"], ".2f", lost),
            _number(result["bits_per_byte"], ".4f", lost),
            f"{result['tokens']:,}",
        )
    console = rich.console.Console()
    console.print(table)
    if lost:
        console.print(f"* not to be compared with other vocabularies: {lost}.")


def _number(value: float | None, form: str, lost: str | None) -> str:
    star = "*" if lost else ""
    return "-" if value is None else f"{value:{form}}{star}"
