# Ferry's commands. `make up` is the way in; `make check` before every commit; CONTRIBUTING.md says
# the rest.

SHELL := /bin/bash
TARGET := x86_64-unknown-linux-gnu
CARGO_TARGET := $(or $(CARGO_TARGET_DIR),target)
BINARY := target/ferry

.PHONY: help build up down clean check test e2e bench soak packages

help: ## what there is
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## the release binary, static, at target/ferry
	@./scripts/packages.sh build
	RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" \
	  cargo build --release --locked --target $(TARGET) --package ferry
	@mkdir -p target && ln -f $(CARGO_TARGET)/$(TARGET)/release/ferry $(BINARY) 2>/dev/null \
	  || cp -f $(CARGO_TARGET)/$(TARGET)/release/ferry $(BINARY)

up: build ## a one-node cluster with a first application
	@./scripts/up.sh

down: ## stop it and its pods
	@./scripts/down.sh

clean: ## forget it: data, rules, links, mounts, cgroups
	@./scripts/clean.sh

check: ## format, lints, unit and in-process tests; no root
	cargo run --quiet --package xtask -- ci

test: ## every test there is, installing what each needs
	@./scripts/test.sh

e2e: build ## the labs, against real containers
	@./scripts/packages.sh test
	@./scripts/e2e.sh

bench: build ## the budgets beside what was measured
	@./scripts/bench.sh

soak: build ## the rollout lab, a hundred rounds
	@FERRY_E2E_ROUNDS=100 ./scripts/e2e.sh rollout
