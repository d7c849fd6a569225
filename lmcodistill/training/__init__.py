"""One student's training: cluster, step, loop, actions, and what they leave.

`worker.py` reads as the story of one process; the supervision room starts such
processes and keeps them alive.
"""
