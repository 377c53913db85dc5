# make demo   everything, from nothing to a compared model      make check  what is quick: types, style, unit tests
# make ui     the tracked runs in a browser                     make test   the checks and all tests
# make clean  forget what was built and made                   make pretrain   weights to start from, as the demo's
# make audit  vulnerabilities, age and licences of packages    make newer, make lowest   try other versions of them
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install moved demo pretrain check static unit test ui clean requirements audit newer lowest

# The first Python on this machine that the pinned packages are built for; PYTHON=/path/to/python overrides it.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.12 python3.11 python3.13 python3 python; do \
	"$$python" -c '$(SUPPORTED)' >/dev/null 2>&1 && { echo "$$python"; exit; }; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PINS := requirements.txt

# None of these tools reports usage to its maker, and none waits for a network that is not there.
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export RAY_USAGE_STATS_ENABLED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# A conda or virtual environment of the caller must not leak into .venv.
# Nor may Python be kept from keeping what it compiles: each of many processes would compile torch anew.
unexport PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE

help:
	@sed -n '1,4s/^# //p' Makefile

install: $(INSTALLED)

# Its scripts name the folder that it was made in: one that was moved or copied is made anew.
# (Not a link: what lies at its end is of others.)
MOVED := $(if $(wildcard $(INSTALLED)),$(shell test -L $(VENV) || grep -qsF '$(CURDIR)/$(BIN)/' $(BIN)/pip || echo moved))
moved:
	@echo "$(VENV)/ was made in another folder: it is made anew"

$(INSTALLED): pyproject.toml $(PINS) $(MOVED)
	@if [ -z "$(PYTHON)" ]; then \
		echo "make: no Python 3.11, 3.12 or 3.13 found. Install one (Debian, Ubuntu: apt install python3 python3-venv)," \
			"or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; fi
	@if ! "$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "make: $(PYTHON) cannot make virtual environments: its venv module is missing." \
			"Install it (Debian, Ubuntu: apt install python3-venv), then run make again." >&2; exit 1; fi
	@echo "Installing the packages into $(VENV)/ with $$("$(PYTHON)" --version) (about 7 GB, once)"
	@[ -z "$(MOVED)" ] && $(BIN)/python -c 'import pip' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet uv
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet -r $(PINS)
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation \
		--config-settings editable_mode=compat -e .
	@touch $@

demo: install
	$(BIN)/dvc repro
	@$(BIN)/avis results

# An hour or more on one core: models/weights/avism_lite_sample.md says what comes out.
pretrain: install
	$(BIN)/avis pretrain models/weights/avism_lite_sample.safetensors

# check: what costs two minutes and needs no server, before every commit. test: all, in more processes than cores, since
# many wait for children and servers. The static checks run beside the tests. PYTEST passes options on: tests/README.md.
QUICK := tests/unit -m "not integration and not gpu and not slow" --processes 2
check: TESTS := $(QUICK)
test: TESTS := tests --processes 4
check test: install
	@log=$$(mktemp); trap 'kill $$! 2>/dev/null || true; rm -f "$$log"' EXIT; failed=0; \
	{ $(STATIC); } < /dev/null > "$$log" 2>&1 & \
	$(BIN)/pytest $(TESTS) $(PYTEST) || failed=1; \
	wait $$! || failed=1; cat "$$log"; exit $$failed

unit: install
	$(BIN)/pytest $(QUICK) $(PYTEST)

STATIC := $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports && $(BIN)/mypy
static: install
	$(STATIC)

# Pins for all systems and Pythons, each with the hashes of its files; of pyproject.toml, with as little change as it needs.
PIN := $(BIN)/uv pip compile pyproject.toml --extra dev --python-version 3.11 --universal --generate-hashes \
	--no-emit-index-url --no-header --no-annotate --quiet
requirements: install
	$(PIN) -o requirements.txt

audit: install
	$(BIN)/python infra/audit.py

# The newest versions that pyproject.toml allows, and the oldest: each tried in an environment of its own. The newest
# become the pins when all is green.
newer: install
	$(PIN) --upgrade -o .newer.txt
	$(MAKE) check VENV=.venv-newer PINS=.newer.txt
	mv .newer.txt requirements.txt

lowest: install
	$(PIN) --resolution lowest-direct -o .lowest.txt
	$(MAKE) unit VENV=.venv-lowest PINS=.lowest.txt

ui: install
	@$(BIN)/avis ui

clean:
	rm -rf $(VENV) .venv-newer .venv-lowest .newer.txt .lowest.txt *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
