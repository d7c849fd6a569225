"""Runs the quick start: see `run`."""

from tools.quickstart import run

run.main()
