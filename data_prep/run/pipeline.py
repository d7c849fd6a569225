"""The run, from top to bottom: read, deduplicate, vocabulary, tokens, shards.

Everything that is written depends on the inputs and the settings alone. The
manifest comes last, so a folder without one is unfinished; running prep again
finishes it, skipping every stage of every file that left its marker.
"""

import collections
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import sentencepiece

import lmcodistill
from data_prep import documents, progress, work
from data_prep.duplicates import signatures
from data_prep.engines import engine as engine_lib
from data_prep.reading import inputs
from data_prep.reports import report
from data_prep.rules import extract, languages, paragraph_ids
from data_prep.run import deduplicate, publication, recipe, stages
from data_prep.tokens import (
    kept_inputs,
    sampling,
    shuffle,
    splits,
    tokenize_part,
    vocabulary_training,
)
from lmcodistill import errors
from lmcodistill.data import shards, vocabulary
from lmcodistill.settings import deduplication
from lmcodistill.storage import files, layout


def run(
    sources: Sequence[inputs.Input],
    output: pathlib.Path,
    settings: recipe.Recipe,
    engine: engine_lib.Engine,
    display: progress.Display,
    paragraph_list: pathlib.Path | None = None,
    strict: bool = False,
) -> dict[str, Any]:
    """Fills the data folder `output` and returns its report.

    Args:
        sources: Files to read, in order.
        output: Where the shards go.
        settings: What to keep and how to cut it.
        engine: Runs the stages.
        display: Shows them.
        paragraph_list: The list whose digest the settings have, if they have one.
        strict: Whether a damaged input file ends the run once all are read.

    Raises:
        UsageError: the folder holds something else, or a setting does not fit.
        DataError: nothing is left to train on, or `strict` and damage.
    """
    languages.check_language(settings.rules.language.language)
    plan = publication.plan_of(sources, settings)
    folder = work.WorkFolder(output / ".work")
    if publication.is_finished(output, plan):
        # Killed between the manifest and the last sweep, there is dust left.
        folder.remove()
        display.say(f"{output} is finished already; nothing to do.")
        found = files.read_json(layout.DataLayout(output).report_json, 1 << 30)
        if strict:
            report.refuse_damage(found["files"])
        return found
    folder.make()
    with folder.held():
        if changed := publication.check_plan(folder, plan):
            display.say(f"changed since the last attempt: {', '.join(changed)}")
        run = _Run(sources, output, settings, engine, display, folder, plan)
        return run.run(paragraph_list, strict)


class _Run:
    """One run; its methods are the stages, in order."""

    def __init__(
        self,
        sources: Sequence[inputs.Input],
        output: pathlib.Path,
        settings: recipe.Recipe,
        engine: engine_lib.Engine,
        display: progress.Display,
        folder: work.WorkFolder,
        plan: dict[str, Any],
    ):
        self._sources, self._output, self._settings = sources, output, settings
        self._stages, self._display = stages.Stages(engine, display), display
        self._folder, self._plan = folder, plan
        self._is_pretokenized = sources[0].split is not None
        self._extracted: list[extract.Extracted] = []
        self._parts: tuple[work.Part, ...] = ()
        # Text that comes with its own splits is taken as it is.
        self._deduplication = (
            deduplication.Deduplication(exact=False)
            if self._is_pretokenized
            else settings.deduplication
        )
        self._survivors = deduplicate.survivors_of(folder, self._deduplication)

    def run(self, paragraph_list: pathlib.Path | None, strict: bool) -> dict[str, Any]:
        if paragraph_list is not None:
            task = paragraph_ids.IndexTask(paragraph_list, self._folder.root)
            self._stages.run("paragraph_list", paragraph_ids.index, [task])
        self._extract(strict)
        duplicates = self._find_duplicates()
        kept_splits = splits.Splits(self._sources, self._parts, self._settings.prep)
        pieces, sampled = self._train_vocabulary(kept_splits)
        counts = self._tokenize(kept_splits)
        written = self._shuffle(kept_splits, counts)
        summary = report.build(
            self._extracted, duplicates, counts, pieces, sampled, self._plan["settings"]
        )
        manifest = shards.Manifest(
            vocabulary=pieces.fingerprint,
            vocab_size=pieces.size,
            end_id=pieces.end_id,
            train=tuple(written[name] for name in written if name.startswith("train-")),
            held_out={
                name: split
                for name, split in written.items()
                if not name.startswith("train-")
            },
            provenance=self._provenance(),
            inputs=kept_inputs.count(self._folder, self._extracted, self._parts),
        )
        publication.publish(
            self._output,
            self._folder,
            manifest,
            pieces.model,
            {
                **summary,
                "timings": {
                    "seconds": self._display.seconds,
                    "cpu_seconds": self._stages.cpu_seconds,
                },
            },
            dropped=[self._folder.dropped(i) for i in range(len(self._sources))],
            documents=self._documents() if self._settings.prep.keep_documents else None,
        )
        return summary

    def _extract(self, strict: bool) -> None:
        """Reads every input file; keeps what the rules let pass."""
        tasks = [
            extract.Task(
                file=i,
                path=source.path,
                source=source.name,
                root=self._folder.root,
                settings=self._settings.prep,
                rules=None if self._is_pretokenized else self._settings.rules,
                paragraph_list=self._settings.paragraph_list,
            )
            for i, source in enumerate(self._sources)
        ]
        self._stages.run("read", extract.extract, tasks)
        for i in range(len(self._sources)):
            found = extract.read_result(self._folder, i)
            assert found is not None, "the stage ended without its marker"
            self._extracted.append(found)
        self._parts = tuple(part for found in self._extracted for part in found.parts)
        self._folder.write_parts(self._parts)
        for found in self._extracted:
            for warning in report.warnings_of(found):
                self._display.say(f"warning: {warning}")
        if strict:
            report.refuse_damage([report.file_line(x, {}) for x in self._extracted])
        if not self._parts:
            # Nothing here is worth keeping, and other settings shall find no trace.
            self._folder.remove()
            raise errors.DataError(report.nothing_kept(self._extracted))

    def _find_duplicates(self) -> list[collections.Counter[str]]:
        """Returns how many documents of each input file go, per reason."""
        dropped = [collections.Counter[str]() for _ in self._sources]
        if not self._deduplication.is_on:
            return dropped
        crawls = [
            signatures.crawl_of(found.counts.crawl, source.path)
            for found, source in zip(self._extracted, self._sources, strict=True)
        ]
        copies = deduplicate.find(
            self._stages, self._folder, self._parts, crawls, self._deduplication
        )
        for number, found in copies.items():
            dropped[self._parts[number].file].update(found)
        return dropped

    def _train_vocabulary(
        self, kept_splits: splits.Splits
    ) -> tuple[vocabulary.Vocabulary, dict[str, int]]:
        """Returns the vocabulary and the size of the sample it was trained on."""
        chosen = self._settings.vocabulary
        total = sum(
            found.counts.kept_bytes
            for found, source in zip(self._extracted, self._sources, strict=True)
            if source.split in (None, "train")
        )
        tasks = [
            sampling.Task(
                number=i,
                part=part,
                root=self._folder.root,
                survivors=self._survivors,
                place=kept_splits.place(part),
                seed=self._settings.prep.seed,
                rate=min(1.0, chosen.sample_bytes / max(1, total)),
                is_word=chosen.type == "word",
            )
            for i, part in enumerate(self._parts)
        ]
        self._stages.run("sample", sampling.sample, tasks)
        sampled = {"documents": 0, "bytes": 0}
        for part in self._parts:
            marker = work.read_marker(self._folder.sample_marker(part)) or {}
            for name in sampled:
                sampled[name] += marker[name]
        if not self._folder.vocabulary_marker.exists():
            self._make_vocabulary()
            work.write_marker(self._folder.vocabulary_marker, sampled)
        return vocabulary.Vocabulary.load(self._folder.vocabulary_model), sampled

    def _make_vocabulary(self) -> None:
        chosen = self._settings.vocabulary
        if chosen.type == "word":
            counts = sampling.read_counts(self._folder, self._parts)
            model = vocabulary_training.word_model(counts, chosen.size)
            files.write_bytes(self._folder.vocabulary_model, model)
            return
        samples = tuple(self._folder.sample(part) for part in self._parts)
        with self._stages.alone("train_vocabulary", 1000, unit="") as stage:
            vocabulary_training.train_pieces(
                chosen,
                samples,
                self._folder,
                lambda p: stage.update(round(1000 * p.fraction), p.detail),
            )

    def _tokenize(self, kept_splits: splits.Splits) -> dict[str, dict[str, int]]:
        """Returns documents, tokens, words and bytes of every split."""
        tasks = [
            tokenize_part.Task(
                number=i,
                part=part,
                root=self._folder.root,
                survivors=self._survivors,
                place=kept_splits.place(part),
                splits=kept_splits.names,
                settings=self._settings.vocabulary,
            )
            for i, part in enumerate(self._parts)
        ]
        self._stages.run("tokenize", tokenize_part.tokenize, tasks)
        names: tuple[str, ...] = tokenize_part.COUNTS
        counts = {split: {name: 0 for name in names} for split in kept_splits.names}
        for part in self._parts:
            marker = work.read_marker(self._folder.tokens_marker(part)) or {}
            for split in counts:
                for name in names:
                    counts[split][name] += marker[split][name]
        for split, found in counts.items():
            if not found["documents"]:
                raise errors.DataError(report.empty_split(split, counts))
        return counts

    def _shuffle(
        self, kept_splits: splits.Splits, counts: dict[str, dict[str, int]]
    ) -> dict[str, shards.Split]:
        """Returns the splits, whose shards are written."""
        tasks = {
            split: [
                shuffle.Task(
                    root=self._folder.root,
                    output=self._output,
                    split=split,
                    shard=shard,
                    low=(number, low),
                    high=(number, high),
                )
                for shard, (low, high) in enumerate(
                    kept_splits.shard_ranges(split, counts[split]["tokens"])
                )
            ]
            for number, split in enumerate(kept_splits.names)
        }
        step = shuffle.step(self._folder.root)
        self._stages.exchange("shuffle", step, sum(tasks.values(), []))
        return {
            split: shards.Split(
                name=split,
                shards=shuffle.read_shards(tasks[split]),
                **{
                    name: counts[split][name]
                    for name in ("documents", "tokens", "words", "bytes")
                },
            )
            for split in tasks
        }

    def _provenance(self) -> dict[str, Any]:
        return {
            "program": f"lmcodistill {lmcodistill.__version__}",
            "sentencepiece": sentencepiece.__version__,
            "settings": self._plan["settings"],
        }

    def _documents(self) -> Iterator[tuple[str, Iterator[documents.Document]]]:
        for i, part in enumerate(self._parts):
            kept = self._survivors.read(i, part, lambda _: None)
            yield f"documents-{i:05d}.jsonl.gz", (document for _, document in kept)
