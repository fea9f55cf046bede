# Everything happens in .venv; `make test PYTHON=python3.13` uses another Python (3.11 or newer).
PYTHON ?= python3
VENV := .venv
# Written when the installation is complete, so that only a change of what is installed repeats it.
STAMP := $(VENV)/.installed
# optimum needs an older transformers than we do, and so an environment of its own.
OPTIMUM_VENV := .venv-optimum
OPTIMUM_STAMP := $(OPTIMUM_VENV)/.installed

.PHONY: help quickstart test test-optimum lint types clean

help:
	@echo "make quickstart   install into .venv, then run: sparsezoo-hub quickstart"
	@echo "make test         install into .venv, then run the tests"
	@echo "make test-optimum install optimum into .venv-optimum, then load small packages with it"
	@echo "make lint         ruff: lint and format"
	@echo "make types        mypy --strict on the package"
	@echo "make clean        remove .venv, .venv-optimum and what the tools left behind (not quickstart-out)"
	@echo "ARGS='...' is passed on to quickstart, test and test-optimum."

quickstart: $(STAMP)
	$(VENV)/bin/sparsezoo-hub quickstart $(ARGS)

test: $(STAMP)
	$(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

# Ours writes the packages and serves one of them while the other environment's pytest runs.
test-optimum: $(STAMP) $(OPTIMUM_STAMP)
	PYTHONPATH=tests/packaging $(VENV)/bin/python tests/optimum_onnx/export_packages.py \
		$(OPTIMUM_VENV)/bin/pytest -c tests/optimum_onnx/pytest.ini tests/optimum_onnx $(ARGS)

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(STAMP)
	$(VENV)/bin/mypy

$(STAMP): pyproject.toml constraints.txt setup.py $(wildcard sparsezoo_hub/runtime/kernels/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; name one with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

$(OPTIMUM_STAMP): constraints-optimum.txt | $(STAMP)
	$(PYTHON) -m venv $(OPTIMUM_VENV)
	$(OPTIMUM_VENV)/bin/python -m pip install --disable-pip-version-check -c constraints-optimum.txt \
		"optimum-onnx[onnxruntime]" pytest torch
	@touch $@

clean:
	rm -rf $(VENV) $(OPTIMUM_VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
