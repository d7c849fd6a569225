"""The Transformer language model: `family` is what the registry knows of it.

Shapes here, beside those of `lmcodistill/model/__init__.py`: **D** the width of the
residual stream, **A** heads, **G** heads that have keys and values of their own,
**W** the width of a head, **F** hidden units of the feed-forward part, **M** tokens
of memory, **S** keys of a window, `M + T`.
"""
