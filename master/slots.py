"""The listening sockets of all entrypoints, one per worker slot, and where new connections may go.

The master holds every descriptor for as long as the entrypoint exists: a listener's queue dies only with its
last descriptor, so nothing that is queued is lost when a worker leaves, crashes or is replaced. Sockets for
all slots that may ever be used are bound at once, because later we may lack the right to.

A slot listens from the moment its first worker is about to be given a table. The master makes that call, not
the worker, because the order of calls numbers the members of the kernel's group (``shared.sockets``); for the
worker's own ``listen`` there is then nothing left to do.

A UDP socket has no queue of connections to lose and no ``listen``: it is in its group from the start, and a
program in the kernel keeps datagrams away from slots that are out of service.

An epoch is one version of the static settings. Epochs share the sockets of addresses they have in common.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from shared import sockets
from shared.config.effective import Protocol
from shared.errors import PortInUseError


class ListenAddress(NamedTuple):
    """Where an entrypoint listens; an empty host is everywhere, port 0 is for the kernel to choose."""

    host: str
    port: int
    protocol: Protocol = "tcp"

    def __str__(self) -> str:
        shown = sockets.show_address(self.host, self.port)
        return f"{shown}/udp" if self.protocol == "udp" else shown


class SlotGroup:
    """All slots of one address.

    Args:
        entrypoint: its name, for messages.
        address: where to bind.
        slots: how many.

    Raises:
        PortInUseError: somebody listens there.
    """

    def __init__(self, entrypoint: str, address: ListenAddress, slots: int) -> None:
        self.asked = address
        self._listening: list[int] = []  # slots in the order of the kernel's group
        self._avoided: frozenset[int] = frozenset()
        self._rested: set[int] = set()
        self._is_udp = address.protocol == "udp"
        kind = socket.SOCK_DGRAM if self._is_udp else socket.SOCK_STREAM
        sockets.check_free(entrypoint, address.host, address.port, kind)
        self._sockets: list[socket.socket] = []
        port = address.port
        try:
            for _ in range(slots):
                self._sockets.append(sockets.bind_slot(address.host, port, kind))
                port = self._sockets[0].getsockname()[1]
        except OSError as error:
            self.close()
            if error.errno == errno.EADDRINUSE:
                reason = f"entrypoint {entrypoint}: address {address} is already in use"
                raise PortInUseError(reason) from error
            raise PortInUseError(f"entrypoint {entrypoint}: cannot bind {address}: {error}") from error
        self.actual = ListenAddress(address.host, port, address.protocol)
        if self._is_udp:  # until a slot is in service, the first one keeps what comes
            sockets.steer_datagrams(self._sockets[0], [0])

    def socket_of(self, slot: int) -> socket.socket:
        """The slot's socket; it stays ours."""
        return self._sockets[slot]

    def listen(self, slot: int) -> None:
        """Put a slot into service."""
        if slot not in self._listening:
            if self._is_udp:
                if slot in self._rested:
                    sockets.drop_waiting(self._sockets[slot])
            else:
                self._sockets[slot].listen(sockets.LISTEN_BACKLOG)
            self._listening.append(slot)
            self._apply()

    def rest(self, slot: int) -> None:
        """Take a slot that no worker uses out of service."""
        if slot in self._listening and self._is_udp:
            self._listening.remove(slot)
            self._rested.add(slot)
            self._apply()
        elif slot in self._listening:
            sockets.rest(self._sockets[slot])
            place, last = self._listening.index(slot), self._listening.pop()
            if last != slot:  # the kernel moves the last member into the hole
                self._listening[place] = last
            self._apply()

    def steer(self, avoided: frozenset[int]) -> None:
        """Let no new connections come to these slots."""
        if avoided != self._avoided:
            self._avoided = avoided
            self._apply()

    def refuse_new(self) -> None:
        """Let nothing more into the queues."""
        for slot in self._listening:
            if not self._is_udp:
                sockets.refuse_new(self._sockets[slot])

    def close(self) -> None:
        """Give the address up; connections still queued are reset with the last descriptor."""
        for each in self._sockets:
            each.close()

    def _apply(self) -> None:
        if not self._listening:
            return
        member = self._sockets[self._listening[0]]
        if self._is_udp:  # whose places are the slots' numbers
            wanted = [slot for slot in self._listening if slot not in self._avoided]
            sockets.steer_datagrams(member, sorted(wanted or self._listening))
            return
        places = [place for place, slot in enumerate(self._listening) if slot not in self._avoided]
        if places and len(places) < len(self._listening):
            sockets.steer(member, places)
        else:
            sockets.stop_steering(member)


class Slots:
    """The sockets of all epochs.

    Args:
        count: slots per address.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._epochs: dict[int, dict[str, SlotGroup]] = {}
        self._avoided: frozenset[int] = frozenset()

    def open_epoch(self, epoch: int, wanted: Mapping[str, ListenAddress]) -> None:
        """Reserve the sockets of an epoch; on failure nothing has changed.

        Raises:
            PortInUseError: an address is taken, or two entrypoints want the same one.
        """
        _check_distinct(wanted)
        groups: dict[str, SlotGroup] = {}
        with contextlib.ExitStack() as undo:
            for name, address in wanted.items():
                group = self._find(name, address)
                if group is None:
                    group = SlotGroup(name, address, self.count)
                    undo.callback(group.close)
                    group.steer(self._avoided)
                groups[name] = group
            undo.pop_all()
        self._epochs[epoch] = groups

    def for_worker(self, epoch: int, slot: int) -> list[tuple[str, socket.socket]]:
        """The sockets that a worker inherits, with their entrypoints' names."""
        return [(name, group.socket_of(slot)) for name, group in self._epochs[epoch].items()]

    def listen(self, epoch: int, slot: int) -> None:
        """Put a slot into service at all addresses of an epoch. Safe to repeat."""
        for group in self._epochs[epoch].values():
            group.listen(slot)

    def rest(self, slot: int) -> None:
        """Take a slot that no worker uses out of service everywhere."""
        for group in self._groups():
            group.rest(slot)

    def steer(self, avoided: frozenset[int]) -> None:
        """Let no new connections come to these slots, at any address."""
        self._avoided = avoided
        for group in self._groups():
            group.steer(avoided)

    def retire_epoch(self, epoch: int) -> None:
        """Close the sockets that only this epoch used."""
        retired = self._epochs.pop(epoch, {})
        kept = set(self._groups())
        for group in retired.values():
            if group not in kept:
                group.close()

    def addresses(self, epoch: int) -> dict[str, str]:
        """Where each entrypoint really listens, as text."""
        groups = self._epochs.get(epoch, {})
        return {name: str(group.actual) for name, group in groups.items()}

    def hand_over(self) -> None:
        """Before the end: let nothing more into the queues and leave them to the workers, who empty them.

        With the worker that closes its copy last the port is closed, and clients are refused at once.
        """
        for group in self._groups():
            group.refuse_new()
        self.close()

    def close(self) -> None:
        """Give up all addresses."""
        for group in self._groups():
            group.close()
        self._epochs.clear()

    def _groups(self) -> Iterator[SlotGroup]:
        return iter({group for groups in self._epochs.values() for group in groups.values()})

    def _find(self, name: str, address: ListenAddress) -> SlotGroup | None:
        """A group that exists already. With port 0 only the entrypoint's own will do."""
        for groups in self._epochs.values():
            for owner, group in groups.items():
                if group.asked == address and (address.port or owner == name):
                    return group
        return None


def _check_distinct(wanted: Mapping[str, ListenAddress]) -> None:
    """Two of our own entrypoints would share a port silently, where any other program is refused."""
    seen: list[tuple[str, ListenAddress]] = []
    for name, address in wanted.items():
        for other, taken in seen:
            overlap = address.host == taken.host or not (address.host and taken.host)
            if address.port and (address.port, address.protocol) == (taken.port, taken.protocol) and overlap:
                raise PortInUseError(
                    f"entrypoint {name}: address {address} is already in use by entrypoint {other}"
                )
        seen.append((name, address))
