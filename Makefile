# Everything a developer runs; `make` alone explains.
#   KEEP=1        make demo: leave its cluster running
#   ARGS='...'    make test, test-pure: more arguments for the test program, e.g. ARGS='pools:: --nocapture'
#                 make test-matrix: other tests than by default, e.g. ARGS=real::drift
#   KEEP_LOGS=1   make test, test-matrix: keep the clusters' files when it fails
#   RELEASES='18' make test-matrix, bench-monitor: on these releases of Ceph only

SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
KEEP ?=
ARGS ?=
export KEEP

.PHONY: help
help: ## This list
	@echo "Targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14 | sed 's/^/  /'
	@echo "Variables:"
	@sed -n 's/^#   /  /p' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: ## Install Ceph's packages, build a Kubernetes control plane and Helm (only what is missing)
	@tests/env/setup.sh

.PHONY: build
build: ## Build the program (target/debug/poolwright)
	@cargo build --locked

.PHONY: demo
demo: setup build ## Show the program at work on a real Ceph and a real Kubernetes API (KEEP=1: leave them running)
	@tests/env/demo.sh

# Tests on the clusters mostly wait, so more of them run at once than there are processors.
test: export RUST_TEST_THREADS ?= 4

# Compiled before the clusters start, which would only idle meanwhile.
.PHONY: test
test: setup ## All tests, on a real Ceph cluster and a real Kubernetes control plane
	@cargo test --locked --no-run
	@tests/env/with-env.sh cargo test --locked $(if $(ARGS),-- $(ARGS))

.PHONY: test-matrix
test-matrix: setup ## What has to be so on every release, on Ceph 16, 18 and 20, each with its own librados
	@tests/env/matrix.sh $(ARGS)

.PHONY: bench-monitor
bench-monitor: setup ## What following the map costs the monitors' other clients, on Ceph 16, 18 and 20 (RELEASES=...)
	@tests/env/bench-monitor.sh

.PHONY: bench-rest
bench-rest: setup ## How the REST API bears up: 1,000 reads a second beside changes, then 200 changes at once
	@tests/env/bench-rest.sh

.PHONY: test-pure
test-pure: ## The tests that need nothing but Rust
	@cargo test --locked --lib $(if $(ARGS),-- $(ARGS))
	@cargo test --locked --test it pure:: $(if $(ARGS),-- $(ARGS))

.PHONY: lint
lint: ## Formatting and clippy, warnings are errors
	@cargo fmt --check
	@cargo clippy --locked --all-targets -- -D warnings

.PHONY: crds
crds: ## Write crds/ anew from the types, and the chart's copies
	@cargo run --locked --quiet -- crds --dir crds
	@cp crds/*.yaml charts/poolwright/files/crds/

.PHONY: clean
clean: ## Remove what was built (the control plane stays in its cache)
	@cargo clean
