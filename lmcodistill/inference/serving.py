"""A model for serving: text in, scores or text out, tokenizer inside.

Text is read as training text was: cleaned, brought into the vocabulary's form, and
encoded by tensorflow-text's `SentencepieceTokenizer`, never by its fast sibling,
which gives other ids; words are looked up, because it makes one unknown piece of
several unknown words in a row.
"""

import pathlib
import shutil
import uuid
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text as tf_text

from lmcodistill.data import text_forms
from lmcodistill.data import vocabulary as vocabulary_lib
from lmcodistill.exports import writer
from lmcodistill.model import contract, scoring
from lmcodistill.storage import places, scratch

_TEXTS = [tf.TensorSpec([None], tf.string, name="texts")]


class ServingModel(tf.Module):
    """A language model behind its tokenizer."""

    def __init__(
        self,
        model: contract.Model,
        vocabulary: vocabulary_lib.Vocabulary,
        complete_tokens: int,
    ):
        """Wraps `model`.

        Args:
            model: What predicts.
            vocabulary: Its vocabulary.
            complete_tokens: Tokens that `complete` adds at most.
        """
        super().__init__()
        self._model, self._end_id = model, vocabulary.end_id
        self._complete_tokens = complete_tokens
        self._vocabulary = vocabulary
        self._tokenizer = tf_text.SentencepieceTokenizer(model=vocabulary.model)
        self._ids_of_words = _table(vocabulary)

    @tf.function(input_signature=_TEXTS, autograph=False)
    def score(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns how probable texts are.

        Args:
            texts: [B] UTF-8, whole documents.

        Returns:
            `cross_entropy` [B] float32, nats of the whole text, the `</s>` that
            ends it included; `num_tokens` [B] int32, how many that are.
        """
        ragged = self._encode(_apply(self._vocabulary.rules, _clean(texts)))
        lengths = tf.cast(ragged.row_lengths(), tf.int32)
        tokens = ragged.to_tensor(self._end_id)
        end = tf.fill([tf.shape(tokens)[0], 1], self._end_id)
        inputs = tf.concat([end, tokens], 1)
        targets = tf.concat([tokens, end], 1)
        losses = scoring.token_losses(self._model, inputs, targets)
        mask = tf.sequence_mask(lengths + 1, tf.shape(targets)[1], losses.dtype)
        return {
            "cross_entropy": tf.reduce_sum(losses * mask, 1),
            "num_tokens": lengths + 1,
        }

    @tf.function(input_signature=_TEXTS, autograph=False)
    def complete(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Continues texts by their most likely tokens.

        Args:
            texts: [B] UTF-8.

        Returns:
            `texts` [B]: each, cleaned, with at most `complete_tokens` more; it ends
            early at `</s>`.
        """
        return {"texts": tf.map_fn(self._complete_one, texts)}

    def _complete_one(self, text: tf.Tensor) -> tf.Tensor:
        text = _clean(text)
        prompt = self._encode(_apply(self._vocabulary.prompt_rules, text[None]))[0]
        tokens = tf.concat([[self._end_id], prompt], 0)[None]
        is_start = tf.one_hot(0, tf.shape(tokens)[1], True, False, dtype=tf.bool)[None]

        def next_token(
            tokens: tf.Tensor, is_start: tf.Tensor, state: contract.State
        ) -> tuple[tf.Tensor, contract.State]:
            logits, state = scoring.next_logits(self._model, tokens, is_start, state)
            return tf.argmax(logits[0], output_type=tf.int32), state

        token, state = next_token(tokens, is_start, self._model.initial_state(1))
        added = tf.TensorArray(tf.int32, 0, dynamic_size=True, element_shape=[])

        def goes_on(
            count: tf.Tensor, token: tf.Tensor, *_: contract.State
        ) -> tf.Tensor:
            return (count < self._complete_tokens) & (token != self._end_id)

        def body(count: tf.Tensor, *carried: contract.State) -> tuple:
            token, added, state = carried
            added = added.write(count, token)
            token, state = next_token(token[None, None], tf.constant([[False]]), state)
            return count + 1, token, added, state

        _, _, added, _ = tf.while_loop(goes_on, body, (0, token, added, state))
        # As `Vocabulary.continuation`: words of the prompt may be unknown.
        whole = self._tokenizer.detokenize(tf.concat([prompt, added.stack()], 0))
        start = tf.strings.length(self._tokenizer.detokenize(prompt))
        continuation = tf.strings.substr(whole, start, tf.strings.length(whole))
        return text + _apply(self._vocabulary.plain_rules, continuation)

    def _encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns [B, None] int32 ids, as `Vocabulary.encode_many` does."""
        if self._ids_of_words is None:
            return self._tokenizer.tokenize(texts)
        words = tf.strings.split(texts, " ")
        words = tf.ragged.boolean_mask(words, words != "")
        return words.with_flat_values(self._ids_of_words.lookup(words.flat_values))


def _table(vocabulary: vocabulary_lib.Vocabulary) -> tf.lookup.StaticHashTable | None:
    words = vocabulary.ids_of_words
    if words is None:
        return None
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(words), tf.string),
            tf.constant(list(words.values()), tf.int32),
        ),
        vocabulary.unknown_id,
    )


def _clean(texts: tf.Tensor) -> tf.Tensor:
    """As `text_forms.clean`; what is no UTF-8 becomes U+FFFD."""
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
    return _apply(text_forms.CLEAN, texts)


def _apply(rules: Sequence[text_forms.Substitution], texts: tf.Tensor) -> tf.Tensor:
    for pattern, replacement in rules:
        texts = tf.strings.regex_replace(texts, pattern, replacement)
    return texts


def write(
    model: contract.Model,
    vocabulary: vocabulary_lib.Vocabulary,
    target: places.Place,
    *,
    complete_tokens: int,
) -> None:
    """Writes the serving model to `target`, whole or not at all.

    On an object store the graph comes last: servers look for that.

    Args:
        model: What predicts.
        vocabulary: Its vocabulary.
        target: A folder that does not exist yet.
        complete_tokens: See `ServingModel`.
    """
    if not isinstance(target, pathlib.Path):
        with scratch.folder() as local:
            write(model, vocabulary, local / "1", complete_tokens=complete_tokens)
            places.put_tree(local / "1", target, last="saved_model.pb")
        return
    serving = ServingModel(model, vocabulary, complete_tokens)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}-{uuid.uuid4().hex}.partial")
    try:
        tf.saved_model.save(
            serving,
            str(partial),
            signatures={"score": serving.score, "complete": serving.complete},
            options=writer.SAVE_OPTIONS,
        )
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
