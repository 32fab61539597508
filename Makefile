# Everything a newcomer needs: `make run` to see a call, `make test` to check a change.
# No step is needed before any target; each sets up what it misses.

PYTHON ?=
WAV    ?=
SAY    ?=
AGENT  ?=
TRACE  ?=
ARGS   ?=
export PYTHON WAV SAY AGENT TRACE

# Where this is set (containers like to), each of the many processes that start here would compile its modules anew.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin

# How the lock files are compiled: for every supported Python at once, with hashes, and without
# the address of any package index.
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes \
	--no-emit-index-url --no-header --no-annotate

.DEFAULT_GOAL := help
.PHONY: help setup run call call-phone approve test test-runtime test-fast check format doctor bench bench-worker bench-media \
	package-test image-test conformance lock clean

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PYTHON=python3.12 chooses the interpreter (3.11 to 3.13) for any of them."

setup: ## Make .venv with exactly the locked dependencies
	@exec sh scripts/setup.sh

run: setup ## Start everything on this machine, place a spoken demonstration call, stay up
	@exec $(BIN)/python -m emulators run $(ARGS)

call: setup ## Place another call on the running stack (WAV=a.wav, SAY="some words", AGENT=name, TRACE=1)
	@exec $(BIN)/python -m emulators call $(ARGS)

call-phone: setup ## Call the running stack by phone, with an interruption, keys and a transfer (SAY="some words", TRACE=1)
	@exec $(BIN)/python -m emulators call-phone $(ARGS)

approve: setup ## Approve what a tool on the running stack asks a person (ARGS="--reject --comment 'Too much.'")
	@exec $(BIN)/python -m emulators approve $(ARGS)

test: setup ## Run every test: unit, integration, end to end
	@exec $(BIN)/python scripts/run_tests.py

test-runtime: setup ## Run the Functions host's tests with Azure's own worker library too (needs Python 3.13)
	@$(BIN)/python -m tests.support.second_executor
	@exec $(BIN)/pytest tests/integration/functions_host tests/integration/functions/test_second_executor.py \
		tests/e2e/test_second_executor.py -n 2 -k "azure-runtime or second_executor" $(ARGS)

test-fast: setup ## Run the unit tests
	@exec $(BIN)/pytest tests/unit -n 2 $(ARGS)

check: setup ## Lint, formatting, types, import rules, agent definitions
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@$(BIN)/pyright --version >/dev/null 2>&1 || { \
		echo "check: pyright did not start; its first run fetches an npm package, so npm must be reachable." >&2; \
		exit 1; }
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m shared.agents check

format: setup ## Mend what the linter can mend, and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

doctor: setup ## Check this machine and say how to mend what is wrong
	@exec $(BIN)/python -m emulators doctor

bench: setup ## Measure what the README's figures come from
	@exec $(BIN)/python -m benchmarks $(ARGS)

bench-worker: setup ## Measure the worker beside other clients of the sideband (ARGS=--quick: a minute)
	@sh scripts/setup_bench.sh
	@exec $(BIN)/python -m benchmarks.worker_load $(ARGS)

bench-media: setup ## Measure calls whose audio passes through the worker (ARGS=--quick: half a minute)
	@sh scripts/setup_bench.sh
	@exec $(BIN)/python -m benchmarks.media_load $(ARGS)

package-test: setup ## Start the Functions package as Azure would: its own requirements, nothing else
	@DEPLOYMENT_TESTS=1 exec $(BIN)/python -m pytest tests/deployment/test_functions_package.py $(ARGS)

image-test: setup ## Build the worker's image and let it take a call (IMAGE_ENGINE=docker, podman, buildah)
	@DEPLOYMENT_TESTS=1 exec $(BIN)/python -m pytest tests/deployment/test_worker_image.py $(ARGS)

conformance: setup ## Run the public MCP conformance suite (from npm) against our MCP client and server
	@exec $(BIN)/python -m tests.conformance

lock: setup ## Compile the lock files again from requirements*.in (ARGS=--upgrade)
	$(COMPILE) --python-version 3.11 $(ARGS) requirements.in -o requirements.txt
	$(COMPILE) --python-version 3.11 $(ARGS) requirements-worker.in -o requirements-worker.txt
	$(COMPILE) --python-version 3.11 $(ARGS) requirements-dev.in -o requirements-dev.txt
	$(COMPILE) --python-version 3.11 $(ARGS) requirements-bench.in -o requirements-bench.txt
	$(COMPILE) --python-version 3.13 $(ARGS) requirements-host313.in -o requirements-host313.txt

clean: ## Remove what the other targets made
	rm -rf .venv .venv313 .venv-bench .run .pytest_cache .ruff_cache .hypothesis .import_linter_cache
