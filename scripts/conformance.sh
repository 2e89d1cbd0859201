#!/usr/bin/env bash
# Replays the conformance tests that need a node against a whole cluster of one real node, in network and mount namespaces
# of its own. As root; a shell for the pods comes from Debian's static busybox.
#
#   conformance.sh [ARGUMENT…]     more arguments for tests/conformance/run.py: -k WORD, --slow …
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ferry=${FERRY_BINARY:-$root/target/ferry}
[ "$(id -u)" -eq 0 ] || { echo "conformance.sh needs root" >&2; exit 1; }
if [ -z "${FERRY_CONFORMANCE_INSIDE:-}" ]; then
  # What comes from a registry comes now: inside there is no way out.
  "$root/scripts/python.sh" -c '' || exit 1
  exec env FERRY_CONFORMANCE_INSIDE=1 unshare --net --mount --propagation private "$0" "$@"
fi

dir=$(mktemp -d /tmp/ferry-conformance.XXXXXX)
mkdir -p /var/log/pods
mount -t tmpfs tmpfs /var/log/pods
ip link set lo up
ip link add ferry-conf type bridge
ip address add 10.123.0.1/24 dev ferry-conf
ip link add conf0 type veth peer name conf1
ip link set conf0 master ferry-conf up
ip link set conf1 up
ip link set ferry-conf up
export FERRY_DATA_DIR=$dir/data
export KUBECONFIG=$dir/data/server/kubeconfig.yaml
server=

finish() {
  [ -n "$server" ] && kill -TERM "$server" 2>/dev/null && wait "$server" 2>/dev/null
  "$ferry" server --clean --data-dir "$FERRY_DATA_DIR" >>"$dir/server.log" 2>&1 ||
    echo "conformance.sh: not everything was taken away" >&2
  umount /var/log/pods 2>/dev/null
  rm -rf "$dir"
}
trap finish EXIT

# image NAME ROOTFS ARGUMENT…
image() {
  local name=$1 rootfs=$2; shift 2
  "$ferry" image build "$rootfs" -t "conformance.local/$name" "$@" >>"$dir/server.log" 2>&1
}

# A shell that has its tools by their names, and the demo web server in two versions. A binary for
# development is not static: its libraries come along.
images() {
  mkdir -p "$dir"/shell/{bin,tmp,etc} "$dir/demo"
  cp /bin/busybox "$dir/shell/bin/"
  /bin/busybox --list | grep -vx busybox | xargs -I{} ln -s busybox "$dir/shell/bin/{}"
  cp "$ferry" "$dir/demo/ferry"
  ldd "$ferry" 2>/dev/null | grep -o '/[^ ]*' | xargs -rI{} cp -L --parents {} "$dir/demo"
  image busybox:1 "$dir/shell" --env PATH=/bin || return
  local v
  for v in v1 v2; do
    image "demo:$v" "$dir/demo" --entrypoint /ferry --entrypoint demo --port 8080 \
      --env "FERRY_DEMO_VERSION=$v" || return
  done
}

"$ferry" server --node-ip 10.123.0.1 --node-name edge >>"$dir/server.log" 2>&1 &
server=$!
"$ferry" status --wait --timeout 300s >/dev/null 2>&1 && images ||
  { echo "conformance.sh: the cluster did not start" >&2; tail -n 20 "$dir/server.log"; exit 1; }
"$root/scripts/python.sh" "$root/tests/conformance/run.py" --kubeconfig "$KUBECONFIG" --node-only "$@"
