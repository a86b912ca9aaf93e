# The commands of a contributor, by their usual names. dev.py does the work, on every system.
# PYTHON chooses the interpreter (3.11 or newer), ARGS is handed on: make test ARGS="-k deadline"

PYTHON ?= python3
ARGS ?=

.PHONY: setup run test pythons compiled peers lint extras oldest lock audit packages docs bench clean

setup run test pythons compiled peers lint extras oldest lock audit packages docs bench clean:
	$(PYTHON) dev.py $@ $(ARGS)
