"""One student's training: cluster, step, loop, its hooks, and checkpoints.

`worker.py` reads as the story of one process, `loop.py` as that of its steps; the
supervision room starts such processes and keeps them alive.
"""
