#!/usr/bin/env bash
# Stops the cluster that `make up` started, and its pods. What it keeps stays.
set -euo pipefail
. "$(dirname "$0")/common.sh"
if is_up; then
  pid=$(cat "$run/pid")
  kill -TERM "$pid"
  # The process is no child of this shell; its end is seen by its pidfd's stand-in, tail --pid.
  timeout 20 tail --pid="$pid" -f /dev/null || kill -KILL "$pid"
fi
rm -f "$run/pid"
[ -x "$ferry" ] || exit 0
"$ferry" server --clean
