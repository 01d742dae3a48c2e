# make demo   a real PostgreSQL 18, a day of OAuth logins, and why each one succeeded or failed
# make test   everything that CI checks: style, types, unit tests, real servers, alert rules
# make test-real  systems as people run them: identity provider, browser, psql's device flow, PostgreSQL 19
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

LONG := crash faults model

.PHONY: help demo test test-faults test-real test-lowest lint unit bench soak clean
help:
	@echo 'make demo    see pgoauthd at work on a real PostgreSQL 18 (about a minute)'
	@echo 'make test    run all checks and tests'
	@echo 'make test-faults  kill the daemon, fill its disk, tear its logs'
	@echo 'make test-real  run what needs other systems: Keycloak, a browser, psql, PostgreSQL 19'
	@echo 'make test-lowest  run the tests with the oldest dependencies that pyproject.toml allows'
	@echo 'make bench   measure validation and replay beside their yardsticks'
	@echo 'make soak    kill the daemon a hundred times, play random histories of log files (half an hour)'
	@echo 'make clean   remove what the above made'

$(BIN)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'pgoauthd needs Python 3.11 or later: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[demo,dev]'
	@touch $@

demo: $(BIN)/.installed
	@$(BIN)/pgoauthd demo

lint: $(BIN)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: $(BIN)/.installed
	@sh tests/install-debian-parts.sh
	$(BIN)/python -m pytest $(LONG:%=--ignore=tests/%) --ignore=tests/real

# What is killed, torn, filled up and played at random, in a small measure; `make soak` is the large one.
test-faults: $(BIN)/.installed
	$(BIN)/python -m pytest $(LONG:%=tests/%)

# What this machine lacks is said by the script, and again by pytest for each test that is skipped for it.
test-real: $(BIN)/.installed
	@sh tests/install-real-parts.sh
	$(BIN)/python -m pytest tests/real

test-lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --constraint tests/lowest-versions.txt --editable '.[demo,dev]'
	$(VENV)-lowest/bin/python -m pytest

bench: $(BIN)/.installed
	$(BIN)/python -m bench.bench_callout
	$(BIN)/python -m bench.bench_issuer
	$(BIN)/python -m bench.bench_replay
	$(BIN)/python -m bench.bench_backlog
	$(BIN)/python -m bench.bench_memory

# Longer than any CI run: 100 kills under load, then random histories of log files.
soak: $(BIN)/.installed
	$(BIN)/python -m tests.crash.soak --kills 100
	$(BIN)/python -m tests.model.soak --minutes 10

test: lint unit test-faults test-real

clean:
	rm -rf $(VENV) $(VENV)-lowest .real build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	$(MAKE) -C shim clean
