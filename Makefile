# Perpool. Every target first installs what it needs, the first time and after a lock file changes.

PYTHON ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
PYTEST_ARGS ?=

# A virtual environment does not survive a move, so its stamp carries the folder it was made in.
VENV_STAMP := .venv/.created-$(shell pwd | cksum | cut -d ' ' -f 1)
SYSTEM_PATH := $(PATH)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PIP := .venv/bin/python -m pip install -qq --no-input --no-deps
PYTEST := python -m pytest -n auto --maxprocesses 8 --dist loadgroup
SLOW := tests/fuzz tests/invariants
VYPER := contracts interfaces tests/contracts

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' Makefile

# --- set-up ---

.PHONY: setup
setup: .venv/.packages node_modules/.packages ## install everything; the other targets do it themselves
	@:

$(VENV_STAMP):
	@PATH="$(SYSTEM_PATH)" sh tools/make_venv.sh .venv $(PYTHON)
	@touch $@

.venv/.packages: $(VENV_STAMP) requirements.lock pyproject.toml
	@echo "installing the Python packages of requirements.lock"
	@$(PIP) --require-hashes --requirement requirements.lock
	@$(PIP) --no-build-isolation --editable .
	@touch $@

node_modules/.packages: $(VENV_STAMP) package.json package-lock.json requirements-node.lock | .venv/.packages
	@sh tools/install_npm.sh
	@touch $@

.PHONY: lock
lock: setup ## renew the lock files from requirements.in, requirements-node.in and package.json
	@for name in requirements requirements-node; do \
		uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-header --override requirements-overrides.txt \
			$$name.in --output-file $$name.lock; \
	done
	@npm install --package-lock-only --ignore-scripts

# --- checks ---

.PHONY: check
check: setup ## formatters, linters, types, code size, gas snapshot
	ruff format --check .
	ruff check .
	mypy
	python -m tools.format_vyper --check $(VYPER)
	python -m tools.lint_vyper $(VYPER)
	python -m tools.check_sizes
	python -m tools.export_abi --check
	python -m perpool.bench --check

.PHONY: format
format: setup ## format Python and Vyper in place
	ruff format .
	ruff check --fix .
	python -m tools.format_vyper $(VYPER)

# --- tests ---

.PHONY: test
test: setup ## the whole test suite; Ape's plugin, which reorders fixtures, only where Ape is tested
	$(PYTEST) -p no:ape_test tests --ignore=tests/integration $(PYTEST_ARGS)
	python -m pytest tests/integration $(PYTEST_ARGS)

.PHONY: unit
unit: setup ## tests without anvil and without long fuzzing
	$(PYTEST) -p no:ape_test tests $(SLOW:%=--ignore=%) --ignore=tests/chaos --ignore=tests/integration $(PYTEST_ARGS)

.PHONY: integration
integration: setup ## deploy, keeper and demo on anvil
	python -m pytest tests/integration $(PYTEST_ARGS)

.PHONY: fuzz
fuzz: setup ## randomised and stateful tests
	$(PYTEST) -p no:ape_test $(SLOW) $(PYTEST_ARGS)

.PHONY: chaos
chaos: setup ## the keeper under faults, each with a name, and a table at the end
	$(PYTEST) -p no:ape_test tests/chaos $(PYTEST_ARGS)

.PHONY: coverage
coverage: setup ## line coverage of the contracts, modules included
	python -m tools.coverage

# --- running ---

.PHONY: demo
demo: setup ## replay real market history on a local chain; options in DEMO_ARGS="--market ..."
	perpool demo $(DEMO_ARGS)

.PHONY: bench
bench: setup ## gas of every operation beside other protocols'
	python -m perpool.bench $(BENCH_ARGS)

.PHONY: bench-snapshot
bench-snapshot: setup ## accept today's gas as the snapshot that `make check` compares with
	python -m perpool.bench --snapshot

.PHONY: bench-keeper
bench-keeper: setup ## rounds a second, and time from a price to the accounts to liquidate
	python -m perpool.bench.keeper $(BENCH_ARGS)

.PHONY: clean
clean: ## remove what building and testing left; the environment stays
	rm -rf build .build .hypothesis .mypy_cache .pytest_cache .ruff_cache

.PHONY: distclean
distclean: clean ## remove the environment too
	rm -rf .venv node_modules
