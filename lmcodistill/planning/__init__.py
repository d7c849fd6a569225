"""What a run will take, as arithmetic: no files, no clocks, no TensorFlow.

From counts (`model/cost.py`) and figures of the machines (`settings/planning.py`)
to seconds and bytes. docs/guide/planning.md has every formula with its source.
"""
