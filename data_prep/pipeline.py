"""The run, from top to bottom: read, deduplicate, vocabulary, tokens, shards.

Everything that is written depends on the inputs and the settings alone. The
manifest comes last, so a folder without one is unfinished; running prep again
finishes it, skipping every stage of every file that left its marker.
"""

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import sentencepiece

import lmcodistill
from data_prep import (
    deduplicate,
    engines,
    extract,
    inputs,
    languages,
    partition,
    progress,
    publish,
    recipe,
    report,
    sampling,
    shuffle,
    tokenize_part,
    vocabulary_training,
    work,
)
from lmcodistill import errors
from lmcodistill.data import shards, vocabulary
from lmcodistill.settings import prep as prep_settings
from lmcodistill.storage import files, layout

Task = TypeVar("Task")


def run(
    sources: Sequence[inputs.Input],
    output: pathlib.Path,
    settings: recipe.Recipe,
    engine: engines.Engine,
    display: progress.Display,
) -> dict[str, Any]:
    """Fills the data folder `output` and returns its report.

    Args:
        sources: Files to read, in order.
        output: Where the shards go.
        settings: What to keep and how to cut it.
        engine: Runs the stages.
        display: Shows them.

    Raises:
        UsageError: the folder holds something else, or a setting does not fit.
        DataError: nothing is left to train on.
    """
    languages.check_language(settings.language.language)
    plan = publish.plan_of(sources, settings)
    folder = work.WorkFolder(output / ".work")
    if publish.is_finished(output, plan):
        # Killed between the manifest and the last sweep, there is dust left.
        folder.remove()
        display.say(f"{output} is finished already; nothing to do.")
        return files.read_json(layout.DataLayout(output).report_json, 1 << 30)
    folder.make()
    with folder.held():
        if changed := publish.check_plan(folder, plan):
            display.say(f"changed since the last attempt: {', '.join(changed)}")
        return _Run(sources, output, settings, engine, display, folder, plan).run()


class _Run:
    """One run; its methods are the stages, in order."""

    def __init__(
        self,
        sources: Sequence[inputs.Input],
        output: pathlib.Path,
        settings: recipe.Recipe,
        engine: engines.Engine,
        display: progress.Display,
        folder: work.WorkFolder,
        plan: dict[str, Any],
    ):
        self._sources, self._output, self._settings = sources, output, settings
        self._engine, self._display = engine, display
        self._folder, self._plan = folder, plan
        self._is_pretokenized = sources[0].split is not None
        self._extracted: list[extract.Extracted] = []
        self._parts: tuple[work.Part, ...] = ()
        self._num_buckets = 0

    def run(self) -> dict[str, Any]:
        self._extract()
        duplicates = self._find_duplicates()
        pieces, sampled = self._train_vocabulary()
        counts = self._tokenize()
        splits = self._shuffle(pieces, counts)
        summary = report.build(
            self._extracted, duplicates, counts, pieces, sampled, self._settings
        )
        manifest = shards.Manifest(
            vocabulary=pieces.fingerprint,
            vocab_size=pieces.size,
            end_id=pieces.end_id,
            train=tuple(splits[name] for name in splits if name.startswith("train-")),
            held_out={
                name: split
                for name, split in splits.items()
                if not name.startswith("train-")
            },
            provenance=self._provenance(),
        )
        publish.publish(
            self._output,
            self._folder,
            manifest,
            pieces.model,
            {**summary, "timings": {"seconds": self._display.seconds}},
            dropped=[self._folder.dropped(i) for i in range(len(self._sources))],
            documents=self._documents() if self._settings.prep.keep_documents else None,
        )
        return summary

    def _extract(self) -> None:
        """Reads every input file; keeps what the rules let pass."""
        tasks = [
            extract.Task(
                file=i,
                path=source.path,
                source=source.name,
                root=self._folder.root,
                settings=self._settings.prep,
                rules=None if self._is_pretokenized else self._settings.rules,
            )
            for i, source in enumerate(self._sources)
        ]
        self._run_stage(
            "read",
            extract.extract,
            tasks,
            is_done=lambda task: self._folder.kept_marker(task.file).exists(),
            size=lambda task: task.path.stat().st_size,
            unit="B",
        )
        for i in range(len(self._sources)):
            found = extract.read_result(self._folder, i)
            assert found is not None, "the stage ended without its marker"
            self._extracted.append(found)
        self._parts = tuple(part for found in self._extracted for part in found.parts)
        for found in self._extracted:
            for warning in report.warnings_of(found):
                self._display.say(f"warning: {warning}")
        if not self._parts:
            # Nothing here is worth keeping, and other settings shall find no trace.
            self._folder.remove()
            raise errors.DataError(report.nothing_kept(self._extracted))

    def _find_duplicates(self) -> list[int]:
        """Returns how many copies each input file holds; they are dropped."""
        if self._is_pretokenized or not self._settings.prep.deduplicate:
            return [0] * len(self._sources)
        self._num_buckets = deduplicate.num_buckets_for(self._parts)
        tasks = [
            deduplicate.Task(bucket, self._num_buckets, self._folder.root, self._parts)
            for bucket in range(self._num_buckets)
        ]
        self._run_stage(
            "find_duplicates",
            deduplicate.find_duplicates,
            tasks,
            is_done=lambda t: self._folder.duplicates_marker(t.bucket).exists(),
            size=lambda task: len(self._parts),
            unit="parts",
        )
        copies = [0] * len(self._sources)
        for i, part in enumerate(self._parts):
            found = deduplicate.load_duplicates(self._folder, i, self._num_buckets)
            copies[part.file] += len(found)
        return copies

    def _train_vocabulary(self) -> tuple[vocabulary.Vocabulary, dict[str, int]]:
        """Returns the vocabulary and the size of the sample it was trained on."""
        chosen = self._settings.vocabulary
        total = sum(
            found.tally.kept_bytes
            for found, source in zip(self._extracted, self._sources, strict=True)
            if source.split in (None, "train")
        )
        tasks = [
            sampling.Task(
                number=i,
                part=part,
                root=self._folder.root,
                num_buckets=self._num_buckets,
                place=self._places(part),
                seed=self._settings.prep.seed,
                rate=min(1.0, chosen.sample_bytes / max(1, total)),
                is_word=chosen.type == "word",
            )
            for i, part in enumerate(self._parts)
        ]
        self._run_stage(
            "sample",
            sampling.sample,
            tasks,
            is_done=lambda task: self._folder.sample_marker(task.part).exists(),
            size=lambda task: self._folder.documents(task.part).stat().st_size,
            unit="B",
        )
        sampled = {"documents": 0, "bytes": 0}
        for part in self._parts:
            marker = work.read_marker(self._folder.sample_marker(part)) or {}
            for name in sampled:
                sampled[name] += marker[name]
        if not self._folder.vocabulary_marker.exists():
            self._make_vocabulary(chosen)
            work.write_marker(self._folder.vocabulary_marker, sampled)
        return vocabulary.Vocabulary.load(self._folder.vocabulary_model), sampled

    def _make_vocabulary(self, chosen: prep_settings.PrepVocabulary) -> None:
        if chosen.type == "word":
            counts = sampling.read_counts(self._folder, self._parts)
            model = vocabulary_training.word_model(counts, chosen.size)
            files.write_bytes(self._folder.vocabulary_model, model)
            return
        samples = tuple(self._folder.sample(part) for part in self._parts)
        with self._display.stage("train_vocabulary", 1000, unit="") as stage:
            vocabulary_training.train_pieces(
                chosen,
                samples,
                self._folder,
                lambda p: stage.update(round(1000 * p.fraction), p.detail),
            )

    def _tokenize(self) -> dict[str, dict[str, int]]:
        """Returns documents, tokens, words and bytes of every split."""
        splits = self._split_names()
        tasks = [
            tokenize_part.Task(
                number=i,
                part=part,
                root=self._folder.root,
                num_buckets=self._num_buckets,
                place=self._places(part),
                splits=splits,
                vocab_type=self._settings.vocabulary.type,
            )
            for i, part in enumerate(self._parts)
        ]
        self._run_stage(
            "tokenize",
            tokenize_part.tokenize,
            tasks,
            is_done=lambda task: self._folder.tokens_marker(task.part).exists(),
            size=lambda task: self._folder.documents(task.part).stat().st_size,
            unit="B",
        )
        names: tuple[str, ...] = tokenize_part.COUNTS
        counts = {split: {name: 0 for name in names} for split in splits}
        for part in self._parts:
            marker = work.read_marker(self._folder.tokens_marker(part)) or {}
            for split in splits:
                for name in names:
                    counts[split][name] += marker[split][name]
        for split, found in counts.items():
            if not found["documents"]:
                raise errors.DataError(report.empty_split(split, counts))
        return counts

    def _shuffle(
        self, pieces: vocabulary.Vocabulary, counts: dict[str, dict[str, int]]
    ) -> dict[str, shards.Split]:
        """Returns the splits, whose shards are written."""
        tasks = []
        for number, split in enumerate(self._split_names()):
            count = -(-counts[split]["tokens"] // self._settings.prep.shard_tokens)
            low, high = self._key_range(split)
            for shard, edges in enumerate(partition.equal_ranges(low, high, count)):
                tasks.append(
                    shuffle.Task(
                        root=self._folder.root,
                        output=self._output,
                        split=split,
                        split_number=number,
                        shard=shard,
                        low=edges[0],
                        high=edges[1],
                        parts=self._parts,
                        vocab_size=pieces.size,
                    )
                )
        width = sum(found["tokens"] for found in counts.values()) // len(tasks)
        self._run_stage(
            "shuffle",
            shuffle.write_shard,
            tasks,
            is_done=lambda t: self._folder.shard_marker(t.split, t.shard).exists(),
            size=lambda task: width,
            unit="tokens",
        )
        written: dict[str, list[shards.Shard]] = {}
        for task in tasks:
            marker = self._folder.shard_marker(task.split, task.shard)
            done = shards.Shard(**(work.read_marker(marker) or {}))
            written.setdefault(task.split, []).append(done)
        return {
            name: shards.Split(
                name=name,
                shards=tuple(written[name]),
                documents=counts[name]["documents"],
                tokens=counts[name]["tokens"],
                words=counts[name]["words"],
                bytes=counts[name]["bytes"],
            )
            for name in written
        }

    def _run_stage(
        self,
        name: str,
        function: engines.StageFunction[Task],
        tasks: Sequence[Task],
        *,
        is_done: Callable[[Task], bool],
        size: Callable[[Task], int],
        unit: str,
    ) -> None:
        """Runs the tasks of a stage that an earlier attempt did not finish."""
        sizes = [size(task) for task in tasks]
        todo = [task for task in tasks if not is_done(task)]
        done = sum(n for n, task in zip(sizes, tasks, strict=True) if is_done(task))
        with self._display.stage(name, sum(sizes), unit) as stage:
            stage.update(done)
            self._engine.run(function, todo, stage)

    def _split_names(self) -> tuple[str, ...]:
        count = self._settings.prep.num_partitions
        train = [layout.DataLayout.train_name(i, count) for i in range(count)]
        given = {source.split for source in self._sources}
        test = [partition.TEST] if partition.TEST in given else []
        return (*train, partition.VALIDATION, *test)

    def _places(self, part: work.Part) -> partition.ByHash | partition.ByOrder:
        """Returns how the documents of a part find their places."""
        settings = self._settings.prep
        split = self._sources[part.file].split
        if split is None:
            return partition.ByHash(
                settings.seed, settings.validation_fraction, settings.num_partitions
            )
        parts = [other for other in self._parts if other.file == part.file]
        return partition.ByOrder(
            split=split,
            first=sum(other.documents for other in parts[: part.index]),
            num_documents=sum(other.documents for other in parts),
            num_partitions=settings.num_partitions,
        )

    def _key_range(self, split: str) -> tuple[int, int]:
        if not self._is_pretokenized:
            return 0, partition.KEY_END
        name = "train" if split.startswith("train-") else split
        part = next(p for p in self._parts if self._sources[p.file].split == name)
        place = self._places(part)
        assert isinstance(place, partition.ByOrder)
        return place.key_range(split)

    def _provenance(self) -> dict[str, Any]:
        return {
            "program": f"lmcodistill {lmcodistill.__version__}",
            "sentencepiece": sentencepiece.__version__,
            "settings": self._plan["settings"],
            "inputs": [
                {"name": found.source, "bytes": found.bytes, "sha256": found.sha256}
                for found in self._extracted
            ],
        }

    def _documents(self) -> Iterator[tuple[str, work.Part, frozenset[int]]]:
        for i, part in enumerate(self._parts):
            copies = deduplicate.load_duplicates(self._folder, i, self._num_buckets)
            yield f"documents-{i:05d}.jsonl.gz", part, copies
