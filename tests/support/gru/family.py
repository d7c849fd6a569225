"""What the registry knows of the GRU: its configuration, weights and operations."""

import dataclasses
from collections.abc import Iterator

from lmcodistill.model import contract, initialisers
from lmcodistill.settings import checks
from lmcodistill.settings import model as settings


@dataclasses.dataclass(frozen=True)
class Gru(settings.ModelConfig):
    """One GRU layer (Cho et al. 2014) whose embedding is also its output head.

    Attributes:
        vocab_size: See `ModelConfig`.
        compute_dtype: See `ModelConfig`.
        width: Units, and width of the embedding.
        init_scale: Half-width of the initial weights.
    """

    width: int = 16
    init_scale: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.require(self.width >= 1, "Gru.width", self.width, "a positive number")


def weight_specs(config: Gru, vocab_size: int) -> Iterator[contract.WeightSpec]:
    """Yields the weights; gates are reset, update and candidate, side by side."""
    drawn, width = initialisers.uniform(config.init_scale), config.width
    yield contract.WeightSpec("embedding", (vocab_size, width), drawn, 1)
    yield contract.WeightSpec("cell/input", (width, 3 * width), drawn, 0)
    yield contract.WeightSpec("cell/recurrent", (width, 3 * width), drawn, 0)
    yield contract.WeightSpec("cell/bias", (3 * width,), initialisers.zeros)
    yield contract.WeightSpec("head/bias", (vocab_size,), initialisers.zeros)


def forward(
    config: Gru, vocab_size: int, streams: int, window: int
) -> contract.Operations:
    """Returns the operations of a forward pass."""
    width, positions = config.width, streams * window
    matmuls = [
        contract.Matmul(positions, width, 3 * width),
        contract.Matmul(streams, width, 3 * width, window, True),
        contract.Matmul(positions, width, vocab_size),
    ]
    values = positions * 3 * width
    return contract.Operations(
        matmuls, values, kept=3 * values, carried=streams * width
    )


def build(config, vocab_size, weights, *, trainable):
    """Makes a model; see `contract.Family`."""
    from tests.support.gru import model

    specs = weight_specs(config, vocab_size)
    return model.GruModel(config, vocab_size, specs, weights, trainable=trainable)


FAMILY = contract.Family(
    config=Gru,
    weight_specs=weight_specs,
    forward=forward,
    smallest=lambda config: dataclasses.replace(config, width=8),
    build=build,
)
