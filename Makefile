# make run   sets up and runs everything; a second start takes seconds
# make test  sets up and passes every test, on SQLite and PostgreSQL, with a real browser

SHELL := /bin/bash
PYTHON ?= python3.11
# Rasa 3.6 needs CPython 3.10: the first one that really starts (a pyenv shim may not).
PYTHON310 ?= $(shell for p in python3.10 $$HOME/.pyenv/versions/3.10.*/bin/python3.10 /usr/local/bin/python3.10; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null && echo "$$p" && break; done)
PIP := -m pip install --quiet --disable-pip-version-check

.PHONY: run test setup check prerequisites clean

run: setup
	.venv/bin/madoguchi serve --demo

setup: .venv/.done .venv-rasa/.done
	.venv/bin/madoguchi setup --demo

test: .venv/.done .venv-rasa/.done
	.venv/bin/madoguchi setup
	$(MAKE) --no-print-directory check
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check:
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

prerequisites:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "CPython 3.11 or newer is missing: the product runs on it. Install it (Debian 12: apt-get install python3.11 python3.11-venv) or run: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -n "$(PYTHON310)" || { \
	echo "CPython 3.10 is missing: Rasa 3.6 runs on no other. Install it (pyenv install 3.10) or run: make PYTHON310=/path/to/python3.10"; exit 1; }
	@command -v cc >/dev/null || { \
	echo "A C compiler is missing: some packages compile. Install it (Debian: apt-get install build-essential)"; exit 1; }

.venv/.done: pyproject.toml bot/requirements.lock.txt | prerequisites
	test -d .venv || $(PYTHON) -m venv .venv
	@echo "Installing the product's packages (about 1 GB; plain PyPI brings torch with CUDA unless a CPU wheel is configured) ..."
	.venv/bin/python $(PIP) torch==2.13.0
	.venv/bin/python $(PIP) -r bot/requirements.lock.txt
	.venv/bin/python $(PIP) --no-deps -e .
	touch $@

.venv-rasa/.done: bot/dialogue/requirements.lock.txt | prerequisites
	test -d .venv-rasa || $(PYTHON310) -m venv .venv-rasa
	@echo "Installing Rasa in its own environment (2.9 GB on disk) ..."
	.venv-rasa/bin/python $(PIP) -r bot/dialogue/requirements.lock.txt
	touch $@

clean:
	rm -rf .venv .venv-rasa var
