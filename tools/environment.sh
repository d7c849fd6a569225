# Sourced by quickstart.sh and test.sh: makes .venv, and installs into it.
#
#   root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
#   source "$root/tools/environment.sh"
#   make_environment            or, with the development tools,
#   make_environment '[dev]'
#
# The environment is made anew when setup.py or pyproject.toml changed.
# shellcheck shell=bash

# pip and TensorFlow want a home; a container may have none.
if [[ -z "${HOME:-}" ]]; then
  export HOME="$root/.venv"
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
  echo "tools: no Python 3.11, 3.12 or 3.13 on PATH; set PYTHON to one." >&2
  return 2
}

make_environment() {
  local extras="${1:-}" marker wanted python
  marker="$root/.venv/installed$extras"
  wanted="$(cat "$root/setup.py" "$root/pyproject.toml" | cksum)"
  if [[ "$(cat "$marker" 2>/dev/null || true)" == "$wanted" ]]; then
    return
  fi
  stage "install into .venv"
  if ! "$root/.venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python="$(find_python)"
    # Where a distribution has taken ensurepip out, the pip beside Python does it.
    "$python" -m venv "$root/.venv" >/dev/null 2>&1 || {
      "$python" -m venv --without-pip "$root/.venv"
      "$python" -m pip --python "$root/.venv/bin/python" install --quiet pip
    }
  fi
  "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --editable "$root$extras"
  echo "$wanted" >"$marker"
  stage_done
}
