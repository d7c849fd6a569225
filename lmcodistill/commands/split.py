"""Deal the training text of a data folder into another number of partitions.

A student needs a partition of its own. This deals finished data anew, without a
new prep: the result is what `prep` with that NUM_PARTITIONS would have written.
Held-out text stays as it is.

Examples:
  lmcodistill split DATA --partitions 2
  lmcodistill split DATA --partitions 4 --output_dir DATA_OF_FOUR
"""

import json

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags, next_command, operands
from lmcodistill.storage import layout

ARGUMENTS = "DATA"
READS_GIN = False


def define_flags(define: command_flags.Definer) -> None:
    """Defines into what, and where it goes."""
    most = command_flags.MOST_PROCESSES
    define.integer("partitions", 2, "Partitions, one for each student.", 1, most)
    define.path("output_dir", "The new folder; by default DATA-N for N of them.")


def run(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Writes the new folder."""
    data = operands.data_folder(arguments, "split DATA --partitions 2")
    count = flag_values.partitions
    output = flag_values.output_dir or data.with_name(f"{data.name}-{count}")
    manifest_file = layout.DataLayout(output).manifest
    if manifest_file.exists():
        raise errors.UsageError(
            f"{output} is a finished data folder and is not written to. Give another "
            "--output_dir, or train on that one."
        )
    # A mistake among the flags is found without all of this.
    from data_prep import progress
    from data_prep.run import redeal

    manifest = redeal.redeal(data, count, output, progress.Display())
    sizes = {split.name: split.tokens for split in manifest.train}
    if flag_values.json:
        print(json.dumps({"output_dir": str(output), "train": sizes}))
        return
    for name, tokens in sizes.items():
        print(f"{name}  {tokens:,} tokens")
    print(f"Wrote {output}")
    print(f"Next:\n  {next_command.after_data(output, count)}")
