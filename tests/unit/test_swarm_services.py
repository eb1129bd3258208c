"""A swarm's services and tasks as workloads: networks, nodes, virtual addresses, states."""

import ipaddress

import pytest

from providers.labels_containers_v1 import translate_containers
from providers.labels_rules_v2 import translate_v2
from providers.reachability import RoutingTable
from providers.swarm_services import SwarmView, read_swarm, swarm_workloads
from shared.config.dynamic_reading import read_dynamic
from tests.support.labelled import v1_rules, v2_rules

PORT = {"traefik.http.services.web.loadbalancer.server.port": "80"}


def network(name, address="", driver="overlay", ingress=False):
    spec = {"Name": name, "DriverConfiguration": {"Name": driver}, "Ingress": ingress}
    return {"Network": {"ID": f"id-{name}", "Spec": spec}, "Addresses": [f"{address}/24"] if address else []}


INGRESS = network("ingress", "10.0.0.4", ingress=True)


def task(service="web", slot=1, networks=None, state="running", desired="running", node="n1"):
    return {
        "ID": f"t{slot}",
        "ServiceID": f"id-{service}",
        "NodeID": node,
        "Slot": slot,
        "Status": {"State": state},
        "DesiredState": desired,
        "NetworksAttachments": networks or [INGRESS, network("back", f"10.0.1.{slot}")],
    }


def service(name="web", labels=PORT, virtual=()):
    addresses = [{"NetworkID": f"id-{of}", "Addr": f"{address}/24"} for of, address in virtual]
    return {
        "ID": f"id-{name}",
        "Spec": {"Name": name, "Labels": labels},
        "Endpoint": {"VirtualIPs": addresses},
    }


def urls(services, tasks, **view):
    workloads, found = swarm_workloads(*read_swarm(services, tasks), SwarmView(**view))
    document, problems = translate_v2("swarm", workloads, v2_rules(), found)
    http = read_dynamic(document).config.http
    servers = [each.url for made in http.services.values() for each in made.load_balancer.servers]
    return servers, [str(each) for each in problems]


def test_each_running_task_is_a_server():
    tasks = [task(slot=2), task(slot=1), task(slot=3, state="starting"), task(slot=4, desired="shutdown")]
    assert urls([service()], tasks) == (["http://10.0.1.1:80", "http://10.0.1.2:80"], [])


def test_a_service_without_tasks_has_routes_only_when_asked_for():
    workloads, _ = swarm_workloads(*read_swarm([service()], []), SwarmView())
    assert workloads == []
    workloads, _ = swarm_workloads(*read_swarm([service()], []), SwarmView(allow_empty=True))
    assert [(each.name, each.is_ready) for each in workloads] == [("web", False)]


@pytest.mark.parametrize("label", ["traefik.docker.network", "traefik.swarm.network"])
def test_the_network_is_chosen_by_label_then_by_setting(label):
    both = [task(networks=[network("a", "10.0.1.1"), network("b", "10.0.2.1")])]
    assert urls([service()], both)[0] == ["http://10.0.1.1:80"]
    assert urls([service()], both, network="b")[0] == ["http://10.0.2.1:80"]
    assert urls([service(labels={**PORT, label: "b"})], both)[0] == ["http://10.0.2.1:80"]
    servers, problems = urls([service(labels={**PORT, label: "c"})], both)
    assert servers == ["http://10.0.1.1:80"]
    assert f'label {label}: it is not in the network "c"' in problems[0]


def test_the_ingress_network_leads_to_no_task():
    servers, problems = urls([service()], [task(networks=[INGRESS])])
    assert servers == []
    assert "task web.1: unable to find the IP address" in problems[0]
    assert urls([service()], [task(networks=[INGRESS])], network="ingress")[0] == ["http://10.0.0.4:80"]


def test_the_virtual_address_is_one_server():
    virtual = [("ingress", "10.0.0.3"), ("back", "10.0.1.99")]
    for label in ("traefik.docker.lbswarm", "traefik.swarm.lbswarm"):
        made = service(labels={**PORT, label: "true"}, virtual=virtual)
        assert urls([made], [task(slot=1), task(slot=2)]) == (["http://10.0.1.99:80"], [])


def test_tasks_on_the_host_answer_at_their_node():
    host = [network("host", driver="host")]
    tasks = [
        task(slot=1, networks=host),
        task(slot=2, networks=host, node="n2"),
        task(slot=3, networks=host, node="n3"),
    ]
    servers, _ = urls([service()], tasks, nodes={"n1": "192.0.2.1", "n2": "0.0.0.0"})
    assert servers == ["http://192.0.2.1:80", "http://127.0.0.1:80"]


def test_an_overlay_that_this_host_is_not_in_is_said_and_not_used():
    routes = RoutingTable([ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("10.0.2.0/24")])
    there = task(slot=1, networks=[network("a", "10.0.1.1"), network("b", "10.0.2.1")])
    servers, problems = urls([service()], [there, task(slot=2)], routes=routes, is_local=True)
    assert servers == ["http://10.0.2.1:80"]
    assert (
        "task web.2: its address cannot be reached (10.0.1.2 of network back: this host is not in"
        in problems[0]
    )


def test_labels_of_both_kinds_are_refused():
    labels = {**PORT, "traefik.docker.network": "a", "traefik.swarm.network": "b"}
    servers, problems = urls([service(labels=labels)], [task()])
    assert servers == []
    assert "service web: has labels traefik.docker.* and traefik.swarm.*" in problems[0]


def test_v1_names_follow_the_service():
    workloads, found = swarm_workloads(
        *read_swarm([service("my_web", {"traefik.port": "80"})], [task("my_web", 1), task("my_web", 2)]),
        SwarmView(provider="docker"),
    )
    document, problems = translate_containers("docker", workloads, v1_rules(domain="test"), found)
    (frontend,) = document.tree["frontends"].values()
    assert frontend["routes"] == {"route-frontend-Host-my-web-test": {"rule": "Host:my-web.test"}}
    assert list(document.tree["backends"]["backend-my-web"]["servers"]) == [
        "server-my_web-1",
        "server-my_web-2",
    ]
    assert problems == ()


@pytest.mark.parametrize("raw", [({}, []), ([], {}), ([{}], []), ([{"ID": 1, "Spec": {}}], [])])
def test_what_are_no_lists_is_refused(raw):
    with pytest.raises(ValueError, match=r".+"):
        read_swarm(*raw)
