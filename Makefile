# make lab      open the first notebook        make test     run every test
# make setup    only install what is missing   make bench    measure, beside peers
#
# make lint, test-unit, test-kernel, test-notebooks, test-browser    one layer of the tests
# make chaos, class, hub, soak    attacks; thirty students; ten in JupyterHub; minutes of traffic
# make notebooks    build the notebooks from notebooks/source
# make recordings   record the lessons that changed, for where no lab can be started (ARGS=--all)
# make lock         bring the locked versions up to date
# make site         the lessons as a static web site, in SITE: SITE=folder REPOSITORY=owner/name
# make clean        remove .venv and the caches
#
# make lab ARGS="--ip 0.0.0.0"    options for JupyterLab      make VENV=/some/where …
VENV ?= .venv
PYTHON := "$(VENV)/bin/python"
# Where setup puts Chromium if the system has none. Only for the tests.
test test-browser: export PATH := $(PATH):$(abspath $(VENV))/bin
NOTEBOOK := notebooks/00-start-here.ipynb
# Loopback and a token are JupyterLab's defaults: ARGS="--ip 0.0.0.0" is for a classroom's server.
ARGS ?=
LAB_FLAGS := $(if $(filter 0,$(shell id -u)),--allow-root) $(if $(DISPLAY)$(WAYLAND_DISPLAY),,--no-browser)

.DEFAULT_GOAL := help
.PHONY: help setup setup-test lab test lint test-unit test-kernel test-notebooks test-browser test-chaos \
	test-docker test-binder chaos class hub soak notebooks recordings site bench lock clean

help:
	@sed -n 's/^# \{0,1\}//p;/^VENV/q' Makefile

setup:
	@binder/setup.sh "$(VENV)"

setup-test:
	@binder/setup.sh "$(VENV)" test

lab: setup
	@echo "labkit: opening JupyterLab; if no browser opens, follow the link with the token below" >&2
	@$(PYTHON) -m jupyterlab $(LAB_FLAGS) --LabApp.default_url=/lab/tree/$(notdir $(NOTEBOOK)) $(ARGS) $(NOTEBOOK)

lint: setup-test
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy

# Labs on one machine share its processors and the kernel's queues of frames: what floods it, counts on its
# time or lists all labs runs by itself.
test: lint
	@$(PYTHON) -m pytest -n 3 --dist worksteal -m "not alone" tests/unit tests/kernel
	@$(PYTHON) -m pytest -m alone tests/kernel
	@$(PYTHON) -m pytest -n 2 --dist loadfile tests/browser
	@$(PYTHON) -m pytest tests/notebooks tests/chaos

test-unit test-kernel test-notebooks test-browser test-chaos: setup-test
	@$(PYTHON) -m pytest tests/$(@:test-%=%)

# The comparison with a real Docker, whose daemon runs in namespaces of its own. Needs root and dockerd.
test-docker: setup-test
	@tests/kernel/with_docker.sh "$(abspath $(VENV))/bin/python"

# What Binder does with binder/, in a clean Debian and a container without rights. Needs root, debootstrap
# and dockerd, and 3 GB in BINDER_FOLDER.
BINDER_FOLDER ?= /var/tmp/labkit-binder
test-binder:
	@tests/binder/build.sh "$(BINDER_FOLDER)"

# Hundreds of random moments instead of a few. LABKIT_CHAOS_SEED repeats a run.
chaos: export LABKIT_CHAOS ?= 20
chaos: setup-test
	@$(PYTHON) -m pytest tests/chaos -s

# Thirty notebook kernels, each with its own lab: STUDENTS=10 for fewer.
STUDENTS ?= 30
class: setup-test
	@$(PYTHON) -m bench.classroom $(STUDENTS)

# Ten of them in JupyterHub, which is installed beside VENV, and the pod of the example for Kubernetes. Needs root
# and npm.
hub: setup-test
	@tests/hub/run "$(VENV)" $(ARGS)

# An idle lab's cost, then steady traffic: MINUTES=180 for the whole three hours.
MINUTES ?= 5
soak: setup-test
	@$(PYTHON) -m bench.soak $(MINUTES)

notebooks: setup-test
	@$(PYTHON) -m labkit.lessons.build

recordings: setup-test
	@$(PYTHON) -m labkit.lessons.recordings $(ARGS)

bench: setup-test
	@$(PYTHON) -m bench $(ARGS)

# The locked versions, with hashes and without the address of any index.
COMPILE = $(PYTHON) -m uv --no-config pip compile pyproject.toml binder/build.in --universal \
	--python-version 3.11 --upgrade --quiet --no-header --generate-hashes --no-emit-index-url \
	--no-emit-find-links

lock: setup-test
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv
	@echo "labkit: locking what use needs, then what the tests need besides" >&2
	@$(COMPILE) -o binder/requirements.txt
	@$(COMPILE) --group test -c binder/requirements.txt -o tests/requirements.txt

# Every lesson runs on a kernel, with its solutions. REPOSITORY, on GitHub, lets the pages link to Binder.
SITE ?= site
REPOSITORY ?=
site: setup-test
	@$(PYTHON) -m labkit.site "$(SITE)" --repository "$(REPOSITORY)"

clean:
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
