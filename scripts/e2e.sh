#!/usr/bin/env bash
# The rolling-update lab on real containers, in network and mount namespaces of its own: the labs'
# manifests with kubectl where it is, and with Ferry's own verbs. Every request is counted.
#
#   e2e.sh [STEP…]            all steps, or these: objects rollout replace dns nodeport recover clean
#   FERRY_E2E_ROUNDS=N        rollouts under load and back (default 10)
#   FERRY_E2E_REQUESTS=N      requests at least in each (default 10000)
#   FERRY_E2E_KEEP=1          leave the data folder for a look
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ferry=${FERRY_BINARY:-$root/target/ferry}
[ "$(id -u)" -eq 0 ] || { echo "e2e.sh needs root" >&2; exit 1; }

# Into namespaces of our own. /sys stays as it is: the cgroups are the machine's, below ferry/.
if [ -z "${FERRY_E2E_INSIDE:-}" ]; then
  exec env FERRY_E2E_INSIDE=1 unshare --net --mount --propagation private "$0" "$@"
fi

dir=$(mktemp -d /tmp/ferry-e2e.XXXXXX)
mkdir -p /var/log/pods
mount -t tmpfs tmpfs /var/log/pods
ip link set lo up
ip link add ferry-e2e type bridge
ip address add 10.123.0.1/24 dev ferry-e2e
ip link add e2e0 type veth peer name e2e1
ip link set e2e0 master ferry-e2e up
ip link set e2e1 up
ip link set ferry-e2e up

export FERRY_DATA_DIR=$dir/data
export KUBECONFIG=$dir/data/server/kubeconfig.yaml
rounds=${FERRY_E2E_ROUNDS:-10}
requests=${FERRY_E2E_REQUESTS:-10000}
passed=0 failed=0
server=

say() { echo "e2e: $*" >&2; }
ok() { passed=$((passed + 1)); echo "ok    $*"; }
bad() { failed=$((failed + 1)); echo "FAIL  $*"; }
# check NAME COMMAND…: the command's success decides.
check() { local name=$1; shift; if "$@" >"$dir/out" 2>&1; then ok "$name"; else bad "$name"; sed 's/^/      /' "$dir/out" | tail -n 15; fi; }
# is NAME WANTED GOT
is() { if [ "$2" = "$3" ]; then ok "$1"; else bad "$1: wanted '$2', got '$3'"; fi; }
has() { if grep -qF -- "$2" <<<"$3"; then ok "$1"; else bad "$1: no '$2' in:"; sed 's/^/      /' <<<"$3" | tail -n 15; fi; }

start_server() {
  "$ferry" server --node-ip 10.123.0.1 --node-name edge >>"$dir/server.log" 2>&1 &
  server=$!
  "$ferry" status --wait --timeout 60s >"$dir/out" 2>&1 || { bad "the server is ready"; tail -n 20 "$dir/server.log"; return 1; }
}

# Other clusters of this machine have theirs.
cgroups() { find /sys/fs/cgroup -type d \( -path '*/ferry*' -o -path '*/kubepods*' \) 2>/dev/null | sort; }
cgroups >"$dir/cgroups"

main=$BASHPID
finish() {
  # Subshells inherit the trap; the end is the main shell's.
  [ "$BASHPID" = "$main" ] || return
  # Clients that send without end must not outlive what they send to.
  local left; left=$(jobs -p | grep -vx "$server"); [ -z "$left" ] || kill -KILL $left 2>/dev/null
  [ -n "$server" ] && kill -TERM "$server" 2>/dev/null && wait "$server" 2>/dev/null
  "$ferry" server --clean --data-dir "$FERRY_DATA_DIR" 2>>"$dir/server.log" || bad "everything was taken away"
  left=$(pgrep -af "ferry-shim.*$dir"; comm -13 "$dir/cgroups" <(cgroups); ip -o link | grep -o 'fry[^@:]*'; nft list tables 2>/dev/null | grep ferry)
  is "nothing is left on the machine" "" "$left"
  is "nothing panicked" "" "$(grep -a 'panicked at' "$dir/server.log" | head -n 3)"
  umount /var/log/pods 2>/dev/null
  if [ -n "${FERRY_E2E_KEEP:-}" ]; then say "the data is in $dir"; else rm -rf "$dir"; fi
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}
trap 'finish; exit $?' EXIT
trap 'exit 143' TERM INT

# The verbs under test: kubectl where there is one, Ferry's own always.
clients=("$ferry")
command -v kubectl >/dev/null && clients+=(kubectl)
k() { "${clients[-1]}" "$@"; }
f() { "$ferry" "$@"; }

labs=$root/tests/labs
images() {
  mkdir -p "$dir/rootfs"
  ln -f "$ferry" "$dir/rootfs/ferry" 2>/dev/null || cp "$ferry" "$dir/rootfs/ferry"
  for v in v1 v2; do
    check "image build oliwave/kubia:$v" "$ferry" image build "$dir/rootfs" -t "oliwave/kubia:$v" \
      --entrypoint /ferry --entrypoint demo --env "FERRY_DEMO_VERSION=$v" --port 8080
  done
  check "image save and import" bash -c "'$ferry' image save oliwave/kubia:v1 -o '$dir/kubia.tar' && '$ferry' image import '$dir/kubia.tar'"
}

# seen PATTERN GET-ARGS…: waits until a watch shows a line of this pattern. The watch itself is not
# waited for: it would end only with its next line. One that ends before is begun again.
seen() {
  local pattern=$1 try; shift
  for try in 1 2 3; do
    grep -q -m1 -E -- "$pattern" < <(timeout 60 "$ferry" get "$@" -w --no-headers 2>>"$dir/server.log") && return
    say "watch $try of $* ended without '$pattern'"
  done
  return 1
}

ready_pods() { k get pods -l app=kubia -o 'jsonpath={.items[*].status.podIP}' | wc -w; }
service_ip() { k get svc kubia -o 'jsonpath={.spec.clusterIP}'; }

step_objects() {
  for c in "${clients[@]}"; do
    local name; name=$(basename "$c")
    check "$name: apply the deployment" "$c" apply -f "$labs/kubia/deployment-v1.yaml"
    check "$name: apply the service" "$c" apply -f "$labs/kubia/service.yaml"
    check "$name: rollout status" timeout 60 "$c" rollout status deployment/kubia-dp
    has "$name: get po -o wide" "10.42." "$("$c" get po -o wide 2>&1)"
    has "$name: get rs" "kubia-dp-" "$("$c" get rs 2>&1)"
    has "$name: get svc" "80/TCP" "$("$c" get svc kubia 2>&1)"
    has "$name: get endpoints" ":8080" "$("$c" get endpoints kubia 2>&1)"
    local pod; pod=$("$c" get pods -l app=kubia -o 'jsonpath={.items[0].metadata.name}')
    has "$name: describe" "Successfully assigned" "$("$c" describe pod "$pod" 2>&1)"
    has "$name: logs" "demo v1 listens" "$("$c" logs "$pod" 2>&1)"
    has "$name: get -o yaml" "kind: Pod" "$("$c" get pod "$pod" -o yaml 2>&1)"
    has "$name: get all -n kube-system" "kube-apiserver" "$("$c" get all -n kube-system 2>&1)"
  done
  is "three pods have addresses of their own" 3 "$(k get pods -l app=kubia -o 'jsonpath={range .items[*]}{.status.podIP}{"\n"}{end}' | sort -u | grep -c .)"
  has "the service answers" "This is v1 running in pod" "$(curl -sS -m 5 "http://$(service_ip)/" 2>&1)"
  check "the built-in image runs too" bash -c "'$ferry' create deployment builtin --image=ferry.local/demo:v2 && timeout 60 '$ferry' rollout status deployment/builtin && '$ferry' delete deployment builtin"
}

# A pod that sends requests without pause until it is told to end.
load_pod() {
  cat <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 20
  containers:
  - name: load
    image: $("$ferry" image ls | sed -n 's/^\(ferry.local\/ferry:[^ ]*\).*/\1/p')
    args: [bench, requests, --url, "http://$(service_ip)/", --count, "$2", --concurrency, "2"]
YAML
}

# field FILE NAME DEFAULT: a number out of a tally, or the default where there is none.
field() { local found; found=$(sed -n "s/.*\"$2\":\([0-9.]*\).*/\1/p" "$1" | tail -n 1); echo "${found:-$3}"; }

# under_load NAME COMMAND…: requests from the node and from a pod while the command runs.
under_load() {
  local name=$1; shift
  k delete pod load --ignore-not-found --force --grace-period=0 >/dev/null 2>&1
  load_pod load "$((requests * 2))" | k apply -f - >/dev/null 2>&1
  local url; url=http://$(service_ip)/
  "$ferry" bench requests --url "$url" --concurrency 2 >"$dir/node.json" 2>>"$dir/server.log" &
  local load=$!
  seen 'Running|Completed' pod load
  "$@" >"$dir/out" 2>&1 || { bad "$name: $*"; tail -n 5 "$dir/out"; }
  # The pod ends after its share, which takes longer than a rollout; the node's client goes on
  # until then.
  seen 'Completed|Error' pod load
  kill -TERM $load; wait $load
  k logs load >"$dir/pod.json" 2>&1
  local total=0 lost=0 slowest=0 n
  for n in node pod; do
    total=$((total + $(field "$dir/$n.json" requests 0)))
    lost=$((lost + $(field "$dir/$n.json" failed 1)))
    slowest=$(printf '%s\n%s\n' "$slowest" "$(field "$dir/$n.json" slowest_ms 0)" | sort -g | tail -n 1)
  done
  if [ "$lost" -eq 0 ] && [ "$total" -ge "$requests" ]; then
    ok "$name: $total requests, none lost, slowest $slowest ms"
  else
    bad "$name: $total requests, $lost lost, slowest $slowest ms"; cat "$dir/node.json" "$dir/pod.json"; k describe pod load | tail -n 12
  fi
}

roll() { k apply -f "$labs/kubia/deployment-$1.yaml" && timeout 120 "$ferry" rollout status deployment/kubia-dp; }
undo() { k rollout undo deployment/kubia-dp && timeout 120 "$ferry" rollout status deployment/kubia-dp; }

step_rollout() {
  local round
  for round in $(seq "$rounds"); do
    under_load "rollout $round: v1 to v2" roll v2
    for client in node pod; do
      has "rollout $round: both versions answered the $client" '"v1":' "$(grep -o '"versions":.*"v2":' "$dir/$client.json")"
    done
    under_load "rollout $round: undo" undo
    has "rollout $round: v1 answers again" "This is v1" "$(curl -sS -m 5 "http://$(service_ip)/" 2>&1)"
  done
  has "rollout history" "REVISION" "$(f rollout history deployment/kubia-dp 2>&1)"
}

delete_each() {
  local pod
  for pod in $(k get pods -l app=kubia -o 'jsonpath={.items[*].metadata.name}'); do
    k delete pod "$pod" && timeout 60 "$ferry" rollout status deployment/kubia-dp || return 1
  done
}

# The process of a pod's container: by the pod's cgroup, since process numbers are the machine's.
process_of() {
  local uid; uid=$(k get pod "$1" -o 'jsonpath={.metadata.uid}')
  local p
  for p in $(pgrep -f '^/ferry demo'); do
    grep -q "pod$uid" "/proc/$p/cgroup" 2>/dev/null && { echo "$p"; return; }
  done
}

step_replace() {
  under_load "pods deleted one after another" delete_each
  is "three pods again" 3 "$(ready_pods)"
  local pod; pod=$(k get pods -l app=kubia -o 'jsonpath={.items[0].metadata.name}')
  kill -KILL "$(process_of "$pod")"
  seen '1 \(' pods -l app=kubia
  has "a killed container is restarted" "1" "$(k get pods -l app=kubia -o 'jsonpath={.items[*].status.containerStatuses[0].restartCount}')"
}

step_dns() {
  check "kube-dns is rolled out" timeout 60 "$ferry" -n kube-system rollout status deployment/kube-dns
  is "kube-dns has its address" 10.96.0.10 "$(k -n kube-system get svc kube-dns -o 'jsonpath={.spec.clusterIP}')"
  image=$("$ferry" image ls | sed -n 's/^\(ferry.local\/ferry:[^ ]*\).*/\1/p')
  local name
  for name in kubia kubia.default.svc.cluster.local kubernetes.default; do
    look "$name" "has address 10."
  done
}

# look NAME WANTED: what a pod of its own is told of a name, by its resolv.conf.
look() {
  cat <<YAML | k apply -f - >/dev/null 2>&1
apiVersion: v1
kind: Pod
metadata: {name: look}
spec:
  restartPolicy: Never
  containers:
  - {name: look, image: "$image", args: [dns, lookup, "$1"]}
YAML
  seen 'Completed|Error' pod look
  has "a pod resolves $1" "$2" "$(k logs look 2>&1)"
  k delete pod look --force --grace-period=0 >/dev/null 2>&1
}

step_nodeport() {
  check "apply the NodePort service" k apply -f "$labs/services/nodeport.yaml"
  local answer
  for _ in 1 2 3 4 5; do answer=$(curl -s -m 3 --retry 3 --retry-connrefused "http://10.123.0.1:30123/"); [ -n "$answer" ] && break; done
  has "30123 answers on the node" "This is v" "$answer"
}

step_recover() {
  local before; before=$(k get pods -l app=kubia -o 'jsonpath={.items[*].metadata.uid}')
  local restarts; restarts=$(k get pods -l app=kubia -o 'jsonpath={.items[*].status.containerStatuses[0].restartCount}')
  k create configmap kept --from-literal=a=b >/dev/null 2>&1
  # Asked for before: the client in the background would ask a server that is dead by then.
  local url; url=http://$(service_ip)/
  "$ferry" bench requests --url "$url" --count 5000 --concurrency 2 >"$dir/node.json" 2>/dev/null &
  local load=$!
  kill -KILL "$server"; wait "$server" 2>/dev/null
  curl -s -m 2 "http://10.96.0.1/" >/dev/null 2>&1
  start_server || return
  wait $load
  is "no request was lost while Ferry was dead" 0 "$(field "$dir/node.json" failed 1)"
  is "the pods are the same" "$before" "$(k get pods -l app=kubia -o 'jsonpath={.items[*].metadata.uid}')"
  is "none was restarted" "$restarts" "$(k get pods -l app=kubia -o 'jsonpath={.items[*].status.containerStatuses[0].restartCount}')"
  is "what was acknowledged is there" b "$(k get configmap kept -o 'jsonpath={.data.a}')"
}

start_server || exit 1
images
if [ $# -eq 0 ]; then set -- objects rollout replace dns nodeport recover; else step_objects; fi
for step in "$@"; do say "$step"; "step_$step"; done
