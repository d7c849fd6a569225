"""Write a model that takes text and answers with text.

The result is a SavedModel with the tokenizer inside, for TensorFlow Serving or
any program with tensorflow and tensorflow-text. Signatures:

  score     texts [B] -> cross_entropy [B] in nats, num_tokens [B]
  complete  texts [B] -> texts [B], each continued by its most likely tokens

A program that loads it imports tensorflow_text first; docs/guide/python.md
shows how.

Examples:
  lmcodistill export --export RUN/students/0 --output_dir SERVING/1
  saved_model_cli show --dir SERVING/1 --all
"""

import json

from absl import flags

from lmcodistill import errors, tf_environment
from lmcodistill.commands import command_flags, export_flags
from lmcodistill.exports import lookup
from lmcodistill.inference import loading
from lmcodistill.storage import places

READS_GIN = False


def define_flags(define: command_flags.Definer) -> None:
    """Defines what to export, and where to."""
    export_flags.define_export(define)
    define.place("output_dir", "Where to write, a path or a URL; must not exist.")
    define.require("export", "output_dir")
    export_flags.define_key(define)
    define.integer(
        "complete_tokens",
        32,
        "Tokens that the signature `complete` adds.",
        1,
        command_flags.MOST_TOKENS,
    )


def run(flag_values: flags.FlagValues) -> None:
    """Writes the model; see the module's text."""
    flag_values.refuse_missing()
    target = flag_values.output_dir
    if places.is_there(target):
        raise errors.UsageError(
            f"{target} exists and is not overwritten; name another --output_dir."
        )
    snapshot = lookup.find(flag_values.export, export_flags.key(flag_values))
    predictor = loading.read([snapshot])
    from lmcodistill.inference import serving

    # SentencePiece says what it finds in every vocabulary.
    with tf_environment.quiet():
        serving.write(
            predictor.members[0].model,
            predictor.vocabulary,
            target,
            complete_tokens=flag_values.complete_tokens,
        )
    result = {"output_dir": str(target), "step": snapshot.step}
    print(json.dumps(result) if flag_values.json else f"Wrote {target}")
