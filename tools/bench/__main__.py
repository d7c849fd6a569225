"""Runs a benchmark: `python -m tools.bench NAME FLAGS...`; each NAME has --help.

train     our training step, beside any rival and beside the floor
step      steps of ours alone, as one line of JSON
exchange  publishing, reading and swapping teachers
reader    tokens a second from shards
plan      what `lmcodistill plan` predicts, beside what training takes
prep      CPU seconds of each stage of prep, beside datatrove
dedup     the search for copies: what it finds, costs and holds
"""

import importlib
import sys

from lmcodistill import errors

NAMES = ("train", "step", "exchange", "reader", "plan", "prep", "dedup")


def main() -> int:
    """Hands the flags to the benchmark that the first word names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in NAMES:
        asked = name in ("-h", "--help")
        print(__doc__, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    sys.argv[:2] = [f"python -m tools.bench {name}"]
    try:
        importlib.import_module(f"tools.bench.{name}").main()
    except errors.LmcodistillError as error:
        print(f"{sys.argv[0]}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
