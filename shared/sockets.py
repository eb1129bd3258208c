"""Listening sockets: make them, put one into service and out of it again, steer new connections.

All sockets of one address form a kernel *reuseport group*. What this file relies on, measured on Linux 6.18
(2026-11) and kept true by ``tests/unit/test_sockets.py``:

- A bound socket that does not listen gets no connections and has no place in the group.
- Places are given in the order of ``listen()``. When a place is given up the *last* one moves into it.
- A classic BPF program on the group picks a place for each new connection; a number past the end falls back
  to the kernel's hash.
- A UDP socket has its place from ``bind`` on; the program sees its datagrams from the UDP payload on, and the
  IP header at negative offsets.
- A listener that is shut down is merely bound again: the port stays ours and it can listen once more.

Blocking flags and ``shutdown`` act on every holder of a listener, so ``rest`` is only for sockets that no
worker uses any more.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
from collections.abc import Sequence

from shared.errors import PortInUseError

LISTEN_BACKLOG = 4096
"""Connections the kernel queues per slot; capped by net.core.somaxconn (4096 since Linux 5.4)."""

MAX_DROPPED = 65_536
"""Datagrams thrown away at most when a UDP slot goes into service again: more than a queue holds."""

SO_ATTACH_REUSEPORT_CBPF = 51
SO_DETACH_REUSEPORT_BPF = 68
SO_ATTACH_FILTER = 26

# Classic BPF (Linux Documentation/networking/filter.rst).
_LOAD_ABSOLUTE = 0x20
_MODULO = 0x94
_JUMP_IF_EQUAL = 0x15
_RETURN = 0x06
_LOAD_BYTE = 0x30
_LOAD_HALF = 0x28
_JUMP = 0x05
_TO_X = 0x07
_MULTIPLY = 0x24
_XOR_WITH_X = 0xAC
_SHIFT_RIGHT = 0x74
_NETWORK_HEADER = 0x1_0000_0000 - 0x10_0000
"""SKF_NET_OFF: offsets from here count from the IP header."""
_PROTOCOL = 0x1_0000_0000 - 0x1000
"""SKF_AD_OFF + SKF_AD_PROTOCOL: the Ethernet type."""
_IPV6 = 0x86DD
_GOLDEN_RATIO, _MIXER = 0x9E37_79B1, 0x85EB_CA6B
"""Odd constants of multiplicative hashing, so that neighbouring ports go to different places."""
_AND = 0x54
_TCP_FLAGS = 13
_SYN, _SYN_OR_ACK = 0x02, 0x12
_WHOLE_PACKET = 0xFFFF_FFFF
_RANDOM_WORD = 0x1_0000_0000 - 0x1000 + 56
"""SKF_AD_OFF + SKF_AD_RANDOM. Random and not SKF_AD_RXHASH: the hash is 0 where no device computes it."""

Instruction = tuple[int, int, int, int]


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


def bind_slot(host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A bound, non-blocking, close-on-exec member of the address's reuseport group; not listening yet.

    Args:
        host: an IP address; empty for every address of both families.
        port: 0 lets the kernel choose.
        kind: TCP, or UDP by ``SOCK_DGRAM``, which has its place in the group at once.

    Raises:
        OSError: the address cannot be bound.
    """
    made = _open(host, kind)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host or _any_host(made), port))
    except BaseException:
        made.close()
        raise
    return made


def check_free(entrypoint: str, host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
    """Make sure that nobody listens on the address.

    With SO_REUSEPORT a second program of the same user would silently share the port, so this binds once
    without it: that fails whenever another socket listens there, however that one was made.

    Raises:
        PortInUseError: somebody does, or the address may not be bound; names entrypoint and address.
    """
    shown = show_address(host, port)
    try:
        probe = _open(host, kind)
    except OSError as error:
        raise PortInUseError(f"entrypoint {entrypoint}: cannot open a socket for {shown}: {error}") from error
    with contextlib.closing(probe):
        try:
            probe.bind((host or _any_host(probe), port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                reason = f"entrypoint {entrypoint}: address {shown} is already in use by another program"
            else:
                reason = f"entrypoint {entrypoint}: cannot bind {shown}: {error.strerror or error}"
            raise PortInUseError(reason) from error


def is_listening(sock: socket.socket) -> bool:
    """Whether the socket has a place in its group (Linux socket(7), SO_ACCEPTCONN)."""
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def rest(sock: socket.socket) -> None:
    """Take a listener that no worker uses out of service; it stays bound and may listen again.

    Closing it instead would give up the port, which an unprivileged process might not get back.
    """
    if is_listening(sock):
        sock.shutdown(socket.SHUT_RDWR)


def steer(member: socket.socket, places: Sequence[int]) -> None:
    """Send new connections of a group to these places only, evenly.

    Args:
        member: any listening socket of the group.
        places: at least one; the order of ``listen()`` calls defines the numbers.
    """
    _attach(member, SO_ATTACH_REUSEPORT_CBPF, _pick_one_of(places))


def steer_datagrams(member: socket.socket, places: Sequence[int]) -> None:
    """Send the datagrams of a UDP group to these places only, all of one client to the same one.

    The kernel's own hash would do that too, but over *all* members, also those whose slot nobody serves: a
    UDP socket has its place from ``bind`` on. So a UDP group always has a program.

    Args:
        member: any socket of the group.
        places: at least one; the order of ``bind`` calls defines the numbers.
    """
    _attach(member, SO_ATTACH_REUSEPORT_CBPF, _pick_by_client(places))


def drop_waiting(sock: socket.socket) -> None:
    """Empty the queue of a UDP socket that goes into service again: what it holds is of another time."""
    with contextlib.suppress(BlockingIOError):
        for _ in range(MAX_DROPPED):
            sock.recv(1)


def stop_steering(member: socket.socket) -> None:
    """Give the choice back to the kernel's hash over all listening members."""
    with contextlib.suppress(FileNotFoundError):  # ENOENT: no program was attached
        member.setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)


def refuse_new(listener: socket.socket) -> None:
    """Drop the SYN of every new connection; those that are queued, or half open, are not touched.

    The last thing a listener gets before its queue is emptied and it is closed: nothing can slip into the
    queue in between and be reset. A client whose SYN was dropped asks again and is then refused, as the
    port is closed (socket(7), SO_ATTACH_FILTER; a TCP socket's filter sees the TCP header first).
    """
    only_others = [
        (_LOAD_BYTE, 0, 0, _TCP_FLAGS),
        (_AND, 0, 0, _SYN_OR_ACK),
        (_JUMP_IF_EQUAL, 0, 1, _SYN),
        (_RETURN, 0, 0, 0),
        (_RETURN, 0, 0, _WHOLE_PACKET),
    ]
    _attach(listener, SO_ATTACH_FILTER, only_others)


def show_address(host: str, port: int) -> str:
    """``127.0.0.1:80``, ``[::1]:80`` or ``:80``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _attach(sock: socket.socket, option: int, instructions: Sequence[Instruction]) -> None:
    array = (_Instruction * len(instructions))(*(_Instruction(*each) for each in instructions))
    program = _Program(len(instructions), array)
    raw = ctypes.string_at(ctypes.byref(program), ctypes.sizeof(program))
    sock.setsockopt(socket.SOL_SOCKET, option, raw)


def _pick_one_of(places: Sequence[int]) -> list[Instruction]:
    if len(places) == 1:
        return [(_RETURN, 0, 0, places[0])]
    program: list[Instruction] = [(_LOAD_ABSOLUTE, 0, 0, _RANDOM_WORD), (_MODULO, 0, 0, len(places))]
    for number, place in enumerate(places):
        program += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, place)]
    return [*program, (_RETURN, 0, 0, places[0])]  # never reached; the kernel wants a return at the end


def _pick_by_client(places: Sequence[int]) -> list[Instruction]:
    """By the last word of the source address and the source port, which IPv6 has elsewhere than IPv4.

    Options between the headers move the port; then another part of the packet is the key, which is as good
    as long as a client goes on to send them.
    """
    mixing = [
        (_MULTIPLY, 0, 0, _GOLDEN_RATIO),
        (_XOR_WITH_X, 0, 0, 0),
        (_MULTIPLY, 0, 0, _MIXER),
        (_SHIFT_RIGHT, 0, 0, 16),
        (_MODULO, 0, 0, len(places)),
    ]
    program: list[Instruction] = [
        (_LOAD_HALF, 0, 0, _PROTOCOL),
        (_JUMP_IF_EQUAL, 0, 4, _IPV6),
        (_LOAD_ABSOLUTE, 0, 0, _NETWORK_HEADER + 20),
        (_TO_X, 0, 0, 0),
        (_LOAD_HALF, 0, 0, _NETWORK_HEADER + 40),
        (_JUMP, 0, 0, 3),
        (_LOAD_ABSOLUTE, 0, 0, _NETWORK_HEADER + 12),
        (_TO_X, 0, 0, 0),
        (_LOAD_HALF, 0, 0, _NETWORK_HEADER + 20),
        *mixing,
    ]
    for number, place in enumerate(places):
        program += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, place)]
    return [*program, (_RETURN, 0, 0, places[0])]


def _open(host: str, kind: socket.SocketKind) -> socket.socket:
    """A socket of the right family. An empty host is both families where the kernel has IPv6."""
    if host and ":" not in host:
        made = socket.socket(socket.AF_INET, kind)
    else:
        try:
            made = socket.socket(socket.AF_INET6, kind)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if host else 0)
        except OSError:
            if host:
                raise
            made = socket.socket(socket.AF_INET, kind)
    made.setblocking(False)
    if kind == socket.SOCK_STREAM:  # for UDP it would mean to share the port
        made.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # old connections in TIME_WAIT do not matter
    return made


def _any_host(sock: socket.socket) -> str:
    return "::" if sock.family == socket.AF_INET6 else "0.0.0.0"
