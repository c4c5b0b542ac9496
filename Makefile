# One command for each thing a newcomer wants. All of it happens in this folder: the virtual environment is
# .venv (VENV=elsewhere moves it); nothing is installed outside it, except that `make test`, run as root on
# Debian, adds the tools that the tests compare with (tools/install_debian_packages).

PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(p) -c \
    'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := $(shell find layerlog cli drivers eventstore projections -name '*.py') layerlog/py.typed pyproject.toml
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export LAYERLOG_TEST_IMAGES ?= /var/tmp/layerlog-images
PIP := $(BIN)/python -m pip -qq

# setuptools would put a module that is gone from the tree back into the wheel, from the last build.
FORGET_BUILD := rm -rf build layerlog.egg-info

.PHONY: help demo test check bench binary crash crowd clean

help:
	@echo 'make demo     a real image from archive to container and back, in a minute (IMAGE=path takes yours)'
	@echo 'make test     everything CI runs: the checks and all tests; as root also installs the tools they need'
	@echo 'make check    ruff, mypy and the rules of the house (tests/test_structure.py); seconds'
	@echo 'make binary   bin/layerlog: one file that needs nothing but python3 >= 3.11'
	@echo 'make crash    the crash tests in their long form (an hour), and the table beside containers-storage'
	@echo 'make crowd    many processes under a rain of SIGKILLs'
	@echo 'make bench    the numbers of the README, measured here'
	@echo 'make clean    removes what make made'

demo: $(VENV)/installed
	@$(BIN)/python -m examples.demo $(if $(IMAGE),--image '$(IMAGE)') $(if $(DRIVER),--storage-driver '$(DRIVER)')

test: $(VENV)/installed $(VENV)/test-tools
	@tools/install_debian_packages
	@tools/make_test_images '$(LAYERLOG_TEST_IMAGES)'
	@$(MAKE) --no-print-directory check; checked=$$?; $(BIN)/python -m pytest -rs -n 2 --dist loadfile $(PYTEST) && exit $$checked

check: $(VENV)/test-tools
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_structure.py

binary: $(VENV)/installed
	@$(BIN)/python tools/build_binary.py bin/layerlog

# Each of these is a folder of its own; one that this checkout does not have yet says so and fails.
bench: $(VENV)/installed
	@test -d benchmarks || { echo 'there are no benchmarks in this checkout yet' >&2; exit 1; }
	@$(BIN)/python -m benchmarks $(BENCH)

crash: $(VENV)/test-tools
	@test -d tests/crash || { echo 'there are no crash tests in this checkout yet' >&2; exit 1; }
	@LAYERLOG_CRASH=long $(BIN)/python -m pytest -rs -n 2 --dist loadfile -o timeout=0 tests/crash $(PYTEST)
	@$(BIN)/python -m tests.crash.power_table

crowd: $(VENV)/test-tools
	@test -d tests/crowd || { echo 'there is no crowd test in this checkout yet' >&2; exit 1; }
	@LAYERLOG_CROWD_SECONDS=$${LAYERLOG_CROWD_SECONDS:-3600} $(BIN)/python -m pytest -rs tests/crowd $(PYTEST)

$(VENV)/bin/python:
	@test -n '$(PYTHON)' || { echo 'layerlog needs python3 >= 3.11 (PYTHON=/path/to/python names one)' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo 'python3 has no venv module: on Debian, apt-get install python3-venv' >&2; rm -rf $(VENV); exit 1; }

# The wheel, as a user gets it: it starts quicker than an editable install, whose import hook costs every command.
$(VENV)/installed: $(VENV)/bin/python $(SOURCES)
	@echo 'installing layerlog and its dependencies into $(VENV) ...'
	@$(FORGET_BUILD)
	@$(PIP) install '.[fast]'
	@$(FORGET_BUILD)
	@touch $@

$(VENV)/test-tools: pyproject.toml | $(VENV)/installed
	@echo 'installing the test tools into $(VENV) ...'
	@$(PIP) install '.[fast,test]'
	@$(PIP) install --only-binary atheris '.[fuzz]' 2>/dev/null || echo 'atheris has no package for this Python; its fuzzer is skipped'
	@$(FORGET_BUILD)
	@touch $@

clean:
	rm -rf $(VENV) bin build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
