# Everything a developer types. A fresh machine needs python3 (with pip) and make, nothing else.
PYTHON ?= python3
UV_VERSION := 0.13.8
UV := .tools/bin/uv
BIN := .venv/bin
READY := .venv/.ready
export PYTHONPATH :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint bench docs lock clean

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 10

setup: $(READY) ## the environment in .venv, from the hashed lock

$(UV):
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { echo "protolens: $(PYTHON) has no pip; install it (on Debian: apt-get install python3-pip) and call make again" >&2; exit 1; }
	$(PYTHON) -m pip install --quiet --target .tools uv==$(UV_VERSION)

$(READY): requirements.lock pyproject.toml | $(UV)
	test -d .venv || $(UV) venv --quiet --python $(PYTHON) .venv
	VIRTUAL_ENV=.venv $(UV) pip sync --quiet --require-hashes requirements.lock
	VIRTUAL_ENV=.venv $(UV) pip install --quiet --no-deps -e .
	@touch $(READY)

demo: setup ## train on embedded digits, evaluate, leave runs/demo/report.html
	$(BIN)/protolens demo

test: setup ## all tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal --durations 20

lint: setup ## style, format, types, the order of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test demo ## what CI runs

bench: setup ## every benchmark, a line a figure
	VIRTUAL_ENV=.venv $(UV) pip install --quiet lime==0.2.0.1
	$(BIN)/python benchmarks/run.py

docs: setup ## the documentation, in site/
	$(BIN)/mkdocs build --strict --quiet

lock: $(UV) ## resolve pyproject.toml anew into requirements.lock
	$(UV) pip compile pyproject.toml --all-extras --group dev --universal --generate-hashes --no-header -o requirements.lock

clean: ## remove what make has built
	rm -rf .venv .tools
