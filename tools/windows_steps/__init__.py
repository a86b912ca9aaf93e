r"""The steps of tools/windows_check.py.

``report`` and ``raw`` are what they share. ``tables`` says how a kernel has to behave, ``probes``
compares this one with it; ``remote``, ``load`` and ``ports`` measure npipe itself; ``accounts`` and
``tokens`` start programs of other users, ``programs`` consoles, verifiers and the test suite.
"""
