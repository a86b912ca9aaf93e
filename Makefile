# The commands of a contributor. Each one sets up what it needs: `make test` on a fresh clone is
# all there is to do. PYTHON chooses the interpreter (3.11 or newer), ARGS is handed on.
#
#   make run      the JSON-RPC service and its clients, shown at work
#   make test     every test: on this system, and on CPython for Windows where Wine is installed
#   make lint     ruff, mypy for three systems, the directions between the packages
#   make bench    npipe and its peers, measured side by side
#   make clean    remove all that these made

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.PHONY: run test test-pythons peers lint bench clean
.DELETE_ON_ERROR:

run: .venv/ready
	$(BIN)/python tools/demo.py $(ARGS)

test: .venv/ready
	$(BIN)/python tools/suite.py $(ARGS)

# The tests of the transports and of asyncio on each other Python version that is found.
test-pythons: .venv/ready
	$(BIN)/python tools/suite.py --pythons $(ARGS)

# What `make test` would install first: other programs to talk to, CPython for Windows.
peers: .venv/ready
	$(BIN)/python tools/install_peers.py
	! command -v wine >/dev/null || $(BIN)/python tools/wine.py setup

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --platform linux
	$(BIN)/mypy --platform darwin
	$(BIN)/mypy --platform win32
	MYPYPATH=tools $(BIN)/mypy tools/*.py
	$(BIN)/lint-imports

bench: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	$(BIN)/python tools/install_peers.py
	$(BIN)/python -m bench --output docs/benchmarks.md $(ARGS)

clean:
	[ ! -d .wine ] || $(PYTHON) tools/wine.py stop
	rm -rf .venv .venv-3.* .wine .peers .test-results build dist
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# pip is upgraded first: the one that comes with Python 3.11 knows no dependency groups.
.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "npipe needs Python 3.11 or newer, and this is %s; say: make PYTHON=python3.12" \
	    % sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[console,ethereum,integrations,smb]' \
	    --group test --group peers --group integrations --group lint
	touch $@
