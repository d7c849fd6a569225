"""What happens between updates, one file each; `training/loop.py` says when.

Every hook decides by arithmetic on the step, so all workers of a group act alike.
Those marked *collective* talk to the other workers.
"""
