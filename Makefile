# Two commands: `make demo` and `make test`. Everything else serves these.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Three to a processor: most of the time goes into waiting for lines and servers.
WORKERS := $(shell echo $$(($$(nproc) * 3)))
# What is compiled is kept, whatever the surroundings say: each worker and each program that a test starts would compile
# everything anew, the tests' assertions included, which takes longer than many of the tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test peers lint types bench clean

demo: $(STAMP)
	$(BIN)/modemtls demo

test: lint types $(STAMP)
	$(BIN)/python -W error -m pytest -n $(WORKERS) --dist worksteal

# The README's table of peers, written from what was found; `make test` holds it against what it finds.
peers: $(STAMP)
	MODEMTLS_WRITE_PEERS=1 $(BIN)/python -W error -m pytest -n $(WORKERS) --dist worksteal tests/peers

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m bench

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
