r"""Turn text into token shards: disjoint training partitions and a held-out split.

Reads WET and WARC files, JSON (lines or arrays), Parquet and plain text (gzip,
bzip2, xz and zstd as they are), keeps the documents that pass the rules, each
once, trains a vocabulary, and writes shards, manifest.json, report.json and
report.html. A run that was stopped or killed goes on where it was when the same
command is given again.

Crawls of Common Crawl are downloaded by name, politely: see --crawl. Downloads
are kept, and those that broke off go on where they were.

Text that comes tokenized and split, such as the Penn Treebank, is taken as it
is with --train_text, --validation_text and --test_text instead of --input.

Examples:
  lmcodistill prep --gin_file prep/web.gin \
    --input 'CC-MAIN-*.warc.wet.gz' --output_dir DATA
  lmcodistill prep --gin_file prep/web.gin --crawl CC-MAIN-2024-22 \
    --wet_files 10 --contact you@example.org --output_dir DATA
  lmcodistill prep --gin_file prep/quickstart.gin --gin.VOCAB_SIZE=2000 \
    --input notes/ --input 'more/*.txt' --output_dir DATA
  lmcodistill prep --gin_file prep/ptb.gin --train_text ptb.train.txt \
    --validation_text ptb.valid.txt --test_text ptb.test.txt --output_dir DATA
"""

import errno
import json
import pathlib
import signal
import sys
import types
from typing import Any

from absl import flags

from data_prep import progress
from data_prep.downloading import crawls
from data_prep.engines import choice
from data_prep.reading import inputs
from data_prep.rules import paragraph_ids
from data_prep.run import pipeline
from data_prep.run import plan as plan_lib
from lmcodistill import errors
from lmcodistill.commands import command_flags, crawl_flags
from lmcodistill.config import loading
from lmcodistill.settings import deduplication, filtering, paragraphs, prep

# An unquoted pattern, which the shell has replaced by many names, is understood.
ARGUMENTS = "[INPUT ...]"


def define_flags(define: command_flags.Definer) -> None:
    """Defines what to read, where to write, and how to run."""
    define.strings(
        "input", [], "A file, a folder or a quoted pattern of files to read."
    )
    define.string(
        "output_dir",
        None,
        "The data folder to make: empty, missing, or begun by the same command.",
    )
    define.string(
        "engine",
        "local",
        "Where the stages run; local: processes of this machine; spark: the "
        "machines of an Apache Spark cluster.",
    )
    define.string(
        "spark_master",
        "",
        "With --engine=spark, its master, such as spark://HOST:7077; default: what "
        "spark-submit or Spark's own configuration says.",
    )
    define.integer(
        "num_workers",
        0,
        "Processes of --engine=local; 0: one per core. The result does not depend on "
        "it.",
    )
    crawl_flags.define(define)
    define.string(
        "paragraph_ids",
        "",
        "A list of paragraphs as the codistillation paper published one (CSV, or a "
        "tar.bz2 of them): exactly these are kept of each file, and no other rule "
        "applies. ParagraphList says how paragraphs are counted; give "
        "--gin.DEDUPLICATE=False to keep pages that are equal.",
    )
    define.bool(
        "strict",
        False,
        "Whether to end with status 3 if an input file is damaged or cut, or a text "
        "file not in UTF-8. Otherwise that costs a warning, and damage the records "
        "that it hit.",
    )
    for split in ("train", "validation", "test"):
        define.string(
            f"{split}_text",
            "",
            f"File with the {split} split of a text that comes tokenized.",
        )


def run(flag_values: flags.FlagValues, arguments: list[str]) -> int:
    """Fills the data folder; see the module's text."""
    output = _output(flag_values)
    request = crawl_flags.request(flag_values, output)
    num_workers = flag_values.num_workers
    if num_workers < 0:
        raise errors.UsageError(
            f"--num_workers = {num_workers} cannot work: expected 0 (one per core) or "
            "more."
        )
    loaded = loading.load(
        flag_values.gin_file,
        flag_values.gin_bindings,
        classes=prep.PREP_SETTINGS,
        default="defaults/prep.gin",
    )
    list_settings = paragraph_ids.with_digest(
        loaded.get(paragraphs.ParagraphList), flag_values.paragraph_ids
    )
    display = progress.Display(sys.stderr)
    signal.signal(signal.SIGTERM, _stop)
    try:
        downloaded = crawls.fetch(request, display) if request else []
        kind, found = _sources(flag_values, [*arguments, *map(str, downloaded)])
        for note in found.notes():
            display.say(f"warning: {note}")
        plan = plan_lib.Plan(
            sources=found.files,
            prep=loaded.get(prep.Prep),
            vocabulary=loaded.get(prep.PrepVocabulary),
            rules=filtering.Rules(
                **{name: loaded.get(cls) for name, cls in filtering.RULES.items()}
            ),
            deduplication=loaded.get(deduplication.Deduplication),
            paragraphs=list_settings,
            kind=kind,
            paragraph_list=pathlib.Path(flag_values.paragraph_ids).absolute()
            if kind == "paragraph_list"
            else None,
            left_out=found.left_out,
        )
        with choice.make(
            flag_values.engine,
            num_workers,
            spark_master=flag_values.spark_master,
            output=output,
        ) as engine:
            report = pipeline.run(
                plan, output.absolute(), engine, display, strict=flag_values.strict
            )
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        raise errors.DataError(
            f"{error.filename or output} cannot be written: {error.strerror}. Free "
            "some space or give another --output_dir; the same command goes on where "
            "it stopped."
        ) from error
    _report(report, output, display, as_json=flag_values.json)
    return 0


def _sources(
    flag_values: flags.FlagValues, arguments: list[str]
) -> tuple[str, inputs.Found]:
    """Returns the kind of the run, see `Plan`, and its input files."""
    patterns = [*flag_values.input, *arguments]
    texts = (
        flag_values.train_text,
        flag_values.validation_text,
        flag_values.test_text,
    )
    if patterns and any(texts):
        raise errors.UsageError(
            "--input and --train_text were both given; text is either split by prep "
            "or comes with its own splits. Give one of the two."
        )
    if any(texts) and flag_values.paragraph_ids:
        raise errors.UsageError(
            "--paragraph_ids and --train_text were both given; the list is for WET "
            "files. Give those as --input, or leave --paragraph_ids out."
        )
    if any(texts):
        return "pretokenized", inputs.Found(inputs.pretokenized(*texts), {})
    if not patterns:
        raise errors.UsageError(
            "there is nothing to read. Give --input FILES, --crawl NAME to download "
            "some, or --train_text and --validation_text for text that comes with "
            "its own splits."
        )
    kind = "paragraph_list" if flag_values.paragraph_ids else "documents"
    return kind, inputs.find(patterns)


def _output(flag_values: flags.FlagValues) -> pathlib.Path:
    if not flag_values.output_dir:
        raise errors.UsageError("--output_dir is missing. Give the folder to make.")
    output = pathlib.Path(flag_values.output_dir)
    if output.exists() and not output.is_dir():
        raise errors.UsageError(
            f"--output_dir {output} is a file; a folder was wanted."
        )
    names = {path.name for path in output.iterdir()} if output.exists() else set()
    if names and not names & {"manifest.json", ".work"}:
        raise errors.UsageError(
            f"--output_dir {output} holds other files and no data folder begun by "
            "prep. Give an empty or a new folder."
        )
    return output


def _stop(signum: int, frame: types.FrameType | None) -> None:
    raise errors.StoppedError(
        "stopped on request. What is finished is kept: the same command goes on from "
        "there."
    )


def _report(
    report: dict[str, Any],
    output: pathlib.Path,
    display: progress.Display,
    *,
    as_json: bool,
) -> None:
    """Writes what was kept: for people, and as one JSON object if asked for."""
    if as_json:
        print(json.dumps({"data_dir": str(output), **report}))
    total = report["total"]
    display.say(f"read {total['read']:,} documents, kept {total['kept']:,}")
    for reason, count in total["dropped"].items():
        display.say(f"  dropped {count:>9,}  {reason}")
    for name, split in report["splits"].items():
        display.say(
            f"  {name}: {split['documents']:,} documents, {split['tokens']:,} tokens"
        )
        for fault, words in _FAULTS.items():
            if split[fault]:
                display.say(f"warning: {name}: {split[fault]:,} {words}")
    display.say(f"Wrote {output}; report.html there shows what was kept and why not.")


_FAULTS = {
    "unknown": "token(s) outside the vocabulary",
    "inexact": "document(s) whose tokens do not give the text back exactly",
}
