"""The kernel behaviour that slots are built on, checked on this kernel, and the functions around it."""

import contextlib
import socket

import pytest

from shared import sockets
from shared.errors import PortInUseError

LOOPBACK = "127.0.0.1"


@pytest.fixture
def group():
    """Four bound members of one reuseport group."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(sockets.bind_slot(LOOPBACK, 0))
        port = first.getsockname()[1]
        yield [first] + [stack.enter_context(sockets.bind_slot(LOOPBACK, port)) for _ in range(3)]


def connect(member, times):
    for _ in range(times):
        socket.create_connection(member.getsockname(), timeout=2).close()


def accepted(members):
    """How many connections each member had queued."""
    counts = []
    for member in members:
        count = 0
        with contextlib.suppress(BlockingIOError, OSError):
            while True:
                member.accept()[0].close()
                count += 1
        counts.append(count)
    return counts


def test_a_bound_socket_that_does_not_listen_gets_no_connections(group):
    group[2].listen()
    connect(group[2], 20)
    assert accepted(group) == [0, 0, 20, 0]


def test_without_a_listener_connections_are_refused(group):
    with pytest.raises(ConnectionRefusedError):
        connect(group[0], 1)


def test_places_follow_the_order_of_listen(group):
    for number in (2, 0, 3):
        group[number].listen()
    for place, number in enumerate((2, 0, 3)):
        sockets.steer(group[0], [place])
        connect(group[0], 10)
        assert accepted(group)[number] == 10


def test_the_last_place_moves_into_a_hole(group):
    for member in group:
        member.listen()
    sockets.rest(group[1])
    for place, number in enumerate((0, 3, 2)):
        sockets.steer(group[0], [place])
        connect(group[0], 10)
        assert accepted(group)[number] == 10


def test_a_rested_socket_keeps_the_port_and_listens_again(group):
    for member in group[:2]:
        member.listen()
    address = group[1].getsockname()
    sockets.rest(group[1])
    assert not sockets.is_listening(group[1])
    assert group[1].getsockname() == address
    group[1].listen()
    sockets.steer(group[0], [1])
    connect(group[0], 10)
    assert accepted(group) == [0, 10, 0, 0]


def test_steering_spreads_over_the_places_named_and_no_others(group):
    for member in group:
        member.listen()
    sockets.steer(group[0], [0, 2, 3])
    connect(group[0], 150)
    counts = accepted(group)
    assert counts[1] == 0
    assert sum(counts) == 150
    # 50 expected each, standard deviation 5.8: fewer than 15 is a one in 10^9 event.
    assert min(counts[0], counts[2], counts[3]) >= 15


def test_queued_connections_survive_steering(group):
    for member in group:
        member.listen()
    sockets.steer(group[0], [1])
    connect(group[0], 7)
    sockets.steer(group[0], [0])
    connect(group[0], 5)
    assert accepted(group) == [5, 7, 0, 0]


def test_stop_steering_uses_every_listener_and_may_be_repeated(group):
    for member in group:
        member.listen()
    sockets.steer(group[0], [0])
    sockets.stop_steering(group[0])
    sockets.stop_steering(group[0])
    connect(group[0], 200)
    assert min(accepted(group)) > 0


def test_check_free_sees_a_listener_that_shares_its_port(group):
    group[0].listen()
    port = group[0].getsockname()[1]
    with pytest.raises(PortInUseError, match=rf"web: address 127\.0\.0\.1:{port} is already in use"):
        sockets.check_free("web", LOOPBACK, port)
    with pytest.raises(PortInUseError, match=rf"entrypoint web: address :{port} is already in use"):
        sockets.check_free("web", "", port)


def test_check_free_does_not_mind_a_connection_in_time_wait(group):
    group[0].listen()
    port = group[0].getsockname()[1]
    with socket.create_connection((LOOPBACK, port), timeout=2):
        served, _ = group[0].accept()
        served.close()  # this side closes first, so TIME_WAIT is on our port
    for member in group:
        member.close()
    sockets.check_free("web", LOOPBACK, port)


def test_check_free_names_an_address_that_is_not_ours():
    with pytest.raises(PortInUseError, match=r"entrypoint web: cannot bind 192\.0\.2\.1:0: "):
        sockets.check_free("web", "192.0.2.1", 0)


def test_slots_do_not_leak_into_other_programs(group):
    assert not any(member.get_inheritable() for member in group)


@pytest.mark.parametrize(("host", "shown"), [("", ":80"), ("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80")])
def test_addresses_are_shown_as_they_are_written(host, shown):
    assert sockets.show_address(host, 80) == shown


def test_an_empty_host_takes_both_families():
    with sockets.bind_slot("", 0) as any_host, sockets.bind_slot("::1", 0) as only_six:
        assert any_host.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
        assert only_six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


@pytest.mark.parametrize(("host", "target"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("", "127.0.0.1")])
def test_datagrams_of_a_client_go_to_one_place_in_service(host, target):
    with contextlib.ExitStack() as stack:
        group = [stack.enter_context(sockets.bind_slot(host, 0, socket.SOCK_DGRAM))]
        port = group[0].getsockname()[1]
        group += [stack.enter_context(sockets.bind_slot(host, port, socket.SOCK_DGRAM)) for _ in range(3)]
        sockets.steer_datagrams(group[0], [0, 2, 3])
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        for number in range(64):
            client = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            for again in range(3):
                client.sendto(b"%d %d" % (number, again), (target, port))
        found = [_datagrams(each) for each in group]
        assert [len(each) > 0 for each in found] == [True, False, True, True]
        assert sum(map(len, found)) == 3 * 64
        for each in found:
            numbers = [data.split()[0] for data in each]
            assert all(numbers.count(number) == 3 for number in numbers)
        sockets.steer_datagrams(group[0], [1])
        client.sendto(b"x", (target, port))
        assert [len(_datagrams(each)) for each in group] == [0, 1, 0, 0]


def test_what_waits_at_a_udp_socket_can_be_dropped():
    with (
        sockets.bind_slot(LOOPBACK, 0, socket.SOCK_DGRAM) as slot,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        for _ in range(5):
            client.sendto(b"old", slot.getsockname())
        sockets.drop_waiting(slot)
        assert _datagrams(slot) == []


def test_check_free_sees_a_udp_socket_that_shares_its_port():
    with sockets.bind_slot(LOOPBACK, 0, socket.SOCK_DGRAM) as slot:
        port = slot.getsockname()[1]
        sockets.check_free("web", LOOPBACK, port)  # TCP has ports of its own
        with pytest.raises(PortInUseError, match="already in use"):
            sockets.check_free("dns", LOOPBACK, port, socket.SOCK_DGRAM)


def _datagrams(sock):
    """What waits, at most as much as the test has sent; over loopback it is there when ``sendto`` returns."""
    found = []
    while True:
        try:
            found.append(sock.recv(100))
        except BlockingIOError:
            return found
