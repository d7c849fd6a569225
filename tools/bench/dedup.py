r"""Measures the search for copies: what it finds, what it costs, what it holds.

Finds: near copies planted in real text at known similarities, and how many a search
with 14 bands of 8 finds; documents that were dropped although nothing is like them.
Costs: CPU seconds from kept documents to keys, per MB of text. Both beside
datatrove's MinHash of the same shape, where its Python is given. Holds: the peak of
memory at 1, 2 and 4 times the input, with one setting of memory.

Examples:
  python -m tools.bench dedup --books 'books/*.tar.xz' --rival VENV/bin/python
  python -m tools.bench dedup --fast --json
"""

import argparse
import glob
import io
import itertools
import json
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from data_prep import documents, progress, work
from data_prep.duplicates import copies, signatures
from data_prep.engines import local
from data_prep.run import deduplicate, stages
from lmcodistill.settings import deduplication
from lmcodistill.storage import files
from tools.bench import dedup_corpus as corpus
from tools.bench import measuring

_RIVAL = pathlib.Path(__file__).with_name("dedup_rival.py")
_PART_DOCUMENTS = 20_000
# Many rows for every byte of memory, so that growth would show.
_MEMORY_BYTES = 8 << 20
_HOT_SHARE = 10
_MEMORY_COLUMNS = ("text_mb", "row_mb", "peak_rss_mb", "cpu_seconds")


def main() -> None:
    """Reads the flags, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--books", default="", help="pattern of tar files of books")
    parser.add_argument("--rival", help="Python of a venv that has datatrove and spacy")
    parser.add_argument("--documents", type=int, default=6_000)
    parser.add_argument("--pairs", type=int, default=200, help="per similarity")
    parser.add_argument("--rounds", type=int, default=3, help="of the speed")
    parser.add_argument("--speed_documents", type=int, default=1_500)
    parser.add_argument("--memory_documents", type=int, default=60_000, help="at 1x")
    parser.add_argument("--fast", action="store_true", help="a twentieth of it")
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--search", type=pathlib.Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.search:
        print(json.dumps(_search(flags.search)))
        return
    if flags.fast:
        for name in ("documents", "pairs", "speed_documents", "memory_documents"):
            setattr(flags, name, getattr(flags, name) // 20)
        flags.rounds = 1
    if flags.documents < len(corpus.SIMILARITIES) * flags.pairs:
        parser.error(
            f"--documents={flags.documents} is too few: expected "
            f"{len(corpus.SIMILARITIES)} x --pairs={flags.pairs} or more"
        )
    paths = sorted(glob.glob(flags.books)) if flags.books else []
    if not paths:
        why = f"{flags.books!r} matches no file" if flags.books else "no --books"
        print(f"made-up text instead of books: {why}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="lmcodistill-bench-") as folder:
        result = _measure(flags, paths, pathlib.Path(folder))
    _show(result, flags.json)


def _measure(flags, paths: Sequence[str], folder: pathlib.Path) -> dict[str, Any]:
    display = measuring.Progress(4 + flags.rounds * (3 if flags.rival else 1))
    texts = corpus.sections(paths, flags.documents)
    planted, pairs = corpus.plant(texts, flags.pairs)
    source = _write_lines(folder / "documents.jsonl", planted)
    num_bytes = _write_parts(folder / "ours", planted)
    dropped = {"ours": _dropped(folder / "ours", len(planted))}
    if flags.rival:
        rival = _rival(flags.rival, source, folder / "theirs", [])
        dropped["datatrove"] = set(range(len(planted))) - set(map(int, rival["kept"]))
    quality = _quality(planted, pairs, dropped)
    display.done("what is found")
    speed = _speed(flags, texts[: flags.speed_documents], folder, display)
    memory = {}
    for factor in (1, 2, 4):
        root = folder / f"memory-{factor}"
        size = _write_parts(root, _many(texts, factor * flags.memory_documents))
        command = [sys.executable, "-m", "tools.bench", "dedup", "--search", str(root)]
        fields = ("peak_rss_mb", "row_mb", "cpu_seconds")
        measured = measuring.measure(command, fields)
        memory[f"{factor}x"] = {"text_mb": size / 1e6, **measured}
        display.done(f"memory at {factor}x")
    return {
        "text": "books" if paths else "made up",
        "documents": len(planted),
        "mb": num_bytes / 1e6,
        "quality": quality,
        "speed": speed,
        "memory_setting_mb": _MEMORY_BYTES / 1e6,
        "memory": memory,
    }


def _settings(*, exact: bool = False) -> deduplication.Deduplication:
    return deduplication.Deduplication(
        exact=exact, near=True, memory_bytes=_MEMORY_BYTES
    )


def _write_lines(path: pathlib.Path, texts: Sequence[str]) -> pathlib.Path:
    """Writes texts as the rival reads them."""
    with open(path, "w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            file.write(json.dumps({"id": str(number), "text": text}) + "\n")
    return path


def _write_parts(root: pathlib.Path, texts) -> int:
    """Writes texts as kept documents; returns their bytes."""
    folder = work.WorkFolder(root)
    root.mkdir()
    folder.make()
    parts: list[work.Part] = []
    size = 0
    numbered = enumerate(texts)
    while batch := list(itertools.islice(numbered, _PART_DOCUMENTS)):
        part = work.Part(len(parts), 0, len(batch))
        with files.writing(folder.documents(part)) as file:
            for number, text in batch:
                name = documents.make_id("bench", str(number))
                document = documents.Document(name, text, source="bench")
                file.write(document.to_json_line())
                size += len(text.encode())
        parts.append(part)
    folder.write_parts(parts)
    return size


def _find(root: pathlib.Path, settings: deduplication.Deduplication) -> None:
    folder = work.WorkFolder(root)
    parts = folder.read_parts()
    with local.Local(1) as engine:
        run = stages.Stages(engine, progress.Display(io.StringIO()))
        deduplicate.find(run, folder, parts, [""] * len(parts), settings)


def _dropped(root: pathlib.Path, num_texts: int) -> set[int]:
    """Returns the numbers of the texts that our search drops."""
    _find(root, _settings())
    search = copies.of_documents(root)
    num_parts = -(-num_texts // _PART_DOCUMENTS)
    return {
        part * _PART_DOCUMENTS + int(number)
        for part in range(num_parts)
        for number in search.load(part)
    }


def _search(root: pathlib.Path) -> dict[str, float]:
    """Searches in this process, and returns what it needed."""
    start = time.process_time()
    _find(root, _settings(exact=True))
    rows = (copies.of_documents(root).root / "rows").glob("*.rows")
    return {
        "cpu_seconds": time.process_time() - start,
        "row_mb": sum(path.stat().st_size for path in rows) / 1e6,
        "peak_rss_mb": _peak_kb() / 1e3,
    }


def _peak_kb() -> int:
    """Returns the peak of resident memory of this program.

    Not `ru_maxrss`, which a program inherits from the one that started it.
    """
    status = pathlib.Path("/proc/self/status").read_text()
    (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1])


def _many(texts: Sequence[str], count: int):
    """Yields short texts without end: one in ten is the same, the others differ."""
    for number in range(count):
        if number % _HOT_SHARE == 0:
            yield texts[0][:1_000]
            continue
        text = texts[number % len(texts)]
        start = number // len(texts) * 97 % 500
        yield f"{number} {text[start : start + 1_000]} {number}"


def _rival(
    python: str, source: pathlib.Path, output: pathlib.Path, options: list[str]
) -> dict[str, Any]:
    command = [python, str(_RIVAL), str(source), str(output), *options]
    return measuring.measure(command, ["signatures_cpu"])


def _quality(
    texts: Sequence[str], pairs: Sequence[corpus.Pair], dropped: dict[str, set[int]]
) -> dict[str, Any]:
    """Returns, per system, recall by similarity and what was dropped for nothing."""
    index = corpus.index(texts)
    result = {}
    for name, gone in dropped.items():
        recall: dict[str, Any] = {}
        for level in corpus.SIMILARITIES:
            near = [p for p in pairs if abs(p.similarity - level) <= 0.0125]
            if not near:
                continue
            hits = sum(p.first in gone or p.second in gone for p in near)
            theory = statistics.mean(1 - (1 - p.similarity**8) ** 14 for p in near)
            recall[str(level)] = {
                "pairs": len(near),
                "recall": hits / len(near),
                "theory": theory,
            }
        alike = [corpus.most_alike(number, texts, index) for number in sorted(gone)]
        result[name] = {
            "recall": recall,
            "dropped": len(gone),
            "dropped_below_0.5": sum(value < 0.5 for value in alike),
            "dropped_below_0.3": sum(value < 0.3 for value in alike),
        }
    return result


def _speed(
    flags,
    texts: Sequence[str],
    folder: pathlib.Path,
    display: measuring.Progress,
) -> dict[str, Any]:
    """Returns MB of text in a CPU second, from documents to sorted keys, in turns."""
    source = _write_lines(folder / "speed.jsonl", texts)
    root = folder / "speed"
    num_bytes = _write_parts(root, texts)
    copies.of_documents(root).make()
    _sign(root, exact=True)
    seconds: dict[str, list[float]] = {}
    for _ in range(flags.rounds):
        seconds.setdefault("ours", []).append(_sign(root, exact=False))
        exact = seconds.setdefault("ours, with equal texts", [])
        exact.append(_sign(root, exact=True))
        display.done("our keys")
        if not flags.rival:
            continue
        for name, options in (
            ("datatrove", []),
            ("datatrove, words split", ["--split_words"]),
        ):
            options = ["--signatures_only", *options]
            rival = _rival(flags.rival, source, folder / "theirs", options)
            seconds.setdefault(name, []).append(rival["signatures_cpu"])
            display.done(f"{name}'s keys")
    return {
        name: {
            "mb_per_cpu_second": measuring.spread(num_bytes / 1e6 / s for s in cpu),
            "over_ours": measuring.ratio(cpu, seconds["ours"]),
        }
        for name, cpu in seconds.items()
    }


def _sign(root: pathlib.Path, *, exact: bool) -> float:
    start = time.process_time()
    for number, part in enumerate(work.WorkFolder(root).read_parts()):
        task = signatures.SignTask(number, part, root, "", _settings(exact=exact))
        signatures.sign(task, lambda _: None)
    return time.process_time() - start


def _show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    text = measuring.text
    systems = result["quality"]
    rows = []
    for level, ours in systems["ours"]["recall"].items():
        recalls = [text(s["recall"][level]["recall"]) for s in systems.values()]
        rows.append([level, str(ours["pairs"]), text(ours["theory"]), *recalls])
    for count in ("dropped", "dropped_below_0.5", "dropped_below_0.3"):
        rows.append([count, "", "", *(str(s[count]) for s in systems.values())])
    title = f"Found, of {result['documents']:,} documents ({result['text']})"
    measuring.show(title, ["similarity", "pairs", "theory", *systems], rows)
    measuring.show(
        "Keys, CPU",
        ["system", "MB a second", "time over ours"],
        [
            [name, text(s["mb_per_cpu_second"]), text(s["over_ours"])]
            for name, s in result["speed"].items()
        ],
    )
    measuring.show(
        f"Memory, with a setting of {result['memory_setting_mb']:.0f} MB",
        ["input", "text MB", "keys MB", "peak MB", "CPU seconds"],
        [
            [name, *(text(m[x]) for x in _MEMORY_COLUMNS)]
            for name, m in result["memory"].items()
        ],
    )
