# Everything starts from python3 alone: each target builds .venv itself.
PYTHON ?= python3
BIN := .venv/bin
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help install demo test check lint format bench docs fuzz wheel clean

help:
	@echo "make install   build the environment in .venv"
	@echo "make demo      fine-tune the demo model and track its neurons, offline (about 3 minutes on 2 cores)"
	@echo "make test      run the tests (CI=true adds the slow ones)"
	@echo "make check     formatter, linter, type checker, import rules, tests"
	@echo "make format    apply the formatter and the linter's fixes"
	@echo "make docs      write the API pages to docs/api"
	@echo "make bench     measure the speed, as ratios, in one run"
	@echo "make fuzz      give it hostile input; SEED=1 MINUTES=1"

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "alignlab needs Python 3.11 or newer; set PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: .venv/installed

demo: install
	$(BIN)/python -m alignlab.train config=configs/demo.yaml $(if $(wildcard runs/demo/finished.json),overwrite=true)
	$(BIN)/python -m alignlab.report run=runs/demo

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(if $(CI),,-m "not slow")

check: lint test

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python scripts/bench.py

docs: install
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python scripts/build_api_pages.py docs/api

fuzz: install
	$(BIN)/python scripts/fuzz --seed $(or $(SEED),1) --minutes $(or $(MINUTES),1)

clean:
	rm -rf .venv build dist docs/api .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
