"""One student's training: cluster, step, loop, actions, and what they leave.

`worker.py` reads as the story of one process; `launcher.py` starts many of them
on this machine.
"""
