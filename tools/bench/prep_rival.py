r"""Runs datatrove over a WET file, for `prep`, in datatrove's own venv.

WET reading, language, Gopher quality and repetition, MinHash (14 x 8, word 5-grams),
tokenization and the shuffle, with the classes that datatrove has for them.

Example:
  datatrove-venv/bin/python -W ignore tools/bench/prep_rival.py crawl.warc.wet.gz out \
    --language_model lid.176.ftz --pieces pieces.json

Needs `pip install 'datatrove[io,processing]' spacy warcio tokenizers` there, and a
fastText that NumPy 2 can load. Prints one JSON object.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import time

import tokenizers
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline import filters, readers, tokens, writers
from datatrove.pipeline.dedup import minhash
from datatrove.pipeline.filters import (
    gopher_quality_filter,
    gopher_repetition_filter,
)
from datatrove.utils import lid
from datatrove.utils.logging import logger


def main() -> None:
    """Reads the flags, runs the steps, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wet", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path, help="a folder to fill")
    parser.add_argument("--language_model", required=True, help="of fastText")
    parser.add_argument("--pieces", required=True, type=pathlib.Path)
    parser.add_argument(
        "--split_words",
        action="store_true",
        help="words end at white space; else spaCy finds them, as datatrove has it",
    )
    flags = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    logger.remove()
    shutil.rmtree(flags.output, ignore_errors=True)
    flags.output.mkdir(parents=True)
    # It would be downloaded.
    lid.cached_asset_path_or_download = lambda *_, **__: flags.language_model
    config = minhash.MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    sign = minhash.MinhashDedupSignature(str(flags.output / "signatures"), config)
    if flags.split_words:
        for module in (gopher_quality_filter, gopher_repetition_filter):
            module.split_into_words = lambda text, language: text.split()
        sign.word_tokenizer = _SplitWords()
    tokenizer = flags.output / "tokenizer.json"
    _write_tokenizer(flags.pieces, tokenizer)
    seconds, begun = {}, time.process_time()
    for name, pipeline in _steps(flags, config, sign, str(tokenizer)).items():
        tasks = config.num_buckets if name == "compare" else 1
        logs = str(flags.output / "logs" / name)
        LocalPipelineExecutor(pipeline, tasks, workers=1, logging_dir=logs).run()
        seconds[name], begun = time.process_time() - begun, time.process_time()
    usage = [
        resource.getrusage(who)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    index = next((flags.output / "shards").glob("*.ds.index"))
    shard = index.with_suffix("")
    print(
        json.dumps(
            {
                "cpu_seconds": sum(use.ru_utime + use.ru_stime for use in usage),
                "stages": seconds,
                "documents": index.stat().st_size // 8,
                "tokens": shard.stat().st_size // 2,
            }
        )
    )


def _steps(flags, config, sign, tokenizer: str) -> dict[str, list]:
    kept, signatures, pairs, copies, tokenized, shards = (
        str(flags.output / name)
        for name in ("kept", "signatures", "pairs", "copies", "tokens", "shards")
    )
    wet = readers.WarcReader(str(flags.wet.parent), glob_pattern=flags.wet.name)
    return {
        "read": [
            wet,
            filters.LanguageFilter("en", language_threshold=0.5),
            filters.GopherQualityFilter(),
            filters.GopherRepetitionFilter(),
            writers.JsonlWriter(kept, compression=None),
        ],
        "sign": [readers.JsonlReader(kept), sign],
        "compare": [minhash.MinhashDedupBuckets(signatures, pairs, config=config)],
        "cluster": [minhash.MinhashDedupCluster(pairs, copies, config)],
        "tokenize": [
            readers.JsonlReader(kept),
            minhash.MinhashDedupFilter(copies),
            tokens.DocumentTokenizer(
                tokenized, tokenizer, eos_token="</s>", shuffle_documents=False
            ),
        ],
        "shuffle": [
            tokens.DocumentTokenizerMerger(
                tokenized, shards, "train", seed=0, progress=False
            )
        ],
    }


def _write_tokenizer(pieces: pathlib.Path, path: pathlib.Path) -> None:
    """Writes our vocabulary as the tokenizer that datatrove runs."""
    vocabulary = [tuple(pair) for pair in json.loads(pieces.read_text())]
    model = tokenizers.models.Unigram(vocabulary, unk_id=0, byte_fallback=True)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split("\n", "isolated"),
            tokenizers.pre_tokenizers.Metaspace(prepend_scheme="first"),
        ]
    )
    tokenizer.save(str(path))


class _SplitWords:
    """The cheapest words there are."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


if __name__ == "__main__":
    main()
