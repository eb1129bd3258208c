"""TCP services of a worker: which server the next connection goes to.

Positions in the round belong to a service's qualified name and outlive generations; figures and health marks
are in the arena. Rounds are those of ``InterleavedRoundRobin`` (spec v2 section 3.3: TCP and UDP).
"""

from __future__ import annotations

from typing import Protocol

from shared import health
from shared.addresses import split_address
from shared.arena_block import Block
from shared.cells import ServiceCell
from shared.config.dynamic import TcpLoadBalancer, TcpServer, Weighted
from shared.errors import ConfigError, TableError
from shared.health import Mark
from shared.identities import TCP_SERVER, TCP_SERVICE, server_name
from shared.table.stream_routes import TcpContent, TcpServiceEntry
from worker.balancing.base import Member
from worker.balancing.interleaved import InterleavedRoundRobin
from worker.balancing.rounds import Rounds
from worker.blocks import Blocks
from worker.dialing import Dialer
from worker.tcp.transport import TcpTransport, make_transport
from worker.upstream import Origin


class TcpTarget:
    """One server of a service.

    Attributes:
        address: as configured; its identity.
        host, port: where it is.
        dialer: puts TLS on connections to it; None if they have none.
        transport: how it is spoken to.
        block: its figures.
    """

    __slots__ = ("address", "block", "dialer", "host", "port", "transport")

    def __init__(self, server: TcpServer, transport: TcpTransport, block: Block) -> None:
        self.address = server.address
        self.host, self.port = split_address(server.address)
        origin = Origin("https", self.host, self.port)
        self.dialer = Dialer(origin, transport.tls, transport.dial_timeout_s) if server.tls else None
        self.transport = transport
        self.block = block

    @property
    def is_up(self) -> bool:
        """Whether it passed its last check."""
        return not self.block.get_master(health.MARKS) & Mark.DOWN.value


class TcpEndpoint(Protocol):
    """A service as routers and weighted services see it."""

    @property
    def is_up(self) -> bool:
        """Whether one of its servers may get a connection."""

    def choose(self) -> TcpTarget | None:
        """The server for a connection; None if there is none."""


class TcpServers:
    """A load balancer."""

    def __init__(self, targets: list[TcpTarget], rounds: InterleavedRoundRobin, block: Block) -> None:
        self._targets = targets
        self._rounds = rounds
        self._block = block

    @property
    def is_up(self) -> bool:
        """Whether one of the servers is up."""
        return any(target.is_up for target in self._targets)

    def choose(self) -> TcpTarget | None:
        """The next server that is up."""
        self._block.add(ServiceCell.REQUESTS)
        position = self._rounds.pick(lambda place: self._targets[place].is_up)
        if position is None:
            self._block.add(ServiceCell.NO_SERVER)
            return None
        return self._targets[position]


class TcpChildren:
    """A weighted service."""

    def __init__(
        self, children: list[TcpEndpoint], rounds: InterleavedRoundRobin, minds_health: bool, block: Block
    ) -> None:
        self._children = children
        self._rounds = rounds
        self._minds_health = minds_health
        self._block = block

    @property
    def is_up(self) -> bool:
        """Whether one of the children is up."""
        return any(child.is_up for child in self._children)

    def choose(self) -> TcpTarget | None:
        """A server of the next child; of the next one that is up, if health is minded."""
        self._block.add(ServiceCell.REQUESTS)
        position = self._rounds.pick(self._is_usable)
        if position is None:
            self._block.add(ServiceCell.NO_SERVER)
            return None
        return self._children[position].choose()

    def _is_usable(self, position: int) -> bool:
        return not self._minds_health or self._children[position].is_up


class TcpServices:
    """All TCP services of a worker, over all generations."""

    def __init__(self) -> None:
        self._rounds = Rounds()

    def endpoint(
        self, content: TcpContent, number: int, blocks: Blocks, made: dict[int, TcpEndpoint]
    ) -> TcpEndpoint:
        """The one endpoint of a service in a generation.

        Args:
            content: of the table.
            number: of the service in it.
            blocks: finds blocks.
            made: the endpoints of this generation so far.

        Raises:
            TableError: the service is of no kind.
        """
        if number not in made:
            entry = content.services[number]
            block = blocks.get(TCP_SERVICE, entry.name)
            if entry.options.load_balancer is not None:
                balancer = entry.options.load_balancer
                made[number] = self._servers(entry, balancer, content, blocks, block)
            elif entry.options.weighted is not None:
                children = [self.endpoint(content, each, blocks, made) for each in entry.children]
                made[number] = self._children(entry, entry.options.weighted, children, block)
            else:
                raise TableError(f"TCP service {entry.name} is of no kind")
        return made[number]

    def _servers(
        self,
        entry: TcpServiceEntry,
        options: TcpLoadBalancer,
        content: TcpContent,
        blocks: Blocks,
        block: Block,
    ) -> TcpServers:
        transport = make_transport(content.transports[entry.transport], options)
        try:
            targets = [
                TcpTarget(each, transport, blocks.get(TCP_SERVER, server_name(entry.name, each.address)))
                for each in options.servers
            ]
        except ConfigError as error:
            raise TableError(f"TCP service {entry.name}: {error.reason}") from error
        members = [Member(target.address, 1) for target in targets]
        return TcpServers(
            targets, self._rounds.go_on(entry.name, members, block.sum(ServiceCell.REQUESTS)), block
        )

    def _children(
        self, entry: TcpServiceEntry, options: Weighted, children: list[TcpEndpoint], block: Block
    ) -> TcpChildren:
        members = [Member(each.name, 1 if each.weight is None else each.weight) for each in options.services]
        rounds = self._rounds.go_on(entry.name, members, block.sum(ServiceCell.REQUESTS))
        return TcpChildren(children, rounds, options.health_check is not None, block)
