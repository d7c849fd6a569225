"""Predictions of what a run takes; only `rates` has a clock, and measures.

From counts (`model/cost.py`) and figures of the machines (`settings/planning.py`)
to seconds and bytes. docs/guide/planning.md has every formula with its source.
"""
