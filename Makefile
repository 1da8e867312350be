# Two commands: `make run` starts everything, `make test` runs every check. Both make their own environment in .venv.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test clean
.DEFAULT_GOAL := run

# `exec`, so that Ctrl-C and SIGTERM reach the process that knows how to end the others.
run: $(VENV)/.run
	@exec $(BIN)/python -m jobs demo

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist loadfile
	$(BIN)/python -m benchmarks.speed --check

# A stamp per set of packages: `make run` does not wait for what only the tests need.
$(VENV)/.run: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.run

# Debian's python3 without python3-venv cannot put pip into an environment, but its own pip can.
$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "drn needs Python 3.11 or newer; none was found. Set PYTHON=/path/to/python3." >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version); the first installation takes a few minutes." >&2
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) \
		&& $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }

clean:
	rm -rf $(VENV) build ./*.egg-info
