"""``npipe bench``: against a real server, for fractions of a second."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from cli.conftest import Run
from npipe import rpc


class Sums:
    def __init__(self) -> None:
        self.seen: set[tuple[int, int]] = set()

    @rpc.method(inline=True)
    def add(self, left: int, right: int) -> int:
        self.seen.add((left, right))
        return left + right


@pytest.fixture
def sums(address: str) -> Iterator[Sums]:
    api = rpc.API()
    sums = Sums()
    api.register("sums", sums)
    with rpc.Server(api) as server:
        server.serve(address)
        yield sums


def test_bench_measures_each_load(address: str, sums: Sums, run: Run) -> None:
    arguments = ("--seconds", "0.05", "--connections", "3", "--json")
    done = run("bench", address, "sums_add", "1", "-2", *arguments)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["load"], row["connections"]) for row in rows] == [
        ("sequential", 1),
        ("in-flight", 1),
        ("batch", 1),
        ("sequential", 3),
    ]
    for row in rows:
        assert 0 < row["p50"] <= row["p90"] <= row["p99"] <= row["p99_9"]
        assert row["calls_per_second"] == pytest.approx(row["calls"] / row["seconds"])
    assert rows[2]["calls"] % 100 == 0
    assert sums.seen == {(1, -2)}


def test_bench_prints_a_table_and_a_histogram(address: str, sums: Sums, run: Run) -> None:
    done = run("bench", address, "sums_add", "1", "2", "--seconds", "0.05", "--connections", "2")
    assert "64 calls in flight, 1 connection " in done.stdout
    assert "p99.9" in done.stdout
    assert "#" in done.stdout


def test_bench_of_a_failing_method_says_so_and_measures_nothing(
    address: str, sums: Sums, run: Run
) -> None:
    done = run("bench", address, "sums_nothing")
    assert done.returncode == 1
    assert "sums_nothing" in done.stderr
    assert done.stdout == ""


def test_bench_without_a_server_says_how_to_start_one(address: str, run: Run) -> None:
    done = run("bench", address)
    assert (done.returncode, done.stdout) == (1, "")
    assert "npipe serve" in done.stderr
