#!/usr/bin/env bash
# Starts a one-node cluster in the background, waits until its node is Ready, deploys a first
# application and says what to try.
set -euo pipefail
. "$(dirname "$0")/common.sh"
[ "$(id -u)" -eq 0 ] || die "a node needs root: run this as root (or see '$ferry check')"
mkdir -p "$run" && chmod 700 "$FERRY_DATA_DIR" "$run"
if is_up; then
  say "the cluster is running already (process $(cat "$run/pid"))"
else
  # shellcheck disable=SC2086 # the flags are words
  setsid "$ferry" server ${FERRY_FLAGS:-} >"$run/server.log" 2>&1 </dev/null &
  echo $! >"$run/pid"
fi
"$ferry" status --wait --timeout 60s || { tail -n 20 "$run/server.log" >&2; exit 1; }
"$ferry" --kubeconfig "$kubeconfig" apply -f "$root/examples/first.yaml" >&2
"$ferry" --kubeconfig "$kubeconfig" rollout status deployment/hello --timeout 60s >&2
address=$("$ferry" --kubeconfig "$kubeconfig" get svc hello -o 'jsonpath={.spec.clusterIP}')
cat <<END

The cluster is up, and a first application answers at http://$address/
Three things to try:
  export KUBECONFIG=$kubeconfig
  1. curl http://$address/
  2. kubectl get pods -o wide            (or: $ferry get pods -o wide)
  3. kubectl set image deployment/hello hello=ferry.local/demo:v2 && kubectl rollout status deployment/hello
'make down' stops it.
END
