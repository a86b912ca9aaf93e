"""Makes the server that ``npipe serve`` runs: of objects, a chain, other servers or a tape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from npipe.cli.common import Failure, LoadError, failures
from npipe.cli.serving.options import is_remote

if TYPE_CHECKING:
    from npipe import rpc
    from npipe.ethereum import Service

__all__ = ["Front", "Offer", "make_offer"]


@dataclass(frozen=True, slots=True)
class Offer:
    """The server, and the chain if there is one."""

    server: rpc.Server | rpc.Spread
    modules: Iterable[str]
    chain: Service | None = None
    notes: tuple[str, ...] = ()

    def close(self) -> None:
        """Stop and save the chain, if there is one. Raises Failure."""
        if self.chain is not None:
            try:
                self.chain.close()
            except OSError as error:  # an error of the state file, not of the pipe
                raise Failure(error.strerror or str(error)) from error


class Front(NamedTuple):
    """The options of a proxy: the servers behind it."""

    upstreams: tuple[str, ...]
    stateless: bool  # distribute the calls of each client


@contextmanager
def make_offer(
    apis: tuple[str, ...],
    modules: tuple[str, ...] | None,
    chain: dict[str, Any],
    front: Front,
    tape: str | None,
    *,
    options: dict[str, Any],
) -> Iterator[Offer]:
    """Make the server: a proxy, a recording, the user's objects, or the development chain."""
    from npipe import ethereum, rpc
    from npipe.cli.serving.load import own_api

    if front.upstreams:
        yield _front_offer(front, options["limits"])
        return
    if tape is not None:
        yield _tape_offer(tape, options["limits"])
        return
    if apis:
        api = own_api(apis, modules)
        yield Offer(rpc.Server(api, **options), api.namespaces)
        return
    api = rpc.API()
    with ethereum.register(api, modules=modules, **chain) as service:
        notes = (service.note,) if service.note else ()
        yield Offer(rpc.Server(api, **options), api.namespaces, service, notes)


def _front_offer(front: Front, limits: rpc.Limits) -> Offer:
    from npipe import rpc
    from npipe.cli.console.catalog import discover
    from npipe.cli.serving.upstream import describe, open_upstream

    upstreams = [open_upstream(text) for text in front.upstreams]
    names = [describe(text) for text in front.upstreams]
    modules, unreached = None, None
    for upstream, name in zip(upstreams, names, strict=True):
        try:
            with failures(name):
                if not isinstance(upstream, str | list):
                    upstream.check()
                with rpc.connect(upstream, timeout=10) as client:
                    modules = discover(client.call).modules
        except Failure as failure:  # the other servers may work meanwhile
            unreached = failure
            if len(names) > 1:
                failure.show()
    if modules is None:
        raise unreached or Failure("no upstream was given")
    note = f"all calls are forwarded to {', '.join(names)}"
    if len(upstreams) == 1 and not is_remote(front.upstreams[0]):
        return Offer(rpc.Proxy(upstreams[0], limits=limits), modules, notes=(note,))
    server = rpc.Spread(upstreams, stateless=front.stateless or None, limits=limits)
    return Offer(server, modules, notes=(note,))


def _tape_offer(tape: str, limits: rpc.Limits) -> Offer:
    from npipe import rpc
    from npipe.recording import Playback

    try:
        playback = Playback(tape)
    except FileNotFoundError as error:
        raise LoadError(f"the tape does not exist: {tape}") from error
    modules = {name.partition("_")[0] for name in playback.methods}
    note = f"all calls are answered from {tape}"
    return Offer(rpc.Proxy(playback, limits=limits), modules, notes=(note,))
