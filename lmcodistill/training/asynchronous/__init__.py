"""Asynchronous SGD: workers that do not wait for each other, and parameter servers.

The paper's other baseline (arXiv:1804.03235, section 1; Dean et al. 2012, "Large
Scale Distributed Deep Networks"), by TensorFlow's `ParameterServerStrategy`.
"""
