#!/usr/bin/env bash
# The design's budgets beside what was measured, in namespaces of its own. Prints tables, also into
# target/bench.md. Takes about eight minutes on two cores.
#
#   FERRY_BENCH_COUNT=N    objects a row (default 2000)
#   FERRY_BENCH_IDLE=S     seconds of idleness that are measured (default 60)
#   FERRY_BENCH_PODS=A,B   numbers of Pods whose memory is measured (default 1000,10000,100000)
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
server=
trap 'kill -TERM $server 2>/dev/null; wait $server 2>/dev/null; "$ferry" server --clean; umount /var/log/pods; rm -rf "$dir"' EXIT

ms() { echo $(($(date +%s%N) / 1000000)); }
row() { printf '| %-58s | %-12s | %-14s |\n' "$1" "$2" "$3"; }
start() {
  "$ferry" server --node-ip 10.123.0.1 --node-name bench >>"$dir/log" 2>&1 &
  server=$!
  "$ferry" status --wait --timeout 60s >/dev/null || { tail "$dir/log" >&2; exit 1; }
}
# The processes of containers that run the demo.
demos() { pgrep -f '^/ferry demo' | sort; }
# Milliseconds since the machine started: by the clock that processes' start times are in.
uptime_ms() { awk '{print int($1 * 1000)}' /proc/uptime; }
started_ms() { awk -v hz="$(getconf CLK_TCK)" '{sub(/.*\) /, ""); print int($20 * 1000 / hz)}' "/proc/$1/stat"; }

from=$(ms)
start
ready=$(($(ms) - from))
"$ferry" -n kube-system rollout status deployment/kube-dns --timeout 60s >/dev/null

idle_row() {
  local shims dns idle pss cpu
  shims=$(pgrep -f "ferry-shim.*$dir" | tr '\n' ' ')
  dns=$(pgrep -f '^/ferry dns' | tr '\n' ' ')
  # shellcheck disable=SC2086 # words
  idle=$("$ferry" bench idle --seconds "${FERRY_BENCH_IDLE:-60}" $server $shims $dns)
  pss=$(sed 's/.*"pss_kib":\([0-9]*\).*/\1/' <<<"$idle")
  cpu=$(sed 's/.*"cpu_percent":\([0-9.]*\).*/\1/' <<<"$idle")
  row "idle: server, shims and kube-dns together, PSS" "80 MiB" "$((pss / 1024)) MiB"
  row "idle: CPU, of one core" "0.5 %" "$(printf %.2f "$cpu") %"
}

first_pod_rows() {
  cat >"$dir/pod.yaml" <<YAML
apiVersion: v1
kind: Pod
metadata: {name: first}
spec:
  containers: [{name: c, image: "ferry.local/demo:v1"}]
YAML
  local from began pid
  from=$(ms) began=$(uptime_ms)
  "$ferry" apply -f "$dir/pod.yaml" >/dev/null
  "$ferry" wait pod/first --for=condition=Ready --timeout 30s >/dev/null 2>&1
  row "apply to Ready, image present" "-" "$(($(ms) - from)) ms"
  pid=$(demos | head -n 1)
  row "apply to the container's first instruction (within 10 ms)" "100 ms" "$(($(started_ms "$pid") - began)) ms"
  began=$(uptime_ms); kill -KILL "$pid"
  until pid=$(demos | grep -v "^$pid$"); do :; done
  row "kill -9 of a container to its next first instruction" "-" "$(($(started_ms "$pid") - began)) ms"
}

replaced_row() {
  "$ferry" create deployment one --image=ferry.local/demo:v1 --port=8080 >/dev/null
  "$ferry" expose deployment one --port=80 --target-port=8080 >/dev/null
  "$ferry" rollout status deployment/one --timeout 30s >/dev/null
  local url pod from
  url=http://$("$ferry" get svc one -o 'jsonpath={.spec.clusterIP}')/
  pod=$("$ferry" get pods -l app=one -o 'jsonpath={.items[0].metadata.name}')
  from=$(ms)
  "$ferry" delete pod "$pod" --wait=false >/dev/null
  until curl -s -m 1 "$url" | grep "running in pod" | grep -qv "$pod"; do :; done
  row "a deleted pod, the only one, to its Service's next answer" "-" "$(($(ms) - from)) ms"
}

recovered_row() {
  local from
  kill -KILL $server; wait $server 2>/dev/null
  from=$(ms)
  start
  row "kill -9 of Ferry: start to Ready with what was there" "-" "$(($(ms) - from)) ms"
}

{
  echo "| what | budget | measured |"; echo "| --- | --- | --- |"
  row "launch to a Ready node, empty data directory" "1500 ms" "$ready ms"
  idle_row
  first_pod_rows
  replaced_row
} | tee "$dir/table"
# Not in a pipe: it starts the server that the rest measures.
recovered_row >"$dir/recovered"; cat "$dir/recovered"
"$ferry" delete deployment,service one >/dev/null; "$ferry" delete pod first >/dev/null

# section NAME COMMAND…: runs a benchmark, shows it and keeps it.
section() {
  local name=$1; shift
  echo; echo "$name:"
  "$@" | tee "$dir/out"
  { echo; echo "$name:"; echo '```'; cat "$dir/out"; echo '```'; } >>"$dir/sections"
}
# alone PARTS: the control plane alone, with nothing in it, instead of the server that ran before.
# --cluster-cidr: of the default range 256 nodes get addresses for their pods.
alone() {
  kill -TERM "$server"; wait "$server" 2>/dev/null
  "$ferry" server --clean
  rm -rf "$FERRY_DATA_DIR"
  "$ferry" server --node-ip 10.123.0.1 --cluster-cidr 10.128.0.0/11 --disable "$1" >>"$dir/log" 2>&1 &
  server=$!
  for _ in $(seq 300); do
    [ "$(curl -sk -m 1 https://10.123.0.1:6443/readyz)" = ok ] && return
    sleep 0.1 # there is no event for another process's port
  done
  tail "$dir/log" >&2; exit 1
}
alone node,proxy,dns
section "1 KiB ConfigMaps" "$ferry" bench api --count "$count" --bytes 1024 --pid "$server"
section "2.4 KB Pods" "$ferry" bench api --count "$count" --bytes 0 --pid "$server"
section "Watchers" "$ferry" bench watch --watchers 1000 --events 200 --pid "$server"
alone node,proxy,dns
section "Scheduling" "$ferry" bench schedule --nodes 5000 --pods 2000 --pid "$server"
alone node,proxy,dns
section "Growth" "$ferry" bench memory --counts "${FERRY_BENCH_PODS:-1000,10000,100000}" --keep --pid "$server"
cat "$dir/table" "$dir/recovered" "$dir/sections" >"$root/target/bench.md"
