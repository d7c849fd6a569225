"""Every parameter that a gin file can set, and those of downloads, which are flags.

Frozen dataclasses without TensorFlow. gin describes, Python builds: a gin file
fills these descriptions and nothing else; models, datasets and strategies are built
from them by the commands. Each class refuses values that cannot work, so that a
bad run stops before it starts.
"""
