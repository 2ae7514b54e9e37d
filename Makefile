# One command each. `make help` lists them.
PYTHON ?= python3
VENV := .venv
SHELL := /bin/bash
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test again unit check compiled format bench matrix soak chaos incident faults generated fuzz looks release sbom docs lock clean

# pip is silent for a minute or talks for pages: this is a line that counts.
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r
COUNTED = awk '/^Collecting /{printf "\r  %3d packages, now %-40.40s", ++n, $$2; fflush()} /^Installing collected/{printf "\r  %3d packages found, now unpacking them %-20s\n", n, ""; fflush()} /^(ERROR|error)/{print; fflush()}' >&2
# One lock file for every Python from 3.11 on and every system: markers say who needs what.
PIN = $(BIN)/uv pip compile -q --universal --generate-hashes --no-header
LOCK = $(PIN) --extra embedded --extra otel --extra build

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

$(VENV)/runtime: requirements.lock pyproject.toml setup.py gateway/live/_sending.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what the gateway needs into $(VENV); about a minute, once" >&2
	@set -o pipefail; $(INSTALL) requirements.lock | $(COUNTED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >&2
	@touch $@

$(VENV)/dev: $(VENV)/runtime requirements-dev.lock
	@echo "installing what checks and tests need; about a minute, once" >&2
	@set -o pipefail; $(INSTALL) requirements-dev.lock | $(COUNTED)
	@touch $@

demo: $(VENV)/runtime ## Run the whole product on a bundled sample; ARGS='--once --json' passes options on
	@$(BIN)/gateway demo $(ARGS)

test: $(VENV)/dev ## Run every check and the whole test suite
	@$(MAKE) --no-print-directory check
	@tools/test.sh $(ARGS)

again: $(VENV)/dev ## Run what plays in real time TIMES=20 times, and name every test that failed once
	@TIMES=$(or $(TIMES),20) tools/again.sh $(ARGS)

unit: $(VENV)/dev ## Run the fast tests only
	@PHASES=unit tools/test.sh $(ARGS)

compiled: $(VENV)/dev ## Compile a copy of the checkout with mypyc and run the tests there; PHASES=unit
	@tools/compiled.sh $(ARGS)

check: $(VENV)/dev ## Lint, types, import arrows, the figures of the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/house.py --check

format: $(VENV)/dev ## Format the code and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev ## What each part costs beside a named peer or floor: one table; ARGS='--runs 3'
	@PYTHONPATH=tests:. $(BIN)/python bench/table.py $(ARGS)

matrix: $(VENV)/dev ## Play random misfortunes of the provider in virtual time; MINUTES=5, ARGS='--first 100000'
	$(BIN)/python bench/matrix.py --minutes $(or $(MINUTES),5) $(ARGS)

soak: $(VENV)/dev ## Use three gateways in every way for MINUTES=10 (0.3 is CI's) and see what leaks; ARGS='--csv FILE --svg FILE'
	PYTHONPATH=tests:. $(BIN)/python tests/soak/run.py --minutes $(or $(MINUTES),10) $(ARGS)

chaos: $(VENV)/dev ## Break three gateways and everything between them, by seeds; MINUTES=10, ARGS='--seed 17'
	PYTHONPATH=tests:. $(BIN)/python tests/chaos/run.py --minutes $(or $(MINUTES),10) $(ARGS)

incident: $(VENV)/dev ## Stage an incident for practice with the runbook; ARGS='--incident a', ARGS=--list
	@PYTHONPATH=tests:. $(BIN)/python tests/staging/run.py $(ARGS)

faults: $(VENV)/dev ## Freeze, kill and crowd the database, ROUNDS=400 times, while people speak; SEED=1
	STORAGE_FAULT_ROUNDS=$(or $(ROUNDS),400) STORAGE_FAULT_SEED=$(or $(SEED),1) \
		WEBHOOK_FAULT_ROUNDS=$(or $(ROUNDS),50) \
		$(BIN)/python -m pytest -q -s tests/integration/storage_faults/test_storage_faults.py \
		tests/integration/storage_faults/test_storage_webhooks.py $(ARGS)

generated: $(VENV)/dev ## Play the generated tests with ten times as many examples as make test
	@HYPOTHESIS_PROFILE=thorough PHASES=unit tools/test.sh -m hypothesis $(ARGS)

fuzz: $(VENV)/dev ## Feed every parser that meets the network, guided by coverage; MINUTES=10 in all
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check 'atheris>=3,<4'
	$(BIN)/python tests/fuzz/run.py --minutes $(or $(MINUTES),10) $(ARGS)

looks: $(VENV)/dev ## Take a picture of every page in every state, at four sizes and in three colours, in build/looks; ARGS='--only reader'
	PYTHONPATH=tests:. $(BIN)/python tests/looks/run.py $(ARGS)

release: $(VENV)/runtime ## Make wheels, sources, npm package, chart, bill of materials, checksums in dist/, and the image; ARGS=--compiled
	@$(BIN)/python tools/release.py dist $(ARGS)

sbom: $(VENV)/runtime ## Write sbom.json, the bill of materials (CycloneDX) of requirements.lock
	@$(BIN)/python tools/supply.py sbom sbom.json && echo sbom.json

docs: $(VENV)/dev ## Build the documentation as a site in build/site; ARGS=serve shows it while one writes
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(or $(ARGS),build --strict)

lock: $(VENV)/dev ## Renew the lock files from pyproject.toml
	$(LOCK) -o requirements.lock pyproject.toml
	$(LOCK) --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	$(PIN) --group compile -c requirements-dev.lock -o requirements-compile.lock

clean: ## Remove the virtual environment and caches
	rm -rf dist sbom.json tests/fuzz/found tests/fuzz/grown $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info build gateway/live/*.so
