# Two commands are enough: `make demo` and `make test`. Both set up everything in .venv first.
# What works without make (Windows, too) is in README.md.

PYTHON ?= python3
SUITE ?= demo
# Runs at one time; empty: one for each GPU, without a GPU one for each core.
JOBS ?=
# one more than cores: some tests only wait, for a browser or a cluster
TEST_WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(8, os.cpu_count() or 1) + 1)")

BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help install demo suite check test lab app bench gpu-check docs lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 16

install: $(INSTALLED)  ## exact versions of everything into .venv

$(INSTALLED): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

demo:  ## the demo suite, ending in results/demo/index.html
	@$(MAKE) --no-print-directory suite SUITE=demo

suite: $(INSTALLED)  ## a suite: make suite SUITE=lab [JOBS=2]
	$(BIN)/iqasuite suite run "$(SUITE)" $(if $(JOBS),--jobs $(JOBS))

check: $(INSTALLED)  ## ruff, mypy, the house's and the notebooks' rules: under a minute on two cores
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/test_house.py tests/test_notebooks.py

test: $(INSTALLED)  ## all tests; AVX2=1: as on a processor without AVX-512, VNNI and bf16
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(if $(AVX2),ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2) $(BIN)/python -m pytest -q -n $(TEST_WORKERS) --dist worksteal

lab: $(INSTALLED)  ## JupyterLab in notebooks/
	$(BIN)/jupyter lab notebooks

app: $(INSTALLED)  ## the page in the browser: pictures in, predicted quality out
	$(BIN)/iqasuite app

bench: $(INSTALLED)  ## ours beside the obvious way, written to results/bench/
	@status=0; for bench in tests/benchmarks/bench_*.py; do \
		echo "$$bench"; $(BIN)/python "$$bench" || status=1; done; exit $$status

gpu-check: $(INSTALLED)  ## does the GPU compute what the CPU does, and how fast: 5 minutes, written to results/bench/
	$(BIN)/python tests/benchmarks/bench_device.py

docs: $(INSTALLED)  ## the pages of docs/ and an API page for each room, in site/index.html
	$(BIN)/mkdocs build --quiet

lock: $(INSTALLED)  ## compile requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet -o requirements.lock

clean:  ## remove what can be made again: .venv, caches, site/, work/
	rm -rf .venv .cache .snakemake .hypothesis .pytest_cache .ruff_cache .mypy_cache site work
