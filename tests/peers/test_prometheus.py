"""A real Prometheus scrapes ``npipe serve --metrics``."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from npipe import rpc
from npipe.cli.serving.metrics import serve_metrics
from npipe.rpc import prometheus
from peers.require import require


class Shop:
    def order(self, name: str) -> str:
        return name


@pytest.fixture
def server(directory: Path) -> Iterator[rpc.Server]:
    """A server that has been used: two calls, one of them wrong, and one of nothing."""
    api = rpc.API()
    api.register("shop", Shop())
    with rpc.Server(api) as server, rpc.connect(server, timeout=20) as client:
        client.call("shop_order", "tea")
        for method in ("shop_order", "shop_none"):
            with pytest.raises(rpc.RPCError):
                client.call(method, 1)
        yield server


def test_its_own_linter_has_nothing_to_say(server: rpc.Server) -> None:
    text = prometheus.render(server.stats())
    command = [require("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@contextmanager
def scraping(target: str, directory: Path) -> Iterator[str]:
    """Run Prometheus; the value is the URL of its API."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [{"job_name": "npipe", "static_configs": [{"targets": [target]}]}],
    }
    (directory / "prometheus.yml").write_text(json.dumps(config))  # YAML, too
    command = [
        str(require("prometheus")),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = (directory / "log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}/api/v1/query?query="
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def query(api: str, expression: str) -> Any:
    """Ask until there is an answer with a sample in it; return the samples."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            url = api + urllib.parse.quote(expression)
            with urllib.request.urlopen(url, timeout=20) as answer:
                result = json.load(answer)["data"]["result"]
            if result:
                return result
        except OSError:  # it is not up yet
            pass
        time.sleep(0.1)
    raise AssertionError(f"Prometheus has nothing for {expression}")


@pytest.mark.skipif(sys.platform == "win32", reason="Prometheus is not installed for Windows")
def test_it_is_scraped_and_a_quantile_is_computed(server: rpc.Server, directory: Path) -> None:
    require("prometheus")
    with serve_metrics("127.0.0.1:0", server.stats) as url:
        target = urllib.parse.urlsplit(url).netloc
        with scraping(target, directory) as api:
            quantile = "histogram_quantile(0.99, rpc_server_call_duration_seconds_bucket)"
            found = {each["metric"]["rpc_method"]: each for each in query(api, quantile)}
            assert 0 < float(found["shop_order"]["value"][1]) <= 10
            errors = query(api, "rpc_server_call_errors_total")
            assert {
                (each["metric"]["rpc_method"], each["metric"]["rpc_response_status_code"])
                for each in errors
            } == {("shop_order", "-32602"), ("_OTHER", "-32601")}
            (up,) = query(api, "npipe_open_connections")
            assert up["value"][1] == "1"


def test_the_dashboard_asks_for_what_is_served(server: rpc.Server) -> None:
    """Each name in the queries of examples/grafana.json is one that a scrape has."""
    import re

    path = Path(__file__).parents[2] / "examples" / "grafana.json"
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    text = prometheus.render(server.stats()).decode()
    names = set(re.findall(r"^(\w+)", text, re.MULTILINE))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(asked) >= 6
    for expression in asked:
        found = re.findall(r"\b(?:rpc_server|npipe)_\w+", expression)
        assert found and set(found) <= names, expression
