# Orderbridge: `make help` lists what there is. Needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TRYTON := .venv-tryton
PACKAGES := integration_site sync orders webhooks
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Images often forbid it; the tests start a hundred processes, and each would compile our sources anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run test test-postgres lint types bench model model-bugs fuzz audit-deps screenshots shell migrate clean
.PHONY: rules tryton image mutate hubspot-shapes chaos chaos-hosts chaos-reconcile lock lock-check

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# An environment without pip is one that was left half made.
define environment
@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): install Python 3.11 or newer, or name it with make PYTHON=…" >&2; exit 1; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is `$(PYTHON) -V 2>&1`; Orderbridge needs 3.11 or newer: make PYTHON=python3.12 …" >&2; exit 1; }; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make environments (no ensurepip): install its venv package, on Debian apt-get install python3-venv" >&2; exit 1; }; \
	$(PYTHON) -m venv --clear $(VENV); \
fi
endef

$(VENV)/run.stamp: requirements.txt
	$(environment)
	@echo "installing requirements.txt into $(VENV) …"
	@$(BIN)/python -m pip install -q --require-hashes -r requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt
	$(environment)
	@echo "installing requirements-dev.txt into $(VENV) …"
	@$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/bench.stamp: $(VENV)/dev.stamp requirements-bench.txt
	@echo "installing requirements-bench.txt into $(VENV) …"
	@$(BIN)/python -m pip install -q --require-hashes -r requirements-bench.txt
	@touch $@

$(VENV)/mutate.stamp: $(VENV)/dev.stamp requirements-mutate.txt
	@echo "installing requirements-mutate.txt into $(VENV) …"
	@$(BIN)/python -m pip install -q --require-hashes -r requirements-mutate.txt
	@touch $@

# Tryton's own packages, beside ours: some of them want other versions than we have.
$(TRYTON)/made.stamp: requirements-tryton.txt scripts/tryton.py
	@echo "installing requirements-tryton.txt into $(TRYTON), with a database …"
	@$(PYTHON) -m venv --clear $(TRYTON)
	@$(TRYTON)/bin/python -m pip install -q --require-hashes -r requirements-tryton.txt
	@$(TRYTON)/bin/python scripts/tryton.py $(TRYTON)/orderbridge
	@touch $@

run: $(VENV)/run.stamp $(if $(filter tryton,$(CRM)),tryton) ## web, worker, and a sandbox shop and CRM, on this machine: CRM=odoo … for a stand-in of that CRM, CRM=tryton for a real Tryton
	@$(BIN)/python scripts/run.py $(if $(CRM),--crm $(CRM))

test: $(VENV)/dev.stamp ## every test; those with a real Tryton skip where it cannot be installed (in CI nothing skips)
	@$(MAKE) -s tryton || { [ -z "$$CI$$TRYTON_REQUIRED" ] && echo "Without Tryton: its tests skip."; }
	$(BIN)/python -m pytest

tryton: $(TRYTON)/made.stamp ## a Tryton server for the tests and for CRM=tryton, in an environment of its own

test-postgres: $(VENV)/dev.stamp ## every test that uses the database of the tests, on a throwaway PostgreSQL
	$(BIN)/python -m tests.servers postgres -- $(BIN)/python -m pytest -m "database or equipped" --ignore tests/tryton

lint: $(VENV)/dev.stamp ## style, direction of imports, Dockerfile, compose.yaml, missing migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema -q --builtin-schema vendor.compose-spec compose.yaml
	DEBUG=true ORDERBRIDGE_ENV_FILE= DATABASE_URL=sqlite://:memory: $(BIN)/python manage.py makemigrations --check --dry-run

rules: ## the alert rules and the scrape configuration, by promtool (Debian: apt-get install prometheus)
	@command -v promtool >/dev/null || { echo "There is no promtool: install Prometheus, or put promtool on the PATH" >&2; exit 1; }
	promtool check rules deploy/prometheus/orderbridge.rules.yml
	promtool check config --syntax-only deploy/prometheus/prometheus.yml

types: $(VENV)/dev.stamp ## mypy
	$(BIN)/mypy $(PACKAGES)

bench: $(VENV)/bench.stamp $(if $(filter tryton,$(CRM)),tryton) ## measure (docs/performance.md): PART="ingest drain …" DATABASE=sqlite|postgres SCALE=0.1 CRM=odoo
	$(BIN)/python -m tests.benchmarks $(PART) $(if $(DATABASE),--database $(DATABASE)) $(if $(SCALE),--scale $(SCALE)) $(if $(CRM),--crm $(CRM))

screenshots: $(VENV)/dev.stamp ## the pictures of the README anew, from the sandbox
	$(BIN)/python -m pytest -n 0 tests/browser/screenshots.py

model: $(VENV)/dev.stamp ## histories of all that can happen, against the promises: MODEL_EXAMPLES=… MODEL_SEED=… MODEL_BY=dice TRAITS=worst (docs/model.md)
	MODEL_TRAITS=$(or $(TRAITS),$(MODEL_TRAITS)) $(BIN)/python -m tests.model

model-bugs: $(VENV)/dev.stamp ## every planted bug, which the model has to find
	MODEL_BUGS=all $(BIN)/python -m pytest --dist load tests/model/test_bugs.py

mutate: $(VENV)/mutate.stamp ## whether the tests of the rules can fail: small changes, which they have to notice (docs/testing.md): MODULE=decide
	@$(BIN)/python -m tests.mutation $(MODULE)

chaos: $(VENV)/dev.stamp $(if $(filter tryton,$(CRM)),tryton) ## kill, fill, flush and stop everything under load, then count (docs/chaos.md): ON=sqlite|postgres|redis ORDERS=… SEED=… RATE=… CRM=odoo BRIDGES=2 SHARED=1
	@failed=0; for on in $(or $(ON),sqlite postgres redis); do \
		$(BIN)/python -m tests.chaos --on $$on $(if $(CRM),--crm $(CRM)) $(if $(ORDERS),--orders $(ORDERS)) $(if $(SEED),--seed $(SEED)) $(if $(RATE),--rate $(RATE)) $(if $(BRIDGES),--bridges $(BRIDGES)) $(if $(SHARED),--shared) || failed=1; \
	done; exit $$failed

chaos-hosts: $(VENV)/dev.stamp ## the same on two hosts with one PostgreSQL and one Redis; then what 1, 2 and 4 workers do
	$(BIN)/python -m tests.chaos --on redis --hosts 2 $(if $(ORDERS),--orders $(ORDERS)) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.chaos.throughput

chaos-reconcile: $(VENV)/dev.stamp ## 2 000 orders while nearly everything goes wrong; then reconcile has its say
	$(BIN)/python -m tests.chaos.reconcile

fuzz: $(VENV)/dev.stamp ## anything at all, at both endpoints: FUZZ_EXAMPLES=… of each kind, on SQLite and on a throwaway PostgreSQL
	FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),2000) $(BIN)/python -m pytest tests/fuzz
	FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),2000) $(BIN)/python -m tests.servers postgres -- $(BIN)/python -m pytest tests/fuzz

# What is locked already stays as it is: only what requirements*.in say, and a release by hand, change it.
define lock
@for name in requirements requirements-otel requirements-dev requirements-bench requirements-mutate requirements-tryton; do \
	$(BIN)/uv pip compile -q --custom-compile-command 'make lock' --universal --python-version 3.11 --generate-hashes $$name.in -o $(1)$$name.txt $(2) || exit 1; \
done
endef

lock: $(VENV)/dev.stamp ## requirements*.in, resolved into requirements*.txt with a hash of each file: UPGRADE=1 or PACKAGE=name for newer ones
	$(call lock,,$(if $(UPGRADE),--upgrade) $(if $(PACKAGE),--upgrade-package $(PACKAGE)))

lock-check: $(VENV)/dev.stamp ## whether the lock files are what requirements*.in ask for; needs the internet
	@rm -rf var/lock && mkdir -p var/lock && cp requirements*.txt var/lock/
	$(call lock,var/lock/)
	@for file in requirements*.txt; do \
		diff -u $$file var/lock/$$file || { echo "$$file is not what its .in file asks for: make lock" >&2; exit 1; }; \
	done

hubspot-shapes: $(VENV)/dev.stamp ## every request to HubSpot against its published OpenAPI: OPENAPI=folder; needs node and npm
	@DJANGO_SETTINGS_MODULE=tests.settings $(BIN)/python -m tests.hubspot_shapes "$(OPENAPI)"

audit-deps: $(VENV)/dev.stamp ## known weaknesses of the exact pins; needs the internet
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r requirements.txt

image: $(VENV)/dev.stamp ## the container image, built and run read-only without Docker: needs root, debootstrap, buildah
	.ci/image

shell: $(VENV)/run.stamp ## Django's shell
	@$(BIN)/python manage.py shell

migrate: $(VENV)/run.stamp ## prepare the database
	@$(BIN)/python manage.py migrate

clean: ## forget the environment, caches, and what `make run` made but the database
	rm -rf $(VENV) $(TRYTON) var staticfiles .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
