"""The weights of the LSTM language model."""

from collections.abc import Iterator

from lmcodistill.model import initialisers
from lmcodistill.model.contract import WeightSpec
from lmcodistill.settings import model as settings


def specs(config: settings.LanguageModel, vocab_size: int) -> Iterator[WeightSpec]:
    """Yields the weights, in the order that they are drawn in."""

    def matrix(
        name: str, shape: tuple[int, int], fans: tuple[int, int], summed_axis: int
    ) -> WeightSpec:
        width = config.init_scale
        if config.initializer == "glorot":
            width = initialisers.glorot(width, *fans)
        return WeightSpec(name, shape, initialisers.uniform(width), summed_axis)

    embedding, hidden = config.embedding_size, config.hidden_size
    # A row is an output of the embedding, and of the projection to logits; a row's
    # fans count its own width, not the vocabulary.
    yield matrix("embedding", (vocab_size, embedding), (embedding, embedding), 1)
    for layer in range(config.num_layers):
        prefix, width = f"layer_{layer}/", embedding if layer == 0 else hidden
        gates = (4 * hidden,)
        # A gate's fan-out is H, not the 4H of the four side by side.
        for name, rows in (("input_kernel", width), ("recurrent_kernel", hidden)):
            yield matrix(prefix + name, (rows, *gates), (rows, hidden), 0)
        yield WeightSpec(prefix + "shift", gates, initialisers.zeros)
        if config.layer_norm:
            yield WeightSpec(prefix + "gain", gates, initialisers.ones)
    if not config.tie_embeddings:
        yield matrix("projection/kernel", (vocab_size, hidden), (hidden, hidden), 1)
    yield WeightSpec("projection/bias", (vocab_size,), initialisers.zeros)
