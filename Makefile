# Finds uv, or installs it from PyPI privately into this checkout; everything else is `uv run …`.
.DEFAULT_GOAL := help
.PHONY: help setup params repro test test-margins test-matrix test-chaos test-cloud check ui bench bench-search bench-scale bench-tracking bench-generation bench-memory bench-gpu

# Some containers forbid Python to keep its bytecode; then every process compiles every module anew.
unexport PYTHONDONTWRITEBYTECODE

PORT ?= 5000
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
# `setup` has synced already; syncing again before every command would cost each of them a second.
RUN := $(UV) run --no-sync

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready  ## set up .venv in this checkout, nothing else

.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit("fifty needs Python 3.11 or newer; this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@echo "uv is not installed; installing it into .uv"
	@$(PYTHON) -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv \
	  || { rm -rf .uv; echo "could not install uv; install it by hand (pip install uv) and run make again" >&2; exit 1; }

.venv/ready: $(if $(findstring .uv/,$(UV)),.uv/bin/uv) pyproject.toml uv.lock
	@$(UV) sync --locked
	@touch $@

params: .venv/ready
	@$(RUN) python -m pipelines.params

repro: params  ## from raw data to evaluated, registered models: dvc repro
	@$(RUN) dvc repro

test: params  ## the whole test suite, with coverage
	@$(RUN) pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered --cov-fail-under=90

test-margins: params  ## default experiments beat their baselines as README says, after make repro
	@$(RUN) pytest -m margins tests/e2e/test_margins.py

test-matrix: params  ## fused equals lone for every optimizer, family and trick
	@$(RUN) pytest -n 2 --dist worksteal -m matrix tests/lit_models

test-chaos: params  ## a search of 64 trials is killed 20 times and must end as if nothing had been
	@$(RUN) python -m tests.e2e.chaos --kills 20 --trials 64

test-cloud: params  ## fifty in a pretended AWS and Google Cloud with real machines; needs root; tests/pretend_aws/README.md
	@$(RUN) pytest -n 4 --dist load --maxschedchunk 1 -m cloud tests/cloud

check: params  ## ruff and mypy
	@$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) mypy

ui: params  ## the MLflow dashboard on 127.0.0.1:5000 (make ui PORT=5001)
	@$(RUN) python -m pipelines.ui --port $(PORT)

bench: params  ## measure the figures of the README; takes about twenty minutes
	@$(RUN) python -m tests.benchmarks.pipeline && $(RUN) --with torchvision python -m tests.benchmarks.augmentation && $(RUN) python -m tests.benchmarks.overhead && $(RUN) python -m tests.benchmarks.overhead --threads 2

bench-search: params  ## a search of 128 trials beside six rivals; about forty minutes
	@$(RUN) --with syne-tune==0.16.0 python -m tests.benchmarks.search

bench-scale: params  ## what 100 to 10,000 trials cost the search's own process; about four minutes
	@$(RUN) python -m tests.benchmarks.scale --picture docs/search-scale.png

bench-tracking: params  ## a search of 64 lanes with tracking and without; about seven minutes
	@$(RUN) python -m tests.benchmarks.tracking

bench-generation: params  ## text by a GPT with cached keys and values, against without
	@$(RUN) python -m tests.benchmarks.generation

bench-memory: params  ## how far back plain cells, LSTM and GRU remember; about ten minutes
	@$(RUN) python -m tests.benchmarks.memory --picture docs/pictures/memory.png

bench-gpu: .venv/ready  ## fused against one trial at a time on this machine's GPU
	@$(RUN) python -m lit_models.cohort.bench --device cuda --quick
