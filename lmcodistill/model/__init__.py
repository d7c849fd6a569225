"""Language models: the contract, the families, the objective, the optimizers.

Built from frozen settings; no files, no gin, no summaries.

Shapes, here and wherever tensors are documented: **B** streams of a batch, **T**
tokens of a window, **N** positions (`T * B`, time-major), **V** vocabulary,
**D** embedding, **H** hidden units, **K** teachers.
"""
