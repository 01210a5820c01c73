# Perpool. Every target first installs what it needs; `make` lists them.

PYTHON ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
PYTEST_ARGS ?=

SYSTEM_PATH := $(PATH)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE :=

PIP_INSTALL := .venv/bin/python -m pip install --quiet --no-input --no-deps

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

# --- set-up ---------------------------------------------------------------------------------------

.PHONY: setup
setup: .venv/.packages node_modules/.packages ## install everything (the other targets do it themselves)

# A virtual environment does not survive being moved, so the stamp is named by where it is.
.venv/.created: tools/find_python.sh
	@PATH="$(SYSTEM_PATH)" sh tools/find_python.sh "$(PYTHON)" .venv
	@touch $@

.venv/.packages: .venv/.created requirements.lock pyproject.toml
	@echo "installing the Python packages of requirements.lock (a few minutes the first time)"
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@$(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

node_modules/.packages: .venv/.created package.json package-lock.json requirements-node.lock tools/install_npm.sh
	@sh tools/install_npm.sh
	@touch $@
