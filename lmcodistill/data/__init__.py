"""From token files to training windows: vocabulary, shards, windows.

What step `s` trains on is arithmetic on `s`; there is no iterator to save.

Shapes use B for streams (rows of a batch) and T for the tokens of a window.
"""
