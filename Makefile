# make lab      open the first notebook        make test     run every test
# make setup    only install what is missing   make bench    measure, beside peers
VENV ?= .venv
PYTHON := $(VENV)/bin/python
NOTEBOOK := notebooks/01-containers-on-one-bridge.ipynb
# Loopback and a token are JupyterLab's defaults: ARGS="--ip 0.0.0.0" is for a classroom's server.
ARGS ?=
LAB_FLAGS := $(if $(filter 0,$(shell id -u)),--allow-root) $(if $(DISPLAY)$(WAYLAND_DISPLAY),,--no-browser)

.DEFAULT_GOAL := help
.PHONY: help setup setup-test lab test lint test-unit test-kernel test-notebooks test-browser \
	notebooks bench lock clean

help:
	@sed -n 's/^# //p;/^VENV/q' Makefile

setup:
	@binder/setup.sh $(VENV)

setup-test:
	@binder/setup.sh $(VENV) test

lab: setup
	@echo "labkit: opening JupyterLab; if no browser opens, follow the link with the token below" >&2
	@$(VENV)/bin/jupyter lab $(LAB_FLAGS) $(ARGS) $(NOTEBOOK)

lint: setup-test
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

test: lint
	@$(PYTHON) -m pytest tests/unit tests/kernel tests/notebooks tests/browser

test-unit test-kernel test-notebooks test-browser: setup-test
	@$(PYTHON) -m pytest tests/$(@:test-%=%)

notebooks: setup-test
	@$(PYTHON) -m labkit.lessons.build

bench: setup-test
	@$(PYTHON) -m bench $(ARGS)

# The locked versions, with hashes and without the address of any index.
lock: setup-test
	@$(PYTHON) -m pip install --quiet uv
	@$(VENV)/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --quiet --upgrade \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
		binder/build.in -o binder/requirements.txt
	@$(VENV)/bin/uv pip compile pyproject.toml --group test --universal --python-version 3.11 --quiet \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
		-c binder/requirements.txt binder/build.in -o tests/requirements.txt

clean:
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
