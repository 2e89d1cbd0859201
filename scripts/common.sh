# Shared by the scripts; sourced, not run.
#   FERRY_DATA_DIR   where the cluster is kept, /var/lib/ferry
#   FERRY_FLAGS      more flags for `ferry server`
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ferry=$root/target/ferry
export FERRY_DATA_DIR=${FERRY_DATA_DIR:-/var/lib/ferry}
run=$FERRY_DATA_DIR/run
kubeconfig=$FERRY_DATA_DIR/server/kubeconfig.yaml

say() { echo "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# Whether the server that `make up` started is running.
is_up() { [ -f "$run/pid" ] && kill -0 "$(cat "$run/pid")" 2>/dev/null; }
