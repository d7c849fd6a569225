#!/usr/bin/env bash
# Checks and tests everything. Alone on a fresh clone: it needs bash, one of
# Python 3.11 to 3.13, and on its first run a package index.
#
#   tools/test.sh                        everything but the slow tests
#   tools/test.sh tests/unit -k config   the checks, then these tests
#
# The environment is .venv, made anew when setup.py or pyproject.toml changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# pip and TensorFlow want a home; a container may have none.
if [[ -z "${HOME:-}" ]]; then
  export HOME="$PWD/.venv"
fi
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"

stage_started=0
stage() {
  echo
  echo "== $1 (at ${SECONDS} s)"
  stage_started=$SECONDS
}
stage_done() {
  echo "   $((SECONDS - stage_started)) s"
}

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.12 python3.11 python3.13 python3; do
    # A version manager's stub may be there and not run.
    if [[ -n "$candidate" ]] && "$candidate" -c '
import sys, venv
sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "tools/test.sh: no Python 3.11, 3.12 or 3.13 on PATH; set PYTHON to one." >&2
  return 2
}

wanted="$(cat setup.py pyproject.toml | cksum)"
installed="$(cat .venv/installed 2>/dev/null || true)"
if [[ "$installed" != "$wanted" ]]; then
  stage "install into .venv"
  if [[ ! -x .venv/bin/python ]]; then
    python="$(find_python)"
    "$python" -m venv .venv
  fi
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
  echo "$wanted" >.venv/installed
  stage_done
fi

stage "ruff format"
.venv/bin/ruff format --check .
stage_done

stage "ruff check"
.venv/bin/ruff check .
stage_done

stage "mypy"
# By file, because mypy refuses a folder without any.
find lmcodistill data_prep tools -name '*.py' -print0 | xargs -0 .venv/bin/python -m mypy
stage_done

stage "pytest"
.venv/bin/python -m pytest -m "not slow" --durations=10 "$@"
stage_done
echo "All of it: ${SECONDS} s"
