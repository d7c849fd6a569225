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
            other settings of the model: `lstm` is set by `LanguageModel`.
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
    dropout: float = checks.limited(
        0.0, lambda x: 0.0 <= x < 1.0, "a probability below 1"
    )
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
