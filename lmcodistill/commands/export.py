"""Write a model that takes text and answers with text.

The result is a SavedModel with the tokenizer inside, for TensorFlow Serving or
any program with tensorflow and tensorflow-text. Signatures:

  score     texts [B] -> cross_entropy [B] in nats, num_tokens [B]
  complete  texts [B] -> texts [B], each continued by its most likely tokens

Examples:
  lmcodistill export --export RUN/students/0 --output_dir SERVING/1
  saved_model_cli show --dir SERVING/1 --all
"""

import json

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags, export_flags
from lmcodistill.commands.start_tensorflow import start_tensorflow
from lmcodistill.exports import lookup
from lmcodistill.storage import places

READS_GIN = False


def define_flags(define: command_flags.Definer) -> None:
    """Defines what to export, and where to."""
    export_flags.define_export(define)
    export_flags.define_key(define)
    define.place("output_dir", "Where to write, a path or a URL; must not exist.")
    define.integer(
        "complete_tokens",
        32,
        "Tokens that the signature `complete` adds.",
        1,
        command_flags.MOST_TOKENS,
    )


def run(flag_values: flags.FlagValues) -> None:
    """Writes the model; see the module's text."""
    if not flag_values.export or not flag_values.output_dir:
        raise errors.UsageError(
            "export needs --export and --output_dir; `lmcodistill export --help` has "
            "examples."
        )
    target = flag_values.output_dir
    if places.is_there(target):
        raise errors.UsageError(
            f"{target} exists and is not overwritten; name another --output_dir."
        )
    snapshot = lookup.find(flag_values.export, export_flags.key(flag_values))
    # TensorFlow takes seconds to import; everything above is checked without.
    start_tensorflow()
    from lmcodistill.exports import reader
    from lmcodistill.inference import serving

    serving.write(
        reader.read(snapshot).build(),
        reader.vocabulary_of(snapshot),
        target,
        complete_tokens=flag_values.complete_tokens,
    )
    result = {"output_dir": str(target), "step": snapshot.step}
    print(json.dumps(result) if flag_values.json else f"Wrote {target}")
