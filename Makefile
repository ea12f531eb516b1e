# Every command of the project. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV_VERSION := 0.13.9

# Where workspaces live, and what the demo runs on.
export MARQUEE_HOME ?= $(CURDIR)/.marquee
SOURCE ?= simulated
DATA ?=
WORKSPACE ?= $(SOURCE)

# Embedded tools phone home by default; nothing here does.
export MLFLOW_DISABLE_TELEMETRY := true
export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo
	@echo "  make demo SOURCE=kuairand DATA=<folder>   the same lifecycle on KuaiRand-Pure"
	@echo "  $(BIN)/marquee --help                the command line"

.PHONY: setup
setup: $(READY) ## Create .venv with the locked dependencies

# torch comes first and exactly: pip takes the CPU wheel where one is provided. The lock has the rest.
$(READY): requirements.lock.txt pyproject.toml Makefile
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v in ((3, 11), (3, 12)) else f"Marquee needs CPython 3.11 or 3.12, this is {v[0]}.{v[1]}: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --compile-bytecode -r requirements.lock.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(BIN)/uv pip check --quiet --python $(BIN)/python
	printf '#!%s\nimport sys\n\nfrom marquee.cli import main\n\nsys.exit(main())\n' '$(CURDIR)/$(BIN)/python' > $(BIN)/marquee
	chmod +x $(BIN)/marquee
	touch $(READY)

.PHONY: demo
demo: $(READY) ## Run the whole lifecycle, from events to a consumer's feature look-up
	$(BIN)/marquee demo --workspace $(WORKSPACE) --source $(SOURCE) $(if $(DATA),--data "$(DATA)")

.PHONY: ui
ui: $(READY) ## Start Dagster, MLflow and Feast over the demo's workspace, for the browser
	$(BIN)/marquee ui --workspace $(WORKSPACE)

.PHONY: airflow
airflow: $(READY) ## Start Airflow with the DAGs on a loopback address
	PATH="$(CURDIR)/$(BIN):$$PATH" AIRFLOW_HOME=$(MARQUEE_HOME)/airflow infra/airflow/one_machine.sh

.PHONY: fmt
fmt: $(READY) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: check
check: $(READY) ## Lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: test
test: check ## Run the checks and the whole quick test suite
	$(MAKE) --no-print-directory --jobs 2 $(SUITES)

# Two at a time, the longest first: whichever ends makes room for the next.
SUITES = test-lifecycle test-platform test-features test-training test-store test-s3 test-rest
.PHONY: $(SUITES)
test-lifecycle: TESTS = tests/integration tests/docs
test-platform: TESTS = tests/unit/assets
test-store: TESTS = tests/unit/embedding_store
test-training: TESTS = tests/unit/training
test-features: TESTS = tests/unit/feature_repo tests/unit/marquee
test-s3: TESTS = --storage s3 $(addprefix tests/unit/embedding_store/test_,checks.py gates.py publisher.py races.py staging.py)
test-rest: TESTS = tests/unit/lake tests/unit/dags tests/unit/benchmarks tests/contracts
$(SUITES): $(READY)
	$(BIN)/python -m pytest -m "not prove" $(TESTS)

.PHONY: prove
prove: $(READY) ## Run the full figures of the crash and concurrency suites
	$(BIN)/python -m pytest -m prove --timeout 3600
	$(BIN)/python -m pytest tests/unit/embedding_store --storage s3 --timeout 600

.PHONY: bench
bench: $(READY) ## Run the measurements behind the figures in the docs
	$(BIN)/python -m benchmarks.lifecycle

.PHONY: lock
lock: $(READY) ## Resolve the dependencies anew, with hashes
	$(BIN)/uv pip compile pyproject.toml --extra dev --python-version 3.11 --generate-hashes \
	  --no-emit-package torch --no-emit-find-links --no-emit-index-url --no-header \
	  --output-file requirements.lock.txt
	sed -i '1i # Every dependency of the development environment but torch, with hashes.\n# Made by `make lock`; torch is installed first and exactly, see the Makefile.' requirements.lock.txt

.PHONY: clean
clean: ## Remove every workspace below MARQUEE_HOME, and nothing else
	for file in "$(MARQUEE_HOME)"/*/workspace.json; do \
	  if test -e "$$file"; then rm -rf -- "$$(dirname "$$file")"; fi; \
	done
