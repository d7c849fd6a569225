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

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import signal
import sys
import types
from typing import TYPE_CHECKING, Any

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags, crawl_flags, next_command
from lmcodistill.config import loading
from lmcodistill.settings import deduplication, filtering, paragraphs, prep
from lmcodistill.storage import places

if TYPE_CHECKING:
    from data_prep import progress
    from data_prep.reading import inputs

# An unquoted pattern, which the shell has replaced by many names, is understood.
ARGUMENTS = "[INPUT ...]"


def define_flags(define: command_flags.Definer) -> None:
    """Defines what to read, where to write, and how to run."""
    define.strings(
        "input", [], "A file, a folder or a quoted pattern of files to read."
    )
    define.place(
        "output_dir",
        "The data folder to make: empty, missing, or begun by the same command. The "
        "URL of an object store is written to when all is done.",
    )
    define.require("output_dir")
    for split in ("train", "validation", "test"):
        define.path(
            f"{split}_text",
            f"File with the {split} split of a text that comes tokenized.",
        )
    define.path(
        "paragraph_ids",
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
    define.heading("Where it runs")
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
        0,
        command_flags.MOST_PROCESSES,
    )
    define.path(
        "staging_dir",
        "With a URL as --output_dir: the folder where all is made first, and that is "
        "removed when it was published. Default: one in this folder, of a name that "
        "follows from the URL.",
    )
    crawl_flags.define(define)


def run(flag_values: flags.FlagValues, arguments: list[str]) -> int:
    """Fills the data folder; see the module's text."""
    # A mistake among the flags is found without all of this.
    from data_prep import progress
    from data_prep.downloading import crawls
    from data_prep.engines import choice
    from data_prep.rules import paragraph_ids
    from data_prep.run import pipeline
    from data_prep.run import plan as plan_lib

    target = _target(flag_values)
    output = _output(flag_values, target)
    request = crawl_flags.request(flag_values, output)
    loaded = loading.load(
        flag_values.gin_file,
        flag_values.gin_bindings,
        classes=prep.PREP_SETTINGS,
        default="defaults/prep.gin",
    )
    list_settings = paragraph_ids.with_digest(
        loaded.get(paragraphs.ParagraphList), str(flag_values.paragraph_ids or "")
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
            rules=_rules(loaded),
            deduplication=loaded.get(deduplication.Deduplication),
            paragraphs=list_settings,
            kind=kind,
            paragraph_list=flag_values.paragraph_ids,
            left_out=found.left_out,
        )
        with choice.make(
            flag_values.engine,
            flag_values.num_workers,
            spark_master=flag_values.spark_master,
            output=output,
        ) as engine:
            report = pipeline.run(
                plan,
                output,
                engine,
                display,
                strict=flag_values.strict,
                target=None if isinstance(target, pathlib.Path) else target,
            )
    except OSError as error:
        if error.errno not in errors.OF_SYSTEM:
            raise
        raise errors.DataError(
            f"{error.filename or target} cannot be written: {error.strerror}. Free "
            "some space or give another --output_dir; the same command goes on where "
            "it stopped."
        ) from error
    _report(report, target, display, as_json=flag_values.json)
    return 0


def _rules(loaded: loading.Config) -> filtering.Rules:
    rules = filtering.Rules(
        **{name: loaded.get(cls) for name, cls in filtering.RULES.items()}
    )
    if not rules.urls.blocked_hosts:
        return rules
    path = str(places.local(rules.urls.blocked_hosts))
    return dataclasses.replace(
        rules, urls=dataclasses.replace(rules.urls, blocked_hosts=path)
    )


def _sources(
    flag_values: flags.FlagValues, arguments: list[str]
) -> tuple[str, inputs.Found]:
    """Returns the kind of the run, see `Plan`, and its input files."""
    from data_prep.reading import inputs

    patterns = list(map(places.pattern, (*flag_values.input, *arguments)))
    texts = [
        str(flag_values[f"{split}_text"].value or "")
        for split in ("train", "validation", "test")
    ]
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


def _target(flag_values: flags.FlagValues) -> places.Place:
    """Returns where the data folder is to be in the end."""
    flag_values.refuse_missing()
    target = flag_values.output_dir
    if flag_values.staging_dir and places.is_local(target):
        raise errors.UsageError(
            f"--staging_dir is for an --output_dir that is a URL; {target} is a "
            "folder, and all is made there. Leave --staging_dir out."
        )
    return target


def _output(flag_values: flags.FlagValues, target: places.Place) -> pathlib.Path:
    """Returns the local folder that everything is made in."""
    if isinstance(target, pathlib.Path):
        output, flag = target, "--output_dir"
    else:
        from data_prep.run import remote

        remote.refuse_other(target)
        # The same at every attempt, so that one goes on where another stopped.
        digest = hashlib.sha256(str(target).encode()).hexdigest()[:8]
        default = pathlib.Path(f"staging-{target.name}-{digest}").absolute()
        output, flag = flag_values.staging_dir or default, "--staging_dir"
    if output.exists() and not output.is_dir():
        raise errors.UsageError(f"{flag} {output} is a file; a folder was wanted.")
    names = {path.name for path in output.iterdir()} if output.exists() else set()
    if names and not names & {"manifest.json", ".work"}:
        raise errors.UsageError(
            f"{flag} {output} holds other files and no data folder begun by prep. "
            "Give an empty or a new folder."
        )
    return output


def _stop(signum: int, frame: types.FrameType | None) -> None:
    raise errors.StoppedError(
        "stopped on request. What is finished is kept: the same command goes on from "
        "there."
    )


def _report(
    report: dict[str, Any],
    output: places.Place,
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
    if isinstance(output, pathlib.Path):  # What is elsewhere is copied here first.
        partitions = report["settings"]["Prep"]["num_partitions"]
        display.say("Next:")
        display.say(f"  {next_command.after_data(output, partitions)}")


_FAULTS = {
    "unknown": "token(s) outside the vocabulary",
    "inexact": "document(s) whose tokens do not give the text back exactly",
}
