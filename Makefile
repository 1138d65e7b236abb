# Commands for a fresh clone; each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help install quickstart lint test test-fast test-all docs lock format clean

help:
	@echo "make install     the package and what its tests need, in .venv"
	@echo "make quickstart  train on built-in shapes and write runs/quickstart/report.html"
	@echo "make test        lint and every test"
	@echo "make test-fast   lint and the tests without long trainings, kills and browsers"
	@echo "make lint        lint alone"
	@echo "make docs        the documents as a site that needs no network, in site/"
	@echo "make test-all    make test, and minutes of damaged files for every reader"
	@echo "make format      format the code"
	@echo "make lock        the versions that CI uses, in locks/"
	@echo "make clean       remove .venv and site"

install: $(VENV)/.tests
	@echo "Installed in $(VENV); to use it: . $(VENV)/bin/activate"

# Meshes -> shards -> network -> meshes -> report, in runs/quickstart.
quickstart: $(VENV)/.runs
	$(BIN)/python main.py --mode=all --config=configs/quickstart.py --workdir=runs/quickstart

lint: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check --quiet --python $(VENV)

# Lint, then every test.
test: lint
	sh tests/install_browser.sh
	$(PYTEST)

test-fast: lint
	$(PYTEST) -m "not long"

docs: $(VENV)/.tests
	$(BIN)/python docs/build.py site

# 2,000 changed files of each kind that is read; make test takes 8.
test-all: test
	$(BIN)/python -m pytest tests/test_fuzzing.py --fuzz=2000

format: $(VENV)/.tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.tests
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	for v in 3.11 3.13; do $(BIN)/uv pip compile --quiet --no-header --no-annotate \
	  --python-version $$v --python-platform x86_64-manylinux_2_35 --upgrade \
	  requirements.txt tests/requirements.txt -o locks/python-$$v.txt || exit 1; done

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
	rm -rf $(VENV) site
