# `make demo` and `make test` are the two commands for a newcomer. Each installs what is missing and then runs.
# The first Python here that starts: version managers leave names behind that do not.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check
PEERS := .venv-peers

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-gpu lint format typecheck docs peers bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(STAMPS)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"equitrade needs Python 3.11, 3.12 or 3.13; this is {v[0]}.{v[1]} ($(PYTHON))")'
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

# pyproject.toml names what is needed; requirements.lock pins the versions that are tested together, PyTorch included.
# PyTorch's default build for Linux brings CUDA: for the CPU build, see docs/how-to/install.md.
$(STAMPS)/run: $(STAMPS)/python pyproject.toml requirements.lock
	$(PIP) install --quiet --constraint requirements.lock --editable .
	@touch $@

# escnn's own requirements need a Fortran compiler and NumPy 1; the part that is used here needs neither.
$(STAMPS)/dev: $(STAMPS)/run
	$(PIP) install --quiet --constraint requirements.lock --editable '.[control,postgresql,escnn,docs,dev]'
	$(PIP) install --quiet --no-deps escnn==1.0.11
	@touch $@

install: $(STAMPS)/dev  ## everything for development, in .venv

demo: $(STAMPS)/run  ## train, backtest and report on bundled real prices (about three minutes)
	$(BIN)/equitrade demo

test: $(STAMPS)/dev  ## the whole test suite, under ten minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(TESTS)

test-slow: $(STAMPS)/dev  ## the tests that take longer
	$(BIN)/python -m pytest -m slow --timeout 3600 $(TESTS)

test-gpu: $(STAMPS)/dev  ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu $(TESTS)

lint: $(STAMPS)/dev  ## ruff, check and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMPS)/dev  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(STAMPS)/dev  ## mypy, strict
	$(BIN)/mypy

docs: $(STAMPS)/dev  ## build the site, warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

# Peers that the benchmarks race, in an environment of their own. The product and its tests do not need them.
$(STAMPS)/peers: benchmarks/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement benchmarks/peers.txt
	# Only one environment of FinRL is raced; it does not need the brokers' clients that FinRL requires.
	$(PEERS)/bin/python -m pip install --quiet --no-deps finrl==0.3.7
	@mkdir -p $(STAMPS) && touch $@

peers: $(STAMPS)/peers  ## install the peers that the benchmarks race

bench: $(STAMPS)/dev $(STAMPS)/peers  ## every speed table, side by side with peers
	$(BIN)/equitrade bench all --peers-python $(PEERS)/bin/python

clean:  ## remove what the targets built
	rm -rf $(VENV) $(PEERS) $(STAMPS) build dist docs/_build test-artefacts *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
