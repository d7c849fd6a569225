"""One student's training: cluster, step, loop, actions, and what they leave.

`worker.py` reads as the story of one process; `launcher.py` starts such processes
and `supervisor.py` keeps them alive.
"""
