#!/usr/bin/env bash
# Checks and tests everything. Alone on a fresh clone: it needs bash, one of
# Python 3.11 to 3.13, and on its first run a package index.
#
#   tools/test.sh                        everything but the slow tests
#   tools/test.sh tests/unit -k config   the checks, then these tests
#
# The environment is .venv, made anew when setup.py or pyproject.toml changed.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$root/tools/environment.sh"
cd "$root"
make_environment '[dev]'

stage "ruff format"
.venv/bin/ruff format --check .
stage_done

stage "ruff check"
.venv/bin/ruff check .
stage_done

stage "mypy"
# By file, because mypy refuses a folder without any.
find lmcodistill data_prep tools tests/support -name '*.py' -print0 | xargs -0 .venv/bin/python -m mypy
stage_done

# Three processes on two cores, because much of a real run is waiting. 5 says that
# nothing was selected.
stage "pytest, in three processes"
.venv/bin/python -m pytest --durations=10 -m "not slow" \
  -n 3 --dist loadfile --no-loadscope-reorder "$@" || [[ $? == 5 ]]
stage_done
echo "All of it: ${SECONDS} s"
