"""The run, from top to bottom: read, deduplicate, vocabulary, tokens, shards.

Everything that is written depends on the inputs and the settings alone. The
manifest comes last, so a folder without one is unfinished; running prep again
finishes it, skipping every stage of every file that left its commit file.
"""

import collections
import functools
import gzip
import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sentencepiece

import lmcodistill
from data_prep import progress, work
from data_prep.duplicates import signatures, survivors
from data_prep.engines import engine as engine_lib
from data_prep.reports import page, report
from data_prep.rules import extract, languages, paragraph_ids
from data_prep.run import deduplicate, remote, stages
from data_prep.run import plan as plan_lib
from data_prep.tokens import (
    holding_out,
    partition,
    precision,
    sampling,
    shuffle,
    tokenize_part,
    vocabulary_training,
)
from lmcodistill import errors
from lmcodistill.data import shards, vocabulary
from lmcodistill.storage import files, layout, places

if TYPE_CHECKING:
    import upath

Counts = dict[str, dict[str, int]]


def run(
    plan: plan_lib.Plan,
    output: pathlib.Path,
    engine: engine_lib.Engine,
    display: progress.Display,
    strict: bool = False,
    target: "upath.UPath | None" = None,
) -> dict[str, Any]:
    """Fills the data folder `output` and returns its report.

    Args:
        plan: What to read, what to keep and how to cut it.
        output: Where the shards go.
        engine: Runs the stages.
        display: Shows them.
        strict: Whether a damaged input file ends the run once all are read.
        target: Where the finished folder is published, and `output` removed; None:
            it stays.

    Raises:
        UsageError: the folder holds something else, or a setting does not fit.
        DataError: nothing is left to train on, or `strict` and damage.
    """
    languages.check_language(plan.rules.language.language)
    identity = plan.to_json()
    folder = work.WorkFolder(output / ".work")
    # Killed between the manifest and the last sweep, a finished folder has dust left.
    if target is not None and plan_lib.is_finished(target, identity):
        remote.sweep(target)
        return _read_finished(target, display, strict)
    if plan_lib.is_finished(output, identity):
        folder.remove()
        summary = _read_finished(output, display, strict)
    else:
        folder.make()
        with folder.held():
            if changed := plan_lib.check(folder, identity):
                display.say(f"changed since the last attempt: {', '.join(changed)}")
            made = _Pipeline(plan, output, folder, engine, display)
            summary = made.run(strict, identity)
    if target is not None:
        remote.publish(output, target, display)
    return summary


def _read_finished(
    folder: places.Place, display: progress.Display, strict: bool
) -> dict[str, Any]:
    """Returns the report of a finished data folder; raises as `run`."""
    display.say(f"{folder} is finished already; nothing to make.")
    summary = files.read_json(folder / layout.DataLayout.REPORT, 1 << 30)
    if strict:
        report.refuse_damage(summary["files"])
    return summary


class _Pipeline:
    """One run; its methods are the stages, in order."""

    def __init__(
        self,
        plan: plan_lib.Plan,
        output: pathlib.Path,
        folder: work.WorkFolder,
        engine: engine_lib.Engine,
        display: progress.Display,
    ):
        self._plan, self._output, self._folder = plan, output, folder
        self._stages, self._display = stages.Stages(engine, display), display
        self._vocabulary_type = vocabulary_training.TYPES[plan.vocabulary.type]
        self._survivors = survivors.Survivors(
            folder.root,
            without_copies=plan.compared.is_on,
            without_lines=plan.compared.line_group_files > 0,
        )
        self._extracted: list[extract.Extracted] = []
        self._parts: tuple[work.Part, ...] = ()

    def run(self, strict: bool, identity: dict[str, Any]) -> dict[str, Any]:
        self._extract(strict)
        duplicates = self._find_duplicates()
        held_out, chances = self._hold_out(duplicates)
        splits = partition.Splits(
            self._plan.sources, self._parts, self._plan.prep, held_out, chances
        )
        pieces, sampled = self._train_vocabulary(splits)
        counts = self._tokenize(splits)
        written = self._shuffle(splits, counts)
        summary = report.build(
            self._extracted,
            self._plan.left_out,
            duplicates,
            counts,
            pieces,
            sampled,
            identity["settings"],
        )
        train = [name for name in written if name.startswith("train-")]
        manifest = shards.Manifest(
            vocabulary=pieces.fingerprint,
            vocab_size=pieces.size,
            end_id=pieces.end_id,
            train=tuple(written.pop(name) for name in train),
            held_out=written,
            provenance={
                "program": f"lmcodistill {lmcodistill.__version__}",
                "sentencepiece": sentencepiece.__version__,
                "settings": identity["settings"],
            },
            inputs=self._inputs(),
        )
        timings = {
            "seconds": self._display.seconds,
            "cpu_seconds": self._stages.cpu_seconds,
        }
        self._publish(manifest, pieces.model, {**summary, "timings": timings})
        if all(source.split is None for source in self._plan.sources):
            data = shards.ShardSet(self._output)
            if warning := precision.warning(data, list(chances)):
                self._display.say(f"warning: {warning}")
        return summary

    def _extract(self, strict: bool) -> None:
        """Reads every input file; keeps what the rules let pass."""
        plan = self._plan
        if plan.paragraph_list is not None:
            index = paragraph_ids.IndexTask(plan.paragraph_list, self._folder.root)
            self._stages.run("paragraph_list", paragraph_ids.index, [index])
        tasks = [
            extract.ReadTask(
                file=i,
                path=source.path,
                source=source.name,
                root=self._folder.root,
                settings=plan.prep,
                rules=plan.rules,
                kind=plan.kind,
                paragraphs=plan.paragraphs,
            )
            for i, source in enumerate(plan.sources)
        ]
        self._stages.run("read", extract.extract, tasks)
        self._extracted = [
            extract.read_result(self._folder, i) for i in range(len(tasks))
        ]
        self._parts = tuple(part for x in self._extracted for part in x.parts)
        self._folder.write_parts(self._parts)
        for result in self._extracted:
            for warning in report.warnings_of(result):
                self._display.say(f"warning: {warning}")
        if strict:
            report.refuse_damage([report.file_line(x, {}) for x in self._extracted])
        if not self._parts:
            # Nothing here is worth keeping, and other settings shall find no trace.
            self._folder.remove()
            raise errors.DataError(report.nothing_kept(self._extracted))

    def _find_duplicates(self) -> list[collections.Counter[str]]:
        """Returns how many documents of each input file go, per reason."""
        dropped = [collections.Counter[str]() for _ in self._extracted]
        if not self._plan.compared.is_on:
            return dropped
        crawls = [
            signatures.crawl_of(result.counts.crawl, source.path)
            for result, source in zip(self._extracted, self._plan.sources, strict=True)
        ]
        copies = deduplicate.find(
            self._stages, self._folder, self._parts, crawls, self._plan.compared
        )
        for number, reasons in copies.items():
            dropped[self._parts[number].file].update(reasons)
        return dropped

    def _hold_out(self, duplicates: Sequence[Mapping[str, int]]) -> holding_out.Choice:
        """Decides what is held out of text that comes without splits."""
        chosen = [
            holding_out.KeptFile(
                number,
                result.source,
                result.counts.is_one_text,
                result.counts.kept - sum(duplicates[number].values()),
                result.counts.kept_bytes,
            )
            for number, result in enumerate(self._extracted)
            if self._plan.sources[number].split is None
        ]
        parts = collections.defaultdict(list)
        for number, part in enumerate(self._parts):
            parts[part.file].append((number, part))

        def sizes(file: int) -> Iterator[tuple[str, int]]:
            for number, part in parts[file]:
                for _, document in self._survivors.read(number, part, lambda _: None):
                    yield document.id, len(document.text.encode())

        choice = holding_out.choose(self._plan.prep, chosen, sizes)
        if not choice.chances and any(file.is_one_text for file in chosen):
            self._display.say(f"warning: {report.TEXTS_ON_BOTH_SIDES}")
        return choice

    def _train_vocabulary(
        self, splits: partition.Splits
    ) -> tuple[vocabulary.Vocabulary, dict[str, int]]:
        """Returns the vocabulary and the size of the sample it was trained on."""
        folder, settings = self._folder, self._plan.vocabulary
        total = sum(
            result.counts.kept_bytes
            for result, source in zip(self._extracted, self._plan.sources, strict=True)
            if source.split in (None, "train")
        )
        rate = min(1.0, settings.sample_bytes / max(1, total))
        seed = self._plan.prep.seed
        tasks = [
            sampling.SampleTask(*placed, seed, rate) for placed in self._placed(splits)
        ]
        self._stages.run("sample", self._vocabulary_type.sample, tasks)
        sampled = {"documents": 0, "bytes": 0}
        for task in tasks:
            written = work.read_commit(task.commit_file)
            for name in sampled:
                sampled[name] += written[name]
        if not folder.vocabulary_commit.exists():
            show = functools.partial(
                self._stages.alone, "train_vocabulary", 1000, unit=""
            )
            self._vocabulary_type.train(settings, folder, self._parts, show)
            work.write_commit(folder.vocabulary_commit, sampled)
        return vocabulary.Vocabulary.load(folder.vocabulary_model), sampled

    def _placed(
        self, splits: partition.Splits
    ) -> list[tuple[int, work.Part, pathlib.Path, survivors.Survivors, partition.Rule]]:
        """Returns what the tasks about every part have in common."""
        return [
            (i, part, self._folder.root, self._survivors, splits.place(part))
            for i, part in enumerate(self._parts)
        ]

    def _tokenize(self, splits: partition.Splits) -> Counts:
        """Returns documents, tokens, words and bytes of every split there is."""
        tasks = [
            tokenize_part.TokenizeTask(*placed, splits.names)
            for placed in self._placed(splits)
        ]
        self._stages.run("tokenize", tokenize_part.tokenize, tasks)
        counts = tokenize_part.count(self._folder, self._parts, splits.names)
        empty = [split for split in counts if not counts[split]["documents"]]
        for split in empty:
            if split != partition.GUIDE:
                raise errors.DataError(report.empty_split(split, counts))
            del counts[split]  # A small text can be trained on without.
            self._display.say(f"warning: {report.NO_GUIDE}")
        return counts

    def _shuffle(
        self, splits: partition.Splits, counts: Counts
    ) -> dict[str, shards.Split]:
        """Returns the splits, whose shards are written."""
        root, counted = self._folder.root, ("documents", "tokens", "words", "bytes")
        buckets = shuffle.buckets(root, self._output, splits, counts)
        all_buckets = list(itertools.chain.from_iterable(buckets.values()))
        self._stages.exchange("shuffle", shuffle.step(root), all_buckets)
        return {
            split: shards.Split(
                name=split,
                shards=shuffle.read_shards(buckets[split]),
                **{name: counts[split][name] for name in counted},
            )
            for split in buckets
        }

    def _inputs(self) -> tuple[shards.InputFile, ...]:
        kept = tokenize_part.count_kept(self._folder, self._parts, len(self._extracted))
        return tuple(
            shards.InputFile(result.source, result.bytes, result.sha256, *documents)
            for result, documents in zip(self._extracted, kept, strict=True)
        )

    def _publish(
        self, manifest: shards.Manifest, model: bytes, summary: dict[str, Any]
    ) -> None:
        """Writes everything but the shards; removes the work folder.

        The manifest is written last. A folder that has one is never written to
        again.
        """
        paths = layout.DataLayout(self._output)
        files.write_bytes(paths.vocabulary, model)
        if self._plan.prep.keep_documents:
            for number in range(len(self._parts)):
                self._write_documents(number)
        dropped = [self._folder.dropped(i) for i in range(len(self._extracted))]
        if any(path.stat().st_size for path in dropped):
            with files.writing(self._output / "dropped.jsonl") as file:
                for path in dropped:
                    file.write(path.read_bytes())
        files.write_text(paths.report_json, files.to_json(summary))
        files.write_text(paths.report_html, page.render(summary))
        for partial in self._output.rglob(".*.partial"):
            partial.unlink()  # Of an attempt that was killed.
        files.write_text(paths.manifest, files.to_json(manifest.to_json()))
        self._folder.remove()

    def _write_documents(self, number: int) -> None:
        """Writes the kept documents of a part beside the shards."""
        path = self._output / "documents" / f"documents-{number:05d}.jsonl.gz"
        path.parent.mkdir(exist_ok=True)
        part = self._parts[number]
        with (
            files.writing(path) as raw,
            # No name and no time in the header: equal documents, equal bytes.
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
        ):
            for _, document in self._survivors.read(number, part, lambda _: None):
                packed.write(document.to_json_line())
