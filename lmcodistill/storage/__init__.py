"""Paths, small files, object stores and snapshots that other processes may read.

Other rooms may append to logs and map shards themselves; whatever a second process
reads while it is written is written here. The one invariant: a reader never sees
half of anything.
"""
