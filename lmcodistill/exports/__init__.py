"""Exports: what a student publishes for its peers, written and read.

`manifest` says what an export is, `writer` makes one, `reader` verifies one and
reads its tensors, `quantized` stores smaller copies, `probe` judges a fresh one,
`lookup` finds them.
"""
