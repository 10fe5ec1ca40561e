# What people do here. `make demo` and `make test` install what they need and say what.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
RELEASE := $(CURDIR)/target/release
KUBECTL := $(CURDIR)/target/tools/bin/kubectl
CARGO := $(shell command -v cargo)
# Network namespaces and containers need root.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=PATH,CARGO_HOME,RUSTUP_HOME)
# Debian's cargo has no nextest; plain `cargo test` runs the same tests, one binary at a time.
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
TESTS := $(if $(NEXTEST),nextest run --workspace,test --workspace --no-fail-fast -- --test-threads=1)

# Tests of whole boards, each a program of its own.
QEMU_TESTS := $(patsubst tests/tests/%.rs,--test %,$(wildcard tests/tests/qemu_*.rs))
TESTS_QEMU := $(if $(NEXTEST),nextest run,test --no-fail-fast) --package bramble-tests $(QEMU_TESTS) \
	$(if $(NEXTEST),,-- --test-threads=1 --nocapture)

.PHONY: help build demo demo-clean test test-qemu abuse conformance lint bare-metal cross-test bench bench-boards cross images clean

help:
	@echo "make demo          a cluster of four boards on this machine, and a pulled plug"
	@echo "make demo KEEP=1   the same, left running; end it with make demo-clean"
	@echo "make test          all tests"
	@echo "make test-qemu     all tests with emulated boards, also those that take many minutes"
	@echo "make abuse         attacks on a cluster of this machine's own, and what held"
	@echo "make conformance   upstream's own suite (E2E=e2e.test) against a cluster of this machine"
	@echo "make bench         figures for BENCHMARKS.md"
	@echo "make bench-boards  figures of emulated boards that boot from flashed cards"
	@echo "make cross         binaries for 64-bit ARM boards, as small as they get"
	@echo "make images        the image of a card, for all 64-bit boards"
	@echo "make build         binaries for this machine, in target/release"

build:
	@tests/install.sh demo
	cargo build --release --package bramble-master --package bramble-agent

demo:
	@tests/install.sh demo
	@echo "building bramble ..."
	@start=$$SECONDS; cargo build --quiet --release --package bramble-master \
		--package bramble-agent --package bramble-tests --bins \
		&& echo "building bramble ... done ($$((SECONDS - start)) s)"
	@$(SUDO) env BRAMBLE_BIN_DIR=$(RELEASE) KUBECTL=$(KUBECTL) \
		$(RELEASE)/bramble-demo $(if $(KEEP),--keep)

demo-clean:
	@$(SUDO) $(RELEASE)/bramble-demo --clean

test: lint bare-metal cross-test
	cargo build --quiet --workspace --all-targets
	@mkdir -p target
	$(SUDO) env KUBECTL=$(KUBECTL) $(CARGO) $(TESTS) 2>&1 | tee target/test.log
	@skipped=$$(grep -c '^ *skipped: ' target/test.log); grep '^ *skipped: ' target/test.log | sort | uniq -c; \
		echo "tests that could not run here: $$skipped"

test-qemu:
	@tests/install.sh test
	cargo build --quiet --workspace --all-targets
	@mkdir -p target
	$(SUDO) env BRAMBLE_QEMU=all KUBECTL=$(KUBECTL) $(CARGO) $(TESTS_QEMU) 2>&1 | tee target/test-qemu.log

# An interrupted run leaves nothing behind either. ONLY=node/,packets/ chooses attacks.
abuse:
	@tests/install.sh bench
	cargo build --quiet --release --package bramble-master --package bramble-agent \
		--package bramble-tests --bins
	@trap '$(SUDO) $(RELEASE)/bramble-abuse --clean' EXIT; \
		$(SUDO) env BRAMBLE_BIN_DIR=$(RELEASE) KUBECTL=$(KUBECTL) \
		$(RELEASE)/bramble-abuse $(if $(ONLY),--only $(ONLY))

# E2E is upstream's e2e.test; FOCUS and SKIP are expressions, IMAGES a folder of OCI layouts; with
# GINKGO, upstream's program of that name, PROCESSES of them run beside each other.
conformance:
	@tests/install.sh demo
	cargo build --quiet --release --package bramble-master --package bramble-agent \
		--package bramble-tests --bins
	@trap '$(SUDO) $(RELEASE)/bramble-conformance --clean' EXIT; \
		$(SUDO) env BRAMBLE_BIN_DIR=$(RELEASE) KUBECTL=$(KUBECTL) \
		$(RELEASE)/bramble-conformance $(if $(E2E),--e2e $(E2E)) \
		$(if $(GINKGO),--ginkgo $(GINKGO) --processes $(or $(PROCESSES),4)) \
		$(if $(FOCUS),--focus '$(FOCUS)') $(if $(SKIP),--skip '$(SKIP)') \
		$(if $(IMAGES),--images $(IMAGES))

lint:
	@tests/install.sh test
	@if cargo fmt --version >/dev/null 2>&1; then cargo fmt --all --check; \
		else echo "skipped: rustfmt is not installed"; fi
	@if cargo clippy --version >/dev/null 2>&1; \
		then cargo clippy --quiet --workspace --all-targets -- --deny warnings; \
		else echo "skipped: clippy is not installed"; fi

# The cores' tests once more, as the boards' processors run them.
cross-test:
	@tests/install.sh test
	cargo cross test

# `shared` must not need an operating system.
bare-metal:
	@tests/install.sh test
	tests/bare-metal.sh

bench:
	@tests/install.sh bench
	cargo build --quiet --release --workspace --bins --examples
	@$(SUDO) env BRAMBLE_BIN_DIR=$(RELEASE) KUBECTL=$(KUBECTL) $(RELEASE)/bramble-bench

# What goes on a card is measured: PROFILE=release is quicker to build and larger.
PROFILE ?= card
REPEAT ?= 3
bench-boards:
	@tests/install.sh test
	cargo build --quiet --release --package bramble-master --package bramble-agent \
		--package bramble-tests --bins
	cargo images build --profile $(PROFILE)
	@$(SUDO) env BRAMBLE_BIN_DIR=$(RELEASE) KUBECTL=$(KUBECTL) \
		BRAMBLE_CARD_IMAGE=$(CURDIR)/target/images/bramble-arm64.img.gz \
		$(RELEASE)/bramble-bench boards --repeat $(REPEAT)

cross:
	cargo cross build --board arm64 --profile card

images:
	@tests/install.sh images
	cargo build --release --package bramble-master
	cargo images build --profile card
	@echo "write a card with it: target/release/bramble flash"

clean:
	cargo clean
