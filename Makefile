# make quickstart   install (first time) and run the whole story on a tiny generated world
# make test         the tests, without the slow ones
# make test-slow    the slow ones
# make test-floor   the tests on the oldest Transformers that is supported
# make lint types   style and annotations
# make docs         check the documentation: links, examples
# make bench        speed and memory; with MODEL=folder FORGET=file also the belief sampler
# make clean        remove what the targets above made, the environment included
#
# Variables: PYTHON (3.11 or newer), VENV, WORKERS (of pytest), QUICKSTART (its folder),
# TORCH_INDEX (take torch from this index, say https://download.pytorch.org/whl/cu130).

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
QUICKSTART ?= quickstart
TORCH_INDEX ?=
export TORCH_INDEX

STAMP := $(VENV)/.stamp
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-slow test-floor lint types docs bench clean

help:
	@sed -n 's/^# \{0,1\}//p; /^$$/q' Makefile

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt .ci/install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	.ci/install $(VENV)
	@touch $@

quickstart: $(STAMP)
	$(BIN)/unbelief quickstart --output $(QUICKSTART) --overwrite
	@echo "The report: $(abspath $(QUICKSTART))/report.html"

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "slow and not gpu"

# Only what Transformers pins is older; everything else is as in constraints.txt.
FLOOR := $(VENV)/floor
$(FLOOR)/.stamp: $(STAMP)
	$(BIN)/pip install --quiet --upgrade --target $(FLOOR) huggingface_hub==1.33.0
	$(BIN)/pip install --quiet --no-deps --target $(FLOOR) transformers==5.16.1
	@touch $@

test-floor: $(FLOOR)/.stamp
	PYTHONPATH=$(abspath $(FLOOR)) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python -m pytest tests/test_docs.py

bench: $(STAMP)
	$(BIN)/python bench/answer_head.py
	$(if $(MODEL),$(BIN)/python bench/sampling.py --model $(MODEL) --data $(FORGET))

clean:
	test ! -e $(STAMP) || rm -rf $(VENV)
	rm -rf quickstart build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
