#!/usr/bin/env bash
# Every test there is, with what each needs installed first. As root on Linux nothing is skipped.
# Closes with one line: N passed, N failed, N skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
./scripts/packages.sh test || exit 1
passed=0 failed=0 skipped=0

# Runs a step; its own closing lines are counted where it prints cargo's or ours.
step() {
  local name=$1; shift
  echo "== $name" >&2
  local log; log=$(mktemp)
  "$@" > >(tee "$log") 2>&1
  local status=$?
  local p f
  p=$(grep -oE '[0-9]+ passed' "$log" | awk '{s+=$1} END {print s+0}')
  f=$(grep -oE '[0-9]+ failed' "$log" | awk '{s+=$1} END {print s+0}')
  rm -f "$log"
  passed=$((passed + p)) failed=$((failed + f))
  if [ $status -ne 0 ] && [ "$f" -eq 0 ]; then failed=$((failed + 1)); echo "$name ended with $status" >&2; fi
}

step "format" cargo fmt --all --check
step "tidy" cargo run --quiet --package xtask -- tidy
step "lints" cargo clippy --workspace --all-targets --quiet -- -D warnings
step "unit and in-process tests" cargo test --workspace --quiet -- --skip root_
step "release build" make build
step "real clients" ./scripts/clients.sh
if [ "$(id -u)" -eq 0 ]; then
  # Tests that need root work in namespaces of their own, one at a time: they share the kernel.
  step "tests that need root" cargo test --workspace --quiet --tests root_ -- --test-threads=1
  step "end to end" ./scripts/e2e.sh
else
  echo "skipped: tests that need root and the end-to-end test: run as root" >&2
  skipped=$((skipped + 2))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
