#!/usr/bin/env bash
# The design's budgets beside what was measured, in namespaces of its own. Prints a table, also into
# target/bench.md. FERRY_BENCH_COUNT=N objects a row (default 2000), FERRY_BENCH_IDLE=S seconds.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ferry=${FERRY_BINARY:-$root/target/ferry}
[ "$(id -u)" -eq 0 ] || { echo "bench.sh needs root" >&2; exit 1; }
if [ -z "${FERRY_BENCH_INSIDE:-}" ]; then
  exec env FERRY_BENCH_INSIDE=1 unshare --net --mount --propagation private "$0" "$@"
fi
dir=$(mktemp -d /tmp/ferry-bench.XXXXXX)
mkdir -p /var/log/pods && mount -t tmpfs tmpfs /var/log/pods
ip link set lo up
ip link add bench type bridge && ip address add 10.123.0.1/24 dev bench && ip link set bench up
ip link add b0 type veth peer name b1 && ip link set b0 master bench up && ip link set b1 up
export FERRY_DATA_DIR=$dir/data KUBECONFIG=$dir/data/server/kubeconfig.yaml
count=${FERRY_BENCH_COUNT:-2000}
trap 'kill -TERM $server 2>/dev/null; wait $server 2>/dev/null; "$ferry" server --clean; umount /var/log/pods; rm -rf "$dir"' EXIT

ms() { echo $(($(date +%s%N) / 1000000)); }
row() { printf '| %-58s | %-12s | %-14s |\n' "$1" "$2" "$3"; }

from=$(ms)
"$ferry" server --node-ip 10.123.0.1 --node-name bench >"$dir/log" 2>&1 &
server=$!
"$ferry" status --wait --timeout 60s >/dev/null || { tail "$dir/log"; exit 1; }
ready=$(($(ms) - from))
"$ferry" -n kube-system rollout status deployment/kube-dns --timeout 60s >/dev/null

{
echo "| what | budget | measured |"; echo "| --- | --- | --- |"
row "launch to a Ready node, empty data directory" "1500 ms" "$ready ms"
shims=$(pgrep -f ferry-shim | tr '\n' ' ')
dns=$(pgrep -f '^/ferry dns' | tr '\n' ' ')
# shellcheck disable=SC2086 # words
idle=$("$ferry" bench idle --seconds "${FERRY_BENCH_IDLE:-60}" $server $shims $dns)
pss=$(sed 's/.*"pss_kib":\([0-9]*\).*/\1/' <<<"$idle"); cpu=$(sed 's/.*"cpu_percent":\([0-9.]*\).*/\1/' <<<"$idle")
row "idle: server, shims and kube-dns together, PSS" "80 MiB" "$((pss / 1024)) MiB"
row "idle: CPU" "0.5 %" "$(printf %.2f "$cpu") %"
cat >"$dir/pod.yaml" <<YAML
apiVersion: v1
kind: Pod
metadata: {name: first}
spec:
  containers: [{name: c, image: "ferry.local/demo:v1"}]
YAML
from=$(ms)
"$ferry" apply -f "$dir/pod.yaml" >/dev/null
"$ferry" wait pod/first --for=condition=Ready --timeout 30s >/dev/null 2>&1
row "apply to Ready, image present" "-" "$(($(ms) - from)) ms"
applied=$("$ferry" get pod first -o 'jsonpath={.metadata.creationTimestamp}')
pid=$(pgrep -f '^/ferry demo' | head -n 1)
from=$(ms); kill -KILL "$pid"
until pgrep -f '^/ferry demo' | grep -qv "^$pid$"; do :; done
row "kill -9 of a container to its next first instruction" "-" "$(($(ms) - from)) ms"
} | tee "$dir/table"
echo
"$ferry" bench api --count "$count" --bytes 1024 --pid "$server" | tee "$dir/configmaps"
echo
"$ferry" bench api --count "$count" --bytes 0 --pid "$server" | tee "$dir/pods"
{ cat "$dir/table"; echo; echo "1 KiB ConfigMaps:"; echo '```'; cat "$dir/configmaps"; echo '```'
  echo "2.4 KB Pods:"; echo '```'; cat "$dir/pods"; echo '```'; } >"$root/target/bench.md"
