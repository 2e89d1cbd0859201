#!/usr/bin/env bash
# Real clients against a really started `ferry server`, over TLS, and the replays of the conformance
# suite that need no node. No root: the control plane alone, on the loopback.
#
#   clients.sh [STEP…]        all steps, or these: python javascript rust kubectl conformance
#
# What the clients' registries gave is kept below the target folder; the cluster is taken away.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ferry=${FERRY_BINARY:-$root/target/ferry}
cache=${CARGO_TARGET_DIR:-$root/target}/clients
dir=$(mktemp -d /tmp/ferry-clients.XXXXXX)
export KUBECONFIG=$dir/kubeconfig
passed=0 failed=0
server=

say() { echo "clients: $*" >&2; }
finish() {
  [ -n "$server" ] && kill -TERM "$server" 2>/dev/null && wait "$server" 2>/dev/null
  rm -rf "$dir"
  echo "clients: $passed and $failed" >&2
}
trap finish EXIT

# Runs a program whose last line is `N passed, N failed`; a program without one has failed.
count() {
  local name=$1; shift
  say "$name"
  "$@" 2>&1 | tee "$dir/out" | sed '$!b; /passed,/d'
  local p f
  p=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed.*/\1/p' "$dir/out" | tail -n 1)
  f=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed.*/\2/p' "$dir/out" | tail -n 1)
  if [ -z "$p" ]; then p=0 f=1; echo "FAIL  $name ended without a result"; fi
  passed=$((passed + p)) failed=$((failed + f))
}

start_server() {
  "$ferry" server --data-dir "$dir/data" --bind-address 127.0.0.1 --https-port 0 \
    --node-ip 192.0.2.10 --write-kubeconfig "$KUBECONFIG" \
    --disable node,proxy,dns,ingress,servicelb,local-path,metrics,mesh,functions,dashboard \
    >"$dir/server.log" 2>&1 &
  server=$!
  # `status --wait` waits for a node, and there is none here.
  for _ in $(seq 300); do
    "$ferry" get namespace kube-system >"$dir/out" 2>&1 && return
    kill -0 "$server" 2>/dev/null || break
    sleep 0.2
  done
  say "the server did not start"; tail -n 20 "$dir/server.log"; exit 1
}

step_python() { count "PyPI kubernetes" "$root/scripts/python.sh" "$root/tests/clients/python_client.py" "$KUBECONFIG"; }

# Modules are looked for beside the program, so it runs from the folder that has them.
step_javascript() {
  local folder=$cache/javascript
  mkdir -p "$folder"
  cp "$root/tests/clients/javascript_client.mjs" "$folder/"
  if ! cmp -s "$root/tests/clients/package.json" "$folder/installed.json"; then
    cp "$root/tests/clients/package.json" "$folder/"
    if npm install --prefix "$folder" --silent --no-audit --no-fund --no-package-lock >&2; then
      cp "$root/tests/clients/package.json" "$folder/installed.json"
    fi
  fi
  count "npm @kubernetes/client-node" node "$folder/javascript_client.mjs" "$KUBECONFIG"
}

step_rust() {
  count "kube-rs" cargo run --quiet --manifest-path "$root/Cargo.toml" --package it \
    --example kube_client -- "$KUBECONFIG"
}

step_kubectl() {
  command -v kubectl >/dev/null || { say "no kubectl here: its part is left out"; return; }
  count "kubectl" "$root/tests/clients/kubectl.sh"
}

step_conformance() {
  count "conformance" "$root/scripts/python.sh" "$root/tests/conformance/run.py" --kubeconfig "$KUBECONFIG"
}

start_server
[ $# -gt 0 ] || set -- python javascript rust kubectl conformance
for step in "$@"; do "step_$step"; done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
