#!/usr/bin/env bash
# Installs the Debian packages that a step needs, or names them.
#   packages.sh build    to build the binary
#   packages.sh test     to run every test
set -euo pipefail
# etcd-client's build runs protoc, with the well-known types that libprotobuf-dev has.
build=(gcc pkg-config protobuf-compiler libprotobuf-dev busybox-static)
test=("${build[@]}" etcd-server etcd-client nftables iproute2 procps curl
  python3 python3-venv openssl)
# A Node.js of another origin than Debian is as good.
command -v npm >/dev/null || test+=(nodejs npm)
case "${1:-}" in
  build) wanted=("${build[@]}") ;;
  test) wanted=("${test[@]}") ;;
  *) echo "usage: packages.sh build|test" >&2; exit 2 ;;
esac
missing=()
for name in "${wanted[@]}"; do
  dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "packages.sh: no apt-get here; install the equivalents of: ${missing[*]}" >&2
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "packages.sh: missing: ${missing[*]}; run as root: apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "installing ${missing[*]}" >&2
apt-get update -qq
# Servers that come with a package must not start on this machine: the tests start their own.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; made=1
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
[ -z "$made" ] || rm -f "$policy"
