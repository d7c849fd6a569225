"""Continue texts with an export, or with the ensemble of several.

Samples one token at a time from the model's distribution. The vocabulary
travels with the export, so nothing else is needed. The same --seed gives the
same text.

Without --prompt, each line of standard input is a prompt. At a terminal this is
a dialogue, which Ctrl-D ends. The second prompt is sampled with the seed after
--seed, and so on; --json prints one object a line.

Examples:
  lmcodistill generate --export RUN/students/0 --prompt 'The meaning of'
  lmcodistill generate --export RUN/students/0 --samples 3 --temperature 0.8
  lmcodistill generate --export RUN --json < PROMPTS
  echo 'Once upon' | lmcodistill generate --export RUN/students/0 --prompt -
"""

import contextlib
import json
import sys
from collections.abc import Iterator

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags, export_flags, plain_text
from lmcodistill.inference import loading

READS_GIN = False
_MAX_PROMPT_BYTES = 1 << 20


def define_flags(define: command_flags.Definer) -> None:
    """Defines the model, the beginning, and how to sample."""
    export_flags.define_exports(define)
    define.require("export")
    export_flags.define_key(define)
    define.string(
        "prompt",
        None,
        "How the text begins; - reads all of standard input as one prompt.",
    )
    most_tokens, most_rows = command_flags.MOST_TOKENS, command_flags.MOST_ROWS
    define.integer("tokens", 64, "Most tokens to add.", 1, most_tokens)
    define.integer("samples", 1, "How many texts.", 1, most_rows)
    define.float(
        "temperature", 1.0, "Divides the logits; 0 takes the most likely token.", 0.0
    )
    define.integer("seed", 0, "Of the sampling.", 0)


def run(flag_values: flags.FlagValues) -> None:
    """Prints the texts; see the module's text."""
    flag_values.refuse_missing()
    predictor = loading.load(*flag_values.export, key=export_flags.key(flag_values))
    is_dialogue = flag_values.prompt is None and sys.stdin.isatty()
    for index, prompt in enumerate(_prompts(flag_values.prompt)):
        with _mistakes_shown(is_dialogue):
            texts = predictor.generate(
                prompt,
                num_samples=flag_values.samples,
                num_tokens=flag_values.tokens,
                temperature=flag_values.temperature,
                seed=flag_values.seed + index,
            )
            if flag_values.json:
                print(json.dumps({"prompt": prompt, "texts": texts}), flush=True)
                continue
            for text in texts:
                print(plain_text.printable(text), flush=True)


def _prompts(given: str | None) -> Iterator[str]:
    """Yields the prompts; at a terminal each is asked for."""
    if given == plain_text.STDIN:
        yield plain_text.whole(given, _MAX_PROMPT_BYTES)
    elif given is not None:
        yield given
    elif sys.stdin.isatty():
        yield from _asked()
    else:
        is_empty = True
        for line in plain_text.lines(plain_text.STDIN):
            is_empty = False
            yield line
        if is_empty:  # Nobody is there to ask: the text begins as documents do.
            yield ""


def _asked() -> Iterator[str]:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, lets `input` edit lines and remember them
    print("How does the text begin? Ctrl-D ends.", file=sys.stderr)
    while True:
        try:
            yield input("> ")
        except EOFError:
            print(file=sys.stderr)
            return
        except UnicodeDecodeError:
            print("That was no UTF-8; once more, please.", file=sys.stderr)


@contextlib.contextmanager
def _mistakes_shown(is_dialogue: bool) -> Iterator[None]:
    """Lets a dialogue go on after a prompt that cannot be used."""
    try:
        yield
    except errors.UsageError as error:
        if not is_dialogue:
            raise
        print(error, file=sys.stderr)
