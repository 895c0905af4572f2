# Everything needs only Python 3.11 or newer and make: the first use makes .venv and installs into it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Two processes share the files of tests.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
export TF_CPP_MIN_LOG_LEVEL := 3

.PHONY: demo test all-tests soak check lint types wheel real clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# The whole chain on drawn images with random weights; tables on the screen, pictures in demo/runs.
demo: $(VENV)/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo.sh demo

test: $(VENV)/installed
	$(PYTEST) -m "not slow"

# All that a change must pass: the tests with the slow ones, and more.
check: lint types all-tests wheel real

all-tests: $(VENV)/installed
	$(PYTEST)

# What takes many minutes: mutated files by the thousand, training killed at 25 moments, and the like.
soak: $(VENV)/installed
	$(BIN)/python -m pytest -m soak -s

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy

# The built wheel, installed and run elsewhere.
wheel: $(VENV)/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/check_wheel.sh

# Every command on real images, few epochs on a subset, where the files are there.
real: $(VENV)/installed
	PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/check_real.sh

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache
