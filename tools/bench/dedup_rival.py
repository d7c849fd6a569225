r"""Runs datatrove's MinHash steps, for `dedup`, in datatrove's own venv.

Example:
  datatrove-venv/bin/python tools/bench/dedup_rival.py documents.jsonl out

Needs `pip install 'datatrove[io,processing]' spacy` there. Prints one JSON object: CPU
seconds of the signatures and of the rest, and the ids that stay.
"""

import argparse
import json
import pathlib
import shutil
import time
from typing import Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import minhash
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.logging import logger


def main() -> None:
    """Reads the flags, runs the steps, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("documents", type=pathlib.Path, help="JSON Lines")
    parser.add_argument("output", type=pathlib.Path, help="a folder to fill")
    parser.add_argument("--signatures_only", action="store_true")
    parser.add_argument(
        "--split_words",
        action="store_true",
        help="words end at white space; else spaCy finds them, as datatrove has it",
    )
    flags = parser.parse_args()
    logger.remove()
    shutil.rmtree(flags.output, ignore_errors=True)
    config = minhash.MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    folder = str(flags.documents.parent)
    reader = JsonlReader(folder, glob_pattern=flags.documents.name)
    signatures, pairs, copies, kept = (
        str(flags.output / name) for name in ("signatures", "pairs", "copies", "kept")
    )
    sign = minhash.MinhashDedupSignature(signatures, config)
    if flags.split_words:
        sign.word_tokenizer = _SplitWords()
    logs = str(flags.output / "logs")
    result: dict[str, Any] = {"signatures_cpu": _run([reader, sign], logs + "/sign")}
    if not flags.signatures_only:
        buckets = minhash.MinhashDedupBuckets(signatures, pairs, config=config)
        result["rest_cpu"] = _run([buckets], logs + "/pairs", tasks=config.num_buckets)
        cluster = minhash.MinhashDedupCluster(pairs, copies, config)
        result["rest_cpu"] += _run([cluster], logs + "/cluster")
        filtering = minhash.MinhashDedupFilter(copies)
        writer = JsonlWriter(kept, compression=None)
        result["rest_cpu"] += _run([reader, filtering, writer], logs + "/filter")
        result["kept"] = [
            json.loads(line)["id"]
            for path in pathlib.Path(kept).iterdir()
            for line in path.read_text().splitlines()
        ]
    print(json.dumps(result))


class _SplitWords:
    """The cheapest words there are."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


def _run(pipeline: list, logs: str, tasks: int = 1) -> float:
    """Runs a pipeline in this process, and returns its CPU seconds."""
    executor = LocalPipelineExecutor(pipeline, tasks, workers=1, logging_dir=logs)
    start = time.process_time()
    executor.run()
    return time.process_time() - start


if __name__ == "__main__":
    main()
