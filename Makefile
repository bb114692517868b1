# make demo   install into .venv and show a task and an attack inside the boundary
# make test   everything a change must pass: scripts/check, then scripts/test
# make check  format, lint, types, layers, dependencies, spelling (seconds)
# make bench  ratios to raw bubblewrap and to other sandboxes that are installed
# make pins   resolve the dependencies anew and write requirements/ with hashes
# make clean  remove everything that these targets make

.PHONY: demo test check bench coverage pins clean

VENV := .venv
PYTHON := $(VENV)/bin/python
# Neither the registry nor the resolver is trusted: each file must match a hash that stands in this repository.
PIP := umask 022 && $(PYTHON) -m pip --disable-pip-version-check install --quiet --no-input
SOURCES := $(shell find src -name '*.py' 2>/dev/null)

demo: $(VENV)/installed requirements/demo.txt
	$(PIP) --require-hashes -r requirements/demo.txt
	examples/demo.sh

test: $(VENV)/developing
	scripts/check
	scripts/test

check: $(VENV)/developing
	scripts/check

bench: $(VENV)/installed
	scripts/bench

coverage: $(VENV)/developing
	$(PYTHON) -m coverage erase
	$(PYTHON) -m coverage run -m pytest -q
	$(PYTHON) -m coverage combine --quiet
	$(PYTHON) -m coverage report

pins:
	scripts/pin

clean:
	rm -rf $(VENV) build dist .coverage .coverage.* htmlcov bench/results .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(VENV)/bin/python:
	scripts/venv $(VENV)

# A user's installation: a wheel, its bytecode compiled once, because a boundary never writes a __pycache__.
$(VENV)/installed: $(VENV)/bin/python pyproject.toml requirements/runtime.txt requirements/build.txt $(SOURCES)
	$(PIP) --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	$(PIP) --no-deps --no-build-isolation --force-reinstall --compile .
	rm -f $(VENV)/developing
	touch $@

# A developer's installation: the tools, and the package as it stands in src.
$(VENV)/developing: $(VENV)/bin/python pyproject.toml requirements/dev.txt
	$(PIP) --require-hashes -r requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	rm -f $(VENV)/installed
	touch $@
