"""Names of a state's tensors, whatever nest it is."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from lmcodistill.model import registry, states, weights
from lmcodistill.settings import model as settings


class Pair(NamedTuple):
    second: object
    first: object


NEST = {"b": [np.zeros(1), (np.ones(2),)], "a": Pair(np.ones(3), {"x": np.ones(4)})}


def test_paths_are_in_the_order_of_tf_nest():
    paths = states.by_path(NEST)

    assert list(paths) == ["a/second", "a/first/x", "b/0", "b/1/0"]
    for leaf, expected in zip(paths.values(), tf.nest.flatten(NEST), strict=True):
        assert leaf is expected


def test_other_leaves_are_put_in_their_places():
    other = states.like(NEST, {path: path for path in states.by_path(NEST)})

    assert other == {
        "b": ["b/0", ("b/1/0",)],
        "a": Pair("a/second", {"x": "a/first/x"}),
    }


def test_names_of_the_lstms_state_are_those_of_all_checkpoints_so_far():
    config = settings.LanguageModel(embedding_size=3, hidden_size=4, num_layers=11)
    model = registry.build(config, 7, weights.initial(config, 7, seed=0))

    shapes = {
        n: tuple(x.shape) for n, x in states.by_path(model.initial_state(2)).items()
    }

    assert shapes == {f"layer_{k}/{s}": (2, 4) for k in range(11) for s in ("h", "c")}
