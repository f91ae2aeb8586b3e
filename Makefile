# Every target does its own set-up in .venv; delete the folder to start over.
# A module is compiled once and kept in .venv, not again in each of many processes.
export PYTHONDONTWRITEBYTECODE :=
# Threads wait briefly for each other, so that a run keeps its speed beside other work
# (reidlab/threads.py); what you have set yourself stays.
ifndef OMP_WAIT_POLICY
export GOMP_SPINCOUNT ?= 6000
endif
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
       --constraint constraints.txt

.PHONY: run test fast browser campaign mutants figures book lab clean

run: .venv/ready
	$(BIN)/python -m reidlab run notebooks/13_full_training.ipynb

test: .venv/ready-test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -m "not browser"

fast: .venv/ready-test
	$(PYTEST) -m "not slow"

browser: .venv/ready-test .venv/ready-lab .venv/ready-browser
	$(BIN)/python -m pytest tests/test_jupyterlab.py

campaign: .venv/ready-test
	$(BIN)/python -m tests.campaign

# Small wrong versions of the code against the tests of their rows; writes docs/rows.md.
mutants: .venv/ready-test
	$(BIN)/python -m tests.mutants

# The one command that changes the committed outputs, figures, tables and checks: look at them.
figures: .venv/ready
	REIDLAB_FIGURES="$(CURDIR)/figures" $(BIN)/python -m reidlab run --store notebooks/*.ipynb

# Chapters, documents and the API as one site, runs/book/README.html; broken links are errors.
book: .venv/ready-test .venv/ready-book
	$(BIN)/sphinx-build -q -W --keep-going -c docs/book -d runs/doctrees -b html . runs/book
	$(BIN)/python -m pytest tests/test_book.py

lab: .venv/ready-lab
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; got %d.%d: make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(PIP) torch setuptools wheel
	$(PIP) --no-build-isolation --editable '.[notebooks]'
	touch $@

.venv/ready-%: .venv/ready
	$(PIP) --no-build-isolation --editable '.[notebooks,$*]'
	touch $@

clean:
	rm -rf .venv runs
