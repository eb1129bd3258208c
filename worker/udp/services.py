"""UDP services of a worker: which server the next session goes to (spec v2 section 6.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from shared.addresses import split_address
from shared.arena_block import Block
from shared.cells import ServiceCell
from shared.config.dynamic import UdpLoadBalancer, Weighted
from shared.errors import ConfigError, TableError
from shared.identities import UDP_SERVER, UDP_SERVICE, server_name
from shared.table.stream_routes import UdpContent, UdpServiceEntry
from worker.balancing.base import Member
from worker.balancing.interleaved import InterleavedRoundRobin
from worker.balancing.rounds import Rounds
from worker.blocks import Blocks


class UdpTarget:
    """One server of a service: ``host`` and ``port`` where it is, ``block`` its figures."""

    __slots__ = ("address", "block", "host", "port")

    def __init__(self, address: str, block: Block) -> None:
        self.address = address
        self.host, self.port = split_address(address)
        self.block = block


class UdpEndpoint(Protocol):
    """A service."""

    def choose(self) -> UdpTarget | None:
        """The server for a session; None if there is none."""


class UdpRoute(NamedTuple):
    """What an entrypoint does with new clients."""

    router: str
    endpoint: UdpEndpoint


class UdpServers:
    """A load balancer."""

    def __init__(self, targets: list[UdpTarget], rounds: InterleavedRoundRobin, block: Block) -> None:
        self._targets = targets
        self._rounds = rounds
        self._block = block

    def choose(self) -> UdpTarget | None:
        """The next server."""
        self._block.add(ServiceCell.REQUESTS)
        position = self._rounds.pick()
        if position is None:
            self._block.add(ServiceCell.NO_SERVER)
            return None
        return self._targets[position]


class UdpChildren:
    """A weighted service."""

    def __init__(self, children: list[UdpEndpoint], rounds: InterleavedRoundRobin, block: Block) -> None:
        self._children = children
        self._rounds = rounds
        self._block = block

    def choose(self) -> UdpTarget | None:
        """A server of the next child."""
        self._block.add(ServiceCell.REQUESTS)
        position = self._rounds.pick()
        return self._children[position].choose() if position is not None else None


class UdpServices:
    """All UDP services of a worker, over all generations."""

    def __init__(self) -> None:
        self._rounds = Rounds()

    def routes(self, content: UdpContent, blocks: Blocks) -> Mapping[str, UdpRoute]:
        """The routes of a table by entrypoint.

        Raises:
            TableError: a service is of no kind.
        """
        made: dict[int, UdpEndpoint] = {}
        return {
            each.entrypoint: UdpRoute(each.router, self._endpoint(content, each.service, blocks, made))
            for each in content.entrances
        }

    def _endpoint(
        self, content: UdpContent, number: int, blocks: Blocks, made: dict[int, UdpEndpoint]
    ) -> UdpEndpoint:
        if number not in made:
            entry = content.services[number]
            if entry.options.load_balancer is not None:
                made[number] = self._servers(entry, entry.options.load_balancer, blocks)
            elif entry.options.weighted is not None:
                children = [self._endpoint(content, each, blocks, made) for each in entry.children]
                made[number] = self._children(entry, entry.options.weighted, children, blocks)
            else:
                raise TableError(f"UDP service {entry.name} is of no kind")
        return made[number]

    def _servers(self, entry: UdpServiceEntry, options: UdpLoadBalancer, blocks: Blocks) -> UdpServers:
        block = blocks.get(UDP_SERVICE, entry.name)
        try:
            targets = [
                UdpTarget(each.address, blocks.get(UDP_SERVER, server_name(entry.name, each.address)))
                for each in options.servers
            ]
        except ConfigError as error:
            raise TableError(f"UDP service {entry.name}: {error.reason}") from error
        members = [Member(target.address, 1) for target in targets]
        return UdpServers(targets, self._rounds.go_on(entry.name, members, _picks(block)), block)

    def _children(
        self, entry: UdpServiceEntry, options: Weighted, children: list[UdpEndpoint], blocks: Blocks
    ) -> UdpChildren:
        block = blocks.get(UDP_SERVICE, entry.name)
        members = [Member(each.name, 1 if each.weight is None else each.weight) for each in options.services]
        return UdpChildren(children, self._rounds.go_on(entry.name, members, _picks(block)), block)


def _picks(block: Block) -> int:
    return block.sum(ServiceCell.REQUESTS)
