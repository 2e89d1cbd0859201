#!/usr/bin/env bash
# Forgets the cluster of `make up`: stops it and removes everything that it kept.
set -euo pipefail
. "$(dirname "$0")/common.sh"
"$root/scripts/down.sh"
case "$FERRY_DATA_DIR" in
  "" | / | /var | /var/lib | /home | /root) die "refusing to remove $FERRY_DATA_DIR" ;;
esac
rm -rf --one-file-system "$FERRY_DATA_DIR"
