.PHONY: setup demo up down test check bench lock
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

setup: $(VENV)/.installed

# uv installs the lock in seconds where pip takes minutes; without it pip does the same work.
$(VENV)/.installed: infra/locks/dev.txt pyproject.toml
	@echo "setpoint: installing the locked environment into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r infra/locks/bootstrap.txt
	@if $(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --no-deps --require-hashes -r infra/locks/dev.txt; then :; else \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r infra/locks/dev.txt; fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	@$(BIN)/setpoint demo $(ARGS)

up: setup
	@$(BIN)/setpoint up $(ARGS)

down: setup
	@$(BIN)/setpoint down $(ARGS)

test: setup
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup
	@$(BIN)/python -m benchmarks $(ARGS)

# One of them, e.g. bench-release, bench-analysis, bench-decisions; bench-serving first installs the
# peers it measures beside ours into .venv-peers, 1 GB.
bench-%: setup
	@$(BIN)/python -m benchmarks $* $(ARGS)

# Tests and the scoring image keep to the versions of the runtime lock.
LOCKS ?= infra/locks
COMPILE := $(BIN)/uv pip compile --system-certs --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

lock: setup
	@$(COMPILE) pyproject.toml -o $(LOCKS)/runtime.txt
	@$(COMPILE) pyproject.toml --group dev -c $(LOCKS)/runtime.txt -o $(LOCKS)/dev.txt
	@$(COMPILE) infra/locks/serving.in -c $(LOCKS)/runtime.txt -o $(LOCKS)/serving.txt
	@$(COMPILE) pyproject.toml infra/locks/platform.in -c $(LOCKS)/runtime.txt -o $(LOCKS)/platform.txt
	@$(COMPILE) infra/locks/peers.in -o $(LOCKS)/peers.txt
	@$(COMPILE) infra/locks/peers-mlserver.in -o $(LOCKS)/peers-mlserver.txt
	@$(COMPILE) infra/locks/peers-river.in -o $(LOCKS)/peers-river.txt
	@$(COMPILE) infra/locks/bootstrap.in -o $(LOCKS)/bootstrap.txt
