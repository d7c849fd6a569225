"""The weights of a language model: names, shapes, initial values.

NumPy only, so that what a run will need can be said without TensorFlow.
"""

import numpy as np

from lmcodistill.settings import model as model_settings


def num_weights(config: model_settings.LanguageModel, vocab_size: int) -> int:
    """Returns how many weights the model has."""
    return sum(int(np.prod(shape)) for shape in shapes(config, vocab_size).values())


def shapes(
    config: model_settings.LanguageModel, vocab_size: int
) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every weight, by the name it has in snapshots."""
    embedding, hidden = config.embedding_size, config.hidden_size
    table: dict[str, tuple[int, ...]] = {"embedding": (vocab_size, embedding)}
    for layer in range(config.num_layers):
        prefix = f"layer_{layer}/"
        table[prefix + "input_kernel"] = (
            embedding if layer == 0 else hidden,
            4 * hidden,
        )
        table[prefix + "recurrent_kernel"] = (hidden, 4 * hidden)
        table[prefix + "shift"] = (4 * hidden,)
        if config.layer_norm:
            table[prefix + "gain"] = (4 * hidden,)
    if not config.tie_embeddings:
        table["projection/kernel"] = (vocab_size, hidden)
    table["projection/bias"] = (vocab_size,)
    return table


def initial(
    config: model_settings.LanguageModel, vocab_size: int, seed: int
) -> dict[str, np.ndarray]:
    """Returns new float32 weights; the same for the same arguments, anywhere."""
    weights = {}
    for index, (name, shape) in enumerate(shapes(config, vocab_size).items()):
        if name.endswith(("shift", "bias")):
            weights[name] = np.zeros(shape, np.float32)
        elif name.endswith("gain"):
            weights[name] = np.ones(shape, np.float32)
        else:
            width = config.init_scale
            if config.initializer == "glorot":
                # A gate's fan-out is H, not the 4H of the four side by side; an
                # embedding or a projection counts its row, not the vocabulary.
                if name.startswith("layer_"):
                    fan_in, fan_out = shape[0], shape[1] // 4
                else:
                    fan_in = fan_out = shape[1]
                width *= (6.0 / (fan_in + fan_out)) ** 0.5
            generator = np.random.Generator(np.random.PCG64([seed, index]))
            values = generator.random(shape, np.float32)
            weights[name] = (2.0 * values - 1.0) * np.float32(width)
    return weights
