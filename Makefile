# Orderbridge: `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := integration_site sync orders webhooks
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run test test-postgres lint types bench shell migrate clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/run.stamp: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Orderbridge needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq -r requirements.txt && touch $@

$(VENV)/dev.stamp: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Orderbridge needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq -r requirements-dev.txt && touch $@

run: $(VENV)/run.stamp ## everything, with a sandbox shop and CRM, on this machine
	@$(BIN)/python scripts/run.py

test: $(VENV)/dev.stamp ## every test
	$(BIN)/python -m pytest

test-postgres: $(VENV)/dev.stamp ## every test, on a throwaway PostgreSQL
	$(BIN)/python -m tests.servers postgres -- $(BIN)/python -m pytest

lint: $(VENV)/dev.stamp ## style, import contracts, missing migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	DEBUG=true ORDERBRIDGE_ENV_FILE= $(BIN)/python manage.py makemigrations --check --dry-run

types: $(VENV)/dev.stamp ## mypy
	$(BIN)/mypy $(PACKAGES)

bench: $(VENV)/dev.stamp ## figures: ingest and drain
	$(BIN)/python -m tests.benchmarks.ingest
	$(BIN)/python -m tests.benchmarks.drain

shell: $(VENV)/run.stamp ## Django's shell
	$(BIN)/python manage.py shell

migrate: $(VENV)/run.stamp ## prepare the database
	$(BIN)/python manage.py migrate

clean: ## forget environment, caches and the sandbox's data
	rm -rf $(VENV) var staticfiles .pytest_cache .mypy_cache .ruff_cache
