"""Continue a text with an export.

Samples one token at a time from the model's distribution. The vocabulary
travels with the export, so nothing else is needed. The same --seed gives the
same text.

Examples:
  lmcodistill generate --export RUN/students/0 --prompt 'The meaning of'
  lmcodistill generate --export RUN/students/0 --samples 3 --temperature 0.8
  echo 'Once upon a time' | lmcodistill generate --export RUN/students/0 --prompt -
"""

import json
import sys
import unicodedata

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags, export_flags
from lmcodistill.commands.start_tensorflow import start_tensorflow
from lmcodistill.exports import lookup

READS_GIN = False
_MAX_PROMPT_BYTES = 1 << 20


def define_flags(define: command_flags.Definer) -> None:
    """Defines the model, the beginning, and how to sample."""
    export_flags.define_export(define)
    export_flags.define_key(define)
    define.string("prompt", "", "How the text begins; - reads it.")
    most_tokens, most_rows = command_flags.MOST_TOKENS, command_flags.MOST_ROWS
    define.integer("tokens", 64, "Most tokens to add.", 1, most_tokens)
    define.integer("samples", 1, "How many texts.", 1, most_rows)
    define.float(
        "temperature", 1.0, "Divides the logits; 0 takes the most likely token.", 0.0
    )
    define.integer("seed", 0, "Of the sampling.", 0)


def run(flag_values: flags.FlagValues) -> None:
    """Prints the texts; see the module's text."""
    if not flag_values.export:
        raise errors.UsageError(
            "generate needs --export, a student's folder or an export's; "
            "`lmcodistill generate --help` has examples."
        )
    prompt = _prompt(flag_values.prompt)
    snapshot = lookup.find(flag_values.export, export_flags.key(flag_values))
    # TensorFlow takes seconds to import; everything above is checked without.
    start_tensorflow()
    from lmcodistill.exports import reader
    from lmcodistill.inference import sampling

    vocabulary = reader.vocabulary_of(snapshot)
    texts = sampling.continuations(
        reader.read(snapshot).build(),
        vocabulary,
        prompt,
        num_samples=flag_values.samples,
        num_tokens=flag_values.tokens,
        temperature=flag_values.temperature,
        seed=flag_values.seed,
    )
    if flag_values.json:
        print(json.dumps({"prompt": prompt, "texts": texts}))
        return
    for text in texts:
        print(_printable(text))


def _prompt(given: str) -> str:
    """Returns the text to go on from; what is no UTF-8 becomes U+FFFD, as in prep.

    Raises:
        UsageError: standard input has no end in sight.
    """
    if given != "-":
        # What the command line has of such bytes are surrogates.
        return given.encode(errors="surrogateescape").decode(errors="replace")
    content = sys.stdin.buffer.read(_MAX_PROMPT_BYTES + 1)
    if len(content) > _MAX_PROMPT_BYTES:
        raise errors.UsageError(
            f"standard input has more than {_MAX_PROMPT_BYTES:,} bytes; a prompt is a "
            "few words. Give its last paragraphs."
        )
    return content.decode(errors="replace").rstrip("\n")


def _printable(text: str) -> str:
    """Returns the text without control characters: a corpus may hold escapes."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) != "Cc" else f"\\x{ord(c):02x}"
        for c in text
    )
