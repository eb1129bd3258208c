"""What an engine lists, as workloads: names, health, networks, published ports, and odd answers."""

import ipaddress

import pytest

from providers.docker_containers import ContainerView, read_containers, service_name
from providers.reachability import RoutingTable

ROUTES = RoutingTable([ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("10.1.0.0/16")])


def entry(name="web", **more):
    return {
        "Id": f"id-{name}",
        "Names": [f"/{name}"],
        "Labels": {},
        "State": "running",
        "Status": "Up 2 seconds",
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "10.1.0.2"}}},
        **more,
    }


def one(raw, *others, **view):
    workloads, found = read_containers([raw, *others], ContainerView(**view))
    return next((each for each in workloads if each.name != "other"), None), [str(each) for each in found]


def networks(**addresses):
    return {"Networks": {name: {"IPAddress": address} for name, address in addresses.items()}}


def test_a_link_is_no_name():
    workload, _ = one(entry(Names=["/other/alias", "/web"]))
    assert workload.name == "web"


@pytest.mark.parametrize(
    ("status", "health", "ready"),
    [
        ("Up 3 hours", None, True),
        ("Up 3 hours (healthy)", None, True),
        ("Up 3 hours (unhealthy)", None, False),
        ("Up 3 seconds (health: starting)", None, False),
        ("Up 3 hours (Paused)", None, True),
        ("Up 3 hours", {"Status": "unhealthy"}, False),
        ("Up 3 hours (healthy)", {"Status": "none"}, True),
    ],
)
def test_health(status, health, ready):
    more = {"Status": status} if health is None else {"Status": status, "Health": health}
    assert (one(entry(**more))[0] is not None) == ready
    assert one(entry(**more), allow_empty=True)[0].is_ready == ready


@pytest.mark.parametrize("state", ["created", "exited", "paused", "restarting", "dead"])
def test_what_does_not_run_is_left_out_unless_a_label_keeps_it(state):
    assert one(entry(State=state))[0] is None
    kept = {"traefik.docker.allownonrunning": "true"}
    assert one(entry(State=state, Labels=kept))[0].is_ready is False


def test_networks_are_chosen_by_label_setting_and_what_can_be_reached():
    both = entry(NetworkSettings=networks(a="10.2.0.1", b="10.1.0.1"))
    assert one(both)[0].address == "10.2.0.1"
    assert one(both, network="b")[0].address == "10.1.0.1"
    assert one({**both, "Labels": {"traefik.docker.network": "a"}}, network="b")[0].address == "10.2.0.1"
    assert one(both, is_local=True, routes=ROUTES)[0].address == "10.1.0.1"
    workload, _ = one(both, network="a", is_local=True, routes=ROUTES)
    assert workload.address == ""
    assert "10.2.0.1 of network a: this host is not in its network" in workload.trouble


def test_a_missing_network_is_said_with_the_one_that_was_meant():
    workload, found = one(entry(NetworkSettings=networks(proj_back="10.1.0.1")), network="back")
    assert workload.address == "10.1.0.1"
    assert 'it is not in the network "back"; another one is used; did you mean "proj_back"?' in found[0]


def test_other_networks():
    host = entry(HostConfig={"NetworkMode": "host"}, NetworkSettings=networks(host=""))
    assert one(host, host_address="192.0.2.1")[0].address == "192.0.2.1"
    none = entry(HostConfig={"NetworkMode": "none"}, NetworkSettings=networks(none=""))
    assert one(none)[0].trouble == "unable to find the IP address for the container"
    shared = entry(HostConfig={"NetworkMode": "container:id-other"}, NetworkSettings={})
    assert one(shared, entry("other", NetworkSettings=networks(a="10.1.0.9")))[0].address == "10.1.0.9"
    assert "which is not there" in one(shared)[0].trouble
    itself = entry(HostConfig={"NetworkMode": "container:id-web"})
    assert "which is not there" in one(itself)[0].trouble
    v6 = entry(NetworkSettings={"Networks": {"a": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}}})
    assert one(v6)[0].address == "fd00::2"


def test_ports():
    ports = [
        {"PrivatePort": 443, "Type": "tcp"},
        {"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"IP": "::1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"PrivatePort": "x"},
        {},
    ]
    found = [(each.number, each.host_address, each.host_number) for each in one(entry(Ports=ports))[0].ports]
    assert found == [(80, "127.0.0.1", 8080), (80, "::1", 8080), (443, "", 0)]


@pytest.mark.parametrize(
    ("project", "service", "name"),
    [("proj", "api", "api-proj"), ("p_x", "api.y", "api-y-p-x"), ("", "api", "web"), ("proj", "", "web")],
)
def test_compose_names(project, service, name):
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": service}
    assert service_name("web", labels) == name


def test_absent_fields_count_as_empty():
    bare = {"Id": "0123456789abcdef", "State": "running", "Names": None, "Labels": None, "Ports": None}
    workload, _ = one(bare)
    assert (workload.name, workload.ports, workload.address) == ("0123456789ab", (), "")


@pytest.mark.parametrize("raw", [{}, None, [1], [{"Names": 1}], [{"Labels": {"a": 1}}]])
def test_what_is_no_list_of_containers_is_refused(raw):
    with pytest.raises(ValueError, match=r".+"):
        read_containers(raw, ContainerView())
