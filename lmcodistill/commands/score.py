"""Say how probable texts are to an export, or to the ensemble of several.

Each line of the file is a text of its own, read from its beginning. A text's
nats are the cross entropy of all its tokens, the end of the text included; bits
per byte do not depend on the vocabulary, perplexity per token does.

Examples:
  lmcodistill score FILE --export RUN/students/0
  lmcodistill score FILE --export RUN --json
  echo 'Is it likely?' | lmcodistill score - --export RUN/students/0 --per_token
"""

import itertools
import json
import shutil
from typing import Any

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags, export_flags, plain_text
from lmcodistill.inference import loading, scores

ARGUMENTS = "FILE"
READS_GIN = False
# Texts that are scored together; their results appear together as well.
_BLOCK = 1_024
_HEADINGS = f"{'nats':>12} {'tokens':>9} {'ppl/token':>10} {'bits/byte':>9}  text"


def define_flags(define: command_flags.Definer) -> None:
    """Defines the model, and how much is said."""
    export_flags.define_exports(define)
    define.require("export")
    export_flags.define_key(define)
    define.bool("per_token", False, "Show each token's nats as well.")


def run(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Prints the scores; see the module's text."""
    flag_values.refuse_missing()
    if len(arguments) != 1:
        raise errors.UsageError(
            "score needs one FILE, - for standard input; `--help` has examples."
        )
    texts = plain_text.lines(arguments[0])
    # What cannot be read is refused before TensorFlow is imported.
    block = list(itertools.islice(texts, _BLOCK))
    if not block:
        raise errors.DataError(
            f"{arguments[0]} is empty. Give a file with one text a line."
        )
    predictor = loading.load(*flag_values.export, key=export_flags.key(flag_values))
    if not flag_values.json:
        print(_HEADINGS)
    results: list[dict[str, Any]] = []
    totals, count = [], 0
    while block:
        scored = predictor.score(block, per_token=flag_values.per_token)
        totals.append(scores.total(scored))
        count += len(block)
        if flag_values.json:
            results += map(_result, scored)
        else:
            for text, score in zip(block, scored, strict=True):
                _print(text, score)
        block = list(itertools.islice(texts, _BLOCK))
    total = scores.total(totals)
    if flag_values.json:
        exports = [member.export.source for member in predictor.members]
        print(json.dumps({"exports": exports, "texts": results, **_result(total)}))
        return
    _print(f"({count:,} in all)", total)


def _result(score: scores.TextScore) -> dict[str, Any]:
    """Returns a score as JSON has it."""
    by_token = {}
    if score.tokens is not None:
        by_token["by_token"] = [[token.piece, token.nats] for token in score.tokens]
    return {
        "nats": score.nats,
        "tokens": score.num_tokens,
        "bytes": score.num_bytes,
        "cross_entropy": score.cross_entropy,
        "perplexity_per_token": score.perplexity,
        "bits_per_byte": score.bits_per_byte,
        **by_token,
    }


def _print(text: str, score: scores.TextScore) -> None:
    bits = score.bits_per_byte
    numbers = (
        f"{score.nats:12,.4f} {score.num_tokens:9,} {score.perplexity:10,.2f} "
        f"{'-' if bits is None else format(bits, '.4f'):>9}  "
    )
    room = max(shutil.get_terminal_size().columns - len(numbers), 20)
    shown = plain_text.printable(text).replace("\t", " ")
    print(numbers + (shown if len(shown) <= room else f"{shown[: room - 3]}..."))
    for token in score.tokens or ():
        print(f"{token.nats:12,.4f}  {plain_text.printable(token.piece)}")
