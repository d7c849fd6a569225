"""What a language model is: enough to build one, and to check a peer's."""

import dataclasses
import hashlib
import json
from typing import Any

from lmcodistill.settings import checks

COMPUTE_DTYPES = ("float32", "bfloat16", "float64")


@dataclasses.dataclass(frozen=True)
class ModelFamily:
    """Which kind of model is trained.

    Attributes:
        name: Name of a family that `model/registry.py` knows. Its own class has all
            other settings of the model: `lstm` is set by `LanguageModel`,
            `transformer` by `Transformer`.
    """

    name: str = "lstm"


@dataclasses.dataclass(frozen=True)
class ModelConfig(checks.Checked):
    """What the configuration of every model family has.

    Attributes:
        vocab_size: Token ids, V; None takes the data's, a number must equal it.
        compute_dtype: Type of the operands of matrix products. State,
            normalisation, softmax and weights are float32 in any case (float64
            with `float64`, which is for tests).
    """

    vocab_size: int | None = checks.limited(
        None, lambda size: size is None or size >= 2, "None or at least 2"
    )
    compute_dtype: str = checks.choice("float32", COMPUTE_DTYPES)

    @property
    def weight_dtype(self) -> str:
        """Type of the weights and the state."""
        return "float64" if self.compute_dtype == "float64" else "float32"

    def to_json(self) -> dict[str, object]:
        """Returns the JSON object that manifests carry."""
        return dataclasses.asdict(self)

    def fingerprint(self) -> str:
        """Returns a digest of what decides the shapes and the arithmetic."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _size(default: int) -> Any:
    return checks.limited(
        default,
        lambda size: isinstance(size, int) and size >= 1,
        "a positive whole number",
    )


def _dropout() -> Any:
    return checks.limited(0.0, lambda x: 0.0 <= x < 1.0, "a probability below 1")


@dataclasses.dataclass(frozen=True)
class LanguageModel(ModelConfig):
    """An LSTM language model.

    The defaults are the paper's model (arXiv:1804.03235, section 3.1) but for
    the vocabulary, which comes with the data.

    Attributes:
        vocab_size: See `ModelConfig`.
        compute_dtype: See `ModelConfig`.
        embedding_size: Width of a token's embedding, D.
        num_layers: LSTM layers.
        hidden_size: Units of each layer, H.
        layer_norm: Whether the gates' pre-activations are layer-normalised.
        forget_bias: Added to the forget gate's pre-activation.
        dropout: Probability of dropping an activation between layers, before
            the first and after the last (Zaremba et al. 2014, arXiv:1409.2329);
            recurrent connections are never dropped.
        tie_embeddings: Whether the projection to logits is the transposed
            embedding; needs `embedding_size == hidden_size`.
        initializer: `glorot` (uniform, by fan) or `uniform` (one width for all).
        init_scale: `uniform`: half-width; `glorot`: a factor on the half-width.
    """

    embedding_size: int = _size(256)
    num_layers: int = _size(2)
    hidden_size: int = _size(1024)
    layer_norm: bool = True
    forget_bias: float = 1.0
    dropout: float = _dropout()
    tie_embeddings: bool = False
    initializer: str = checks.choice("glorot", ("glorot", "uniform"))
    init_scale: float = checks.positive(1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(
            "tie_embeddings",
            not self.tie_embeddings or self.embedding_size == self.hidden_size,
            f"False, or embedding_size ({self.embedding_size}) equal to "
            f"hidden_size ({self.hidden_size})",
        )


# An export says how much its model remembers, and no tensor of it bears that out:
# without a limit a false one could ask its readers for any amount of memory.
_MAX_MEMORY = 1 << 13


@dataclasses.dataclass(frozen=True)
class Transformer(ModelConfig):
    """A Transformer language model.

    The defaults are the shape of the small GPT-2, 124 million weights with its
    vocabulary, except for the parts that are newer: normalisation, positions and
    feed-forward layers.

    Attributes:
        vocab_size: See `ModelConfig`.
        compute_dtype: See `ModelConfig`.
        width: Width of the embedding and of the residual stream, D.
        num_layers: Layers, each of attention and feed-forward.
        num_heads: Heads of attention; `width / num_heads`, a head's width, must be
            even.
        num_key_value_heads: Heads that have keys and values of their own; the others
            share them in groups (Ainslie et al. 2023, arXiv:2305.13245). None: all.
        feed_forward_width: Hidden units of the feed-forward part; 8 / 3 of the
            width has the weights of the usual 4 (Shazeer 2020, arXiv:2002.05202).
        memory: Tokens before it that a token attends to, however its text is cut
            into windows: as many keys and values are carried from window to window.
            0: nothing is carried, and a token attends to what its window has before
            it; text that is generated token by token is then without context.
        rotary_base: Of the wavelengths of rotary positions, whose longest is about
            2 pi times that many tokens (Su et al. 2021, arXiv:2104.09864).
        dropout: Probability of dropping an activation of the embedding, or of what
            a part adds to the residual stream (Vaswani et al. 2017,
            arXiv:1706.03762, section 5.4).
        tie_embeddings: Whether the projection to logits is the transposed embedding.
        init_scale: A factor on the standard deviation of the initial weights, which is
            `sqrt(2 / (5 width))` (Nguyen and Salazar 2019, arXiv:1910.05895, section
            2.2); that of what is added to the residual stream is smaller by
            `sqrt(2 num_layers)`, as in GPT-2.
    """

    width: int = _size(768)
    num_layers: int = _size(12)
    num_heads: int = _size(12)
    num_key_value_heads: int | None = checks.limited(
        None, lambda count: count is None or count >= 1, "None or at least 1"
    )
    feed_forward_width: int = _size(2048)
    memory: int = checks.limited(
        256,
        lambda size: isinstance(size, int) and 0 <= size <= _MAX_MEMORY,
        f"a whole number from 0 to {_MAX_MEMORY}",
    )
    rotary_base: float = checks.limited(10_000.0, lambda x: x > 1.0, "more than 1")
    dropout: float = _dropout()
    tie_embeddings: bool = True
    init_scale: float = checks.positive(1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(
            "num_heads",
            self.width % (2 * self.num_heads) == 0,
            f"a number whose double divides width ({self.width})",
        )
        self._require(
            "num_key_value_heads",
            self.num_heads % self.key_value_heads == 0,
            f"None, or a divisor of num_heads ({self.num_heads})",
        )

    @property
    def key_value_heads(self) -> int:
        """Heads that have keys and values of their own, G."""
        return self.num_key_value_heads or self.num_heads

    @property
    def head_width(self) -> int:
        """Width of a head, W."""
        return self.width // self.num_heads


# The configurations of the families that come with the program, by name.
BUILT_IN: dict[str, type[ModelConfig]] = {
    "lstm": LanguageModel,
    "transformer": Transformer,
}
