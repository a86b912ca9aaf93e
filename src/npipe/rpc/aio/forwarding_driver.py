"""Driver of a proxy's connection on an event loop: it writes what another driver has read.

A proxy joins a client's driver and an upstream driver. The connection that messages are written to
holds back the one that they are read from: no call begins while its peer does not read.
"""

from __future__ import annotations

from collections.abc import Callable

from npipe.rpc.aio.driver import Driver

__all__ = ["ForwardingDriver", "UpstreamDriver"]


class ForwardingDriver(Driver):
    """A driver that can be fed by, and can feed, other drivers."""

    __slots__ = ("_feeders", "_held", "on_crowded", "peer_driver")

    def _begin(self) -> None:
        self.peer_driver: ForwardingDriver | None = None  # the driver that messages go to
        self.on_crowded: Callable[[], object] | None = None  # called when ``crowded`` changes
        self._feeders: tuple[ForwardingDriver, ...] = ()  # the drivers with this peer_driver
        self._held = False  # no server reads the messages read here

    def join(self, other: ForwardingDriver) -> None:
        """Connect two drivers: each writes the messages that the other reads.

        A driver on ``hold`` is released.
        """
        self.feed(other)
        other.feed(self)

    def feed(self, other: ForwardingDriver) -> None:
        """Write the messages read here to the other driver.

        No call begins while the other driver's peer does not read.
        """
        self.peer_driver = other
        other._feeders += (self,)
        self._release()

    def unfeed(self) -> None:
        """Undo ``feed`` after this connection has ended."""
        if self.peer_driver is not None:
            others = (feeder for feeder in self.peer_driver._feeders if feeder is not self)
            self.peer_driver._feeders = tuple(others)

    def hold(self) -> None:
        """Begin no calls.

        Received messages are kept, so that a call can begin as soon as there is room, before
        subscriptions fill it again; see ``Session.may_read``.
        """
        self.session.flow.hold(True)

    def hold_while(self, held: bool) -> None:
        """Begin no calls while ``held``, regardless of other reasons."""
        if held != self._held:
            self._held = held
            self._release()

    def pause_writing(self) -> None:
        """Begin no more calls here and at the feeders, whose messages are written here."""
        super().pause_writing()
        for feeder in self._feeders:
            feeder.hold()
        if self.on_crowded is not None:
            self.on_crowded()

    def resume_writing(self) -> None:
        """Continue here and at the feeders, unless another reason to hold exists."""
        super().resume_writing()
        for feeder in self._feeders:
            feeder._release()
        if self.on_crowded is not None:
            self.on_crowded()

    def _release(self) -> None:
        self._update_hold()
        self.wake()

    def _update_hold(self) -> None:
        self.session.flow.hold(self._must_hold or self.crowded)

    @property
    def _must_hold(self) -> bool:
        """True while messages that are read here cannot be written elsewhere."""
        return self._held or (self.peer_driver is not None and self.peer_driver.crowded)


class UpstreamDriver(ForwardingDriver):
    """The driver of a connection to a server.

    A proxy does not write its messages back to it, so its own writes do not hold it.
    """

    __slots__ = ()

    def _update_hold(self) -> None:
        self.session.flow.hold(self._must_hold)
