# Everything happens in .venv; `make test PYTHON=python3.13` uses another Python (3.11 or newer).
PYTHON ?= python3
VENV := .venv
# Written when the installation is complete, so that only a change of what is installed repeats it.
STAMP := $(VENV)/.installed

.PHONY: help quickstart test lint types clean

help:
	@echo "make quickstart   install into .venv, then run: sparsezoo-hub quickstart"
	@echo "make test         install into .venv, then run the tests"
	@echo "make lint         ruff: lint and format"
	@echo "make types        mypy --strict on the package"
	@echo "make clean        remove .venv and what the tools left behind (not quickstart-out)"
	@echo "ARGS='...' is passed on to quickstart and test."

quickstart: $(STAMP)
	$(VENV)/bin/sparsezoo-hub quickstart $(ARGS)

test: $(STAMP)
	$(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(STAMP)
	$(VENV)/bin/mypy

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; name one with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
