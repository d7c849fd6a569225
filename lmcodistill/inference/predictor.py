"""What people do with trained students: score texts, continue them, evaluate.

The commands `evaluate`, `generate` and `score` and the public Python interface are
thin over this. `loading.load` makes a `Predictor` without importing TensorFlow before
it must.
"""

import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lmcodistill import errors
from lmcodistill.data import shards, text_forms, windows
from lmcodistill.data import vocabulary as vocabulary_lib
from lmcodistill.exports import manifest, reader
from lmcodistill.inference import evaluation, sampling, scores
from lmcodistill.model import contract
from lmcodistill.settings import checks
from lmcodistill.storage import publication


class Member(NamedTuple):
    """One student, ready to predict.

    Attributes:
        export: What its export says of it.
        model: The model, frozen.
    """

    export: manifest.Description
    model: contract.Model


class Predictor:
    """One student, or several as an ensemble: the mean of their probabilities.

    Attributes:
        members: The students.
        vocabulary: Theirs: `encode`, `decode`, `pieces`, `size`, `end_id`.
    """

    def __init__(
        self, members: Sequence[Member], vocabulary: vocabulary_lib.Vocabulary
    ) -> None:
        """Takes students of one vocabulary."""
        self.members, self.vocabulary = tuple(members), vocabulary

    @classmethod
    def read(cls, snapshots: Sequence[publication.Snapshot]) -> "Predictor":
        """Reads and verifies exports, and builds their models.

        Raises:
            SnapshotError: one is damaged, or of another vocabulary than the first.
        """
        vocabulary = reader.vocabulary_of(snapshots[0])
        expected = manifest.Expected(vocabulary.fingerprint, vocabulary.size)
        exports = (reader.read(snapshot, expected) for snapshot in snapshots)
        # The weights stay with the models alone.
        members = [Member(export.description(), export.build()) for export in exports]
        return cls(members, vocabulary)

    @property
    def label(self) -> str:
        """What people call it."""
        if len(self.members) == 1:
            return self.members[0].export.label
        return f"ensemble of {len(self.members)}"

    def students(self) -> list["Predictor"]:
        """Returns every student by itself."""
        return [Predictor([member], self.vocabulary) for member in self.members]

    def require_one_reading(self) -> None:
        """Refuses students that read documents differently.

        Raises:
            UsageError: they cannot be evaluated together.
        """
        evaluation.reset_at_documents([member.export for member in self.members])

    def score(
        self, texts: Sequence[str], *, per_token: bool = False
    ) -> list[scores.TextScore]:
        """Returns how probable texts are, each read from its beginning.

        Args:
            texts: The texts.
            per_token: Whether each token's part is wanted as well.

        Raises:
            UsageError: one text in place of several, or it is no Unicode text.
        """
        if isinstance(texts, str):
            raise errors.UsageError(
                "score takes several texts, and one was given. Write score([text])."
            )
        for text in texts:
            _refuse_surrogates(text)
        # As the text that the students were trained on.
        forms = [self.vocabulary.form(text_forms.clean(text)) for text in texts]
        ids = self.vocabulary.encode_many(forms)
        nats = self._evaluator.nats_of_texts(ids, self.vocabulary.end_id)
        found = []
        for text, tokens, values in zip(texts, ids, nats, strict=True):
            by_token = None
            if per_token:
                pieces = map(self._piece, [*tokens, self.vocabulary.end_id])
                by_token = tuple(map(scores.TokenScore, pieces, values.tolist()))
            num_bytes = len(text.encode())
            found.append(
                scores.TextScore(float(values.sum()), len(values), num_bytes, by_token)
            )
        return found

    def generate(
        self,
        prompt: str = "",
        *,
        num_samples: int = 1,
        num_tokens: int = 64,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> list[str]:
        """Returns texts that begin with `prompt`; the same seed gives the same ones.

        Args:
            prompt: How they begin; empty: as any document of the training text.
            num_samples: How many.
            num_tokens: Most tokens to add to each; it ends early where the model
                ends a document.
            temperature: Divides the logits; 0.0 takes the most likely token.
            seed: Of the draws.

        Raises:
            UsageError: a number cannot work, or the prompt is no Unicode text.
        """
        _refuse_surrogates(prompt)
        return self._sampler.continuations(
            prompt,
            num_samples=num_samples,
            num_tokens=num_tokens,
            temperature=temperature,
            seed=seed,
        )

    def evaluate(
        self,
        data: str | os.PathLike[str] | shards.ShardSet,
        *,
        split: str = "validation",
        lanes: int = 32,
        window: int = 32,
        first_token: int = 0,
        max_tokens: int | None = None,
        progress: Callable[[int], Callable[[int], None]] = lambda total: lambda _: None,
    ) -> scores.SplitScore:
        """Scores every token of a held-out split once.

        Args:
            data: The data folder that `lmcodistill prep` made.
            split: Which split.
            lanes: Rows that the text is read in; each starts without context.
            window: Tokens of a row that are read at once.
            first_token: Where the text that is scored begins.
            max_tokens: Tokens of it to score; None: all from there on.
            progress: Told how many windows there are; what it returns is told how
                many are done.

        Raises:
            DataError: it is no data folder, is damaged, or lacks the split.
            SnapshotError: the text is of another vocabulary.
            UsageError: a number cannot work, or the students cannot read one text
                together.
        """
        checks.require(lanes > 0, "lanes", lanes, "1 or more")
        checks.require(window > 0, "window", window, "1 or more")
        checks.require(first_token >= 0, "first_token", first_token, "0 or more")
        is_sound = max_tokens is None or max_tokens > 0
        checks.require(is_sound, "max_tokens", max_tokens, "1 or more, or None")
        if not isinstance(data, shards.ShardSet):
            data = shards.ShardSet(pathlib.Path(data).expanduser())
        of_data, scored_split = data.manifest, data.held_out_split(split)
        expected = manifest.Expected(of_data.vocabulary, of_data.vocab_size)
        exports = [member.export for member in self.members]
        for e in exports:
            manifest.require_vocabulary(e.source, e.vocabulary, e.vocab_size, expected)
        scored = windows.EvaluationWindows(
            data.tokens_of(scored_split),
            streams=lanes,
            window=window,
            end_id=of_data.end_id,
            reset_at_documents=evaluation.reset_at_documents(exports),
            first_token=first_token,
            max_tokens=max_tokens,
        )
        [nats], tokens = self._evaluator.totals(
            scored, 0, scored.streams, progress(scored.num_windows)
        )
        is_whole = tokens == scored_split.tokens
        return scores.SplitScore(
            float(nats),
            tokens,
            scored_split.words if is_whole else None,
            scored_split.bytes if is_whole else None,
        )

    @functools.cached_property
    def _evaluator(self) -> evaluation.Evaluator:
        return evaluation.Evaluator([member.model for member in self.members])

    @functools.cached_property
    def _sampler(self) -> sampling.Sampler:
        return sampling.Sampler([m.model for m in self.members], self.vocabulary)

    def _piece(self, token: int) -> str:
        return self.vocabulary.pieces[token]


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise errors.UsageError(
            f"The text {text[:80]!r} holds bytes that are no UTF-8. Convert it first; "
            "`iconv -f WINDOWS-1252 -t UTF-8` does for many."
        ) from error
