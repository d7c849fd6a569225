"""Codistillation of language models, at scale (Anil et al. 2018, arXiv:1804.03235).

Importing this package imports no TensorFlow: `lmcodistill --help` stays quick.
"""

__version__ = "0.1.0"
