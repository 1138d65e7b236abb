# Commands for a fresh clone; each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help quickstart test test-all format clean

help:
	@echo "make quickstart  train on built-in shapes and write runs/quickstart/report.html"
	@echo "make test        lint and every test"
	@echo "make test-all    make test, and minutes of damaged files for every reader"
	@echo "make format      format the code"
	@echo "make clean       remove .venv"

# Meshes -> shards -> network -> meshes -> report, in runs/quickstart.
quickstart: $(VENV)/.runs
	$(BIN)/python main.py --mode=all --config=configs/quickstart.py --workdir=runs/quickstart

# Lint, then every test.
test: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	sh tests/install_browser.sh
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# 2,000 changed files of each kind that is read; make test takes 8.
test-all: test
	$(BIN)/python -m pytest tests/test_fuzzing.py --fuzz=2000

format: $(VENV)/.tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.runs: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); want Python 3.11 or later: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.tests: $(VENV)/.runs tests/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

clean:
	rm -rf $(VENV)
