# The tasks of a working copy. `make` alone lists them.
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS ?= 1
export MLFLOW_DISABLE_TELEMETRY ?= true
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1

FIT := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

# The image is called by its commit; one that is not all committed says so, and is then refused by `submit`.
DOCKER ?= docker
DIRTY = $(if $(shell git status --porcelain),true,false)
IMAGE ?= stillhouse:$(shell git rev-parse HEAD)$(if $(filter true,$(DIRTY)),-dirty)
BASE ?= python:3.11-slim
NETWORK ?= default
SECRETS = $(if $(CERTIFICATES),--secret id=ca$(comma)src=$(CERTIFICATES)) $(if $(PIP_CONF),--secret id=pip$(comma)src=$(PIP_CONF))
comma := ,

.DEFAULT_GOAL := help
.PHONY: help run test test-slow lint types lock mlflow services services-stop schema compile run-local wheel image image-test clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv: $(VENV)/.installed  ## make .venv from requirements.lock (PYTHON=... chooses the interpreter)

$(BIN)/python:
	@python=$$(for one in $(CANDIDATES); do $$one -c '$(FIT)' 2>/dev/null && echo $$one && break; done); \
	if [ -z "$$python" ]; then \
		echo 'make: no Python 3.11, 3.12 or 3.13 with venv was found among: $(CANDIDATES)' >&2; \
		echo '  remedy: apt-get install python3 python3-venv, or make PYTHON=/path/to/python3' >&2; exit 1; \
	fi; \
	echo "making $(VENV) with $$python"; $$python -m venv $(VENV)

# Files, not folders, say what is installed: a folder's time changes with everything that is put into it.
$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@echo 'installing requirements.lock (some minutes and 7 GB, once)'
	@$(BIN)/python -m pip install -q --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.lock
	@touch $@

run: $(VENV)/.installed  ## run what is out of date of the whole pipeline, then print the table of the models
	@dvc repro
	@stillhouse summary

test: lint types  ## ruff, mypy --strict, pytest with doctests
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 pytest -q -n auto --dist loadfile -m 'not slow'

lint: $(VENV)/.installed-dev
	ruff check --quiet .

types: $(VENV)/.installed-dev
	mypy --no-error-summary

test-slow: $(VENV)/.installed-dev  ## minutes: kill sweeps, whole pipelines, browsers, services, containers
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 pytest -q -n auto --dist loadfile -m slow

lock: $(VENV)/.installed-dev  ## compile both lock files anew from pyproject.toml, for Python 3.11 to 3.13
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) --group dev -c requirements.lock -o requirements-dev.lock

mlflow: $(VENV)/.installed  ## open the runs at http://127.0.0.1:5000
	mlflow ui --host 127.0.0.1 --port 5000 --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}

# SERVICES: further options, such as --auth, --port mlflow=5001 or --store s3://bucket.
services: $(VENV)/.installed-dev  ## start MLflow on PostgreSQL, an S3 store and Redis; eval "$$(make services)" lets this shell use them
	@python -m pipeline services start $(SERVICES)

services-stop: $(VENV)/.installed-dev  ## stop them; their data stays in .stillhouse/services
	@python -m pipeline services stop $(SERVICES)

schema: $(VENV)/.installed  ## write the schemas and pages of params.yaml and infra/kubeflow.yaml into docs
	stillhouse schema
	python -m pipeline reference

compile: $(VENV)/.installed  ## compile the Kubeflow pipeline to build/pipeline.yaml
	python -m pipeline compile --output build/pipeline.yaml

run-local: $(VENV)/.installed  ## compile the Kubeflow pipeline and run that file here, without a cluster
	python -m pipeline run-local

wheel: $(VENV)/.installed  ## build dist/stillhouse-*.whl; the same commit gives the same bytes
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) pip wheel -q . --no-build-isolation --no-deps -w dist

image:  ## build the image (IMAGE=, BASE=, NETWORK=, CERTIFICATES=FILE, PIP_CONF=FILE)
	@if $(DIRTY) && echo '$(IMAGE)' | grep -Eq ':[0-9a-f]{7,40}$$'; then \
		echo 'make: the tag of $(IMAGE) is a commit, and the working tree holds what no commit does' >&2; \
		echo '  remedy: commit that, or make image IMAGE=$(IMAGE)-dirty' >&2; exit 1; \
	fi
	DOCKER_BUILDKIT=1 $(DOCKER) build --network=$(NETWORK) --tag $(IMAGE) --file infra/Dockerfile $(SECRETS) \
		--build-arg BASE=$(BASE) --build-arg REVISION=$(shell git rev-parse HEAD) --build-arg DIRTY=$(DIRTY) \
		--build-arg LOCK=sha256:$(shell sha256sum requirements.lock | cut -d' ' -f1) \
		--build-arg VERSION=$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) .

image-test: $(VENV)/.installed-dev  ## build the image and run the whole pipeline in containers of it
	pytest -q -m slow tests/infra/test_image_in_containers.py

clean:  ## remove what tests and builds leave; data, models, reports and .venv stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find components pipeline stillhouse tests -name __pycache__ -type d -prune -exec rm -rf {} +
