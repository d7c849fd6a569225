#!/usr/bin/env bash
# The whole program in a few minutes: two students that teach each other, and one
# that learns alone. Alone on a fresh clone: it needs bash, one of Python 3.11 to
# 3.13, two cores, and on its first run a package index. No data: the text is the
# documentation that every Python carries.
#
#   tools/quickstart.sh                              writes to .quickstart
#   tools/quickstart.sh DIR                          writes to DIR
#   tools/quickstart.sh DIR --gin.NUM_TRAIN_STEPS=400   passed on to `train`
#
# The same command goes on where it was stopped, and leaves alone what is done.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
source "$root/tools/environment.sh"
make_environment
# The checkout alone is searched, wherever this was started.
export PYTHONPATH="$root" PYTHONSAFEPATH=1
[[ $# -gt 0 && $1 != -* ]] || set -- "$root/.quickstart" "$@"
exec "$root/.venv/bin/lmcodistill" quickstart --install_seconds "$SECONDS" "$@"
