"""Whatever labels say: translating never raises, problems name their container, and order means nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st

from providers.labels_containers_v1 import translate_containers
from providers.labels_rules_v2 import translate_v2
from shared.config.dynamic_reading import read_dynamic
from tests.support.labelled import v1_rules, v2_rules, workload

ELEMENTS = st.sampled_from(
    [
        *("traefik", "Traefik", "http", "HTTP", "tcp", "udp", "tls", "routers", "services", "middlewares"),
        *(
            "stores",
            "default",
            "r",
            "R",
            "s",
            "rule",
            "Rule",
            "service",
            "tls",
            "domains",
            "domains[0]",
            "domains[1]",
        ),
        *(
            "main",
            "sans",
            "0",
            "10",
            "loadbalancer",
            "loadBalancer",
            "server",
            "servers",
            "port",
            "weight",
            "url",
        ),
        *("sticky", "cookie", "headers", "customrequestheaders", "X-Foo", "retry", "", "[", "a[b]"),
        *(
            "frontend",
            "backend",
            "priority",
            "value",
            "enable",
            "maxconn",
            "amount",
            "extractorfunc",
            "errors",
        ),
        *("entryPoints", "passHostHeader", "protocol", "docker", "network", "api", "web", "auth", "basic"),
    ]
)
NAMES = st.lists(ELEMENTS, min_size=1, max_size=8).map(".".join)
ROUTING = NAMES.map(lambda name: f"traefik.{name}")
VALUES = st.sampled_from(
    [
        "",
        "true",
        "false",
        "80",
        "-1",
        "99999",
        "s",
        "Host(`a.test`)",
        "Host:a.test",
        "Path",
        "a,b",
        "{{",
        "\0",
        "x" * 300,
    ]
) | st.text(max_size=20)
LABELS = st.dictionaries(ROUTING | NAMES, VALUES, max_size=8)
CONTAINERS = st.lists(LABELS, min_size=1, max_size=3)


def outcomes(labels_of_each, order):
    """What both dialects make of containers given in some order."""
    made = [workload(f"c{at}", labels, address=f"10.0.0.{at}") for at, labels in enumerate(labels_of_each)]
    made = [made[at] for at in order]
    for document, problems in (
        translate_v2("docker", made, v2_rules()),
        translate_containers("docker", made, v1_rules(domain="test")),
    ):
        reading = read_dynamic(document)
        yield reading.config, sorted(str(each) for each in (*problems, *reading.found))


@settings(max_examples=60, deadline=None)
@given(CONTAINERS, st.randoms())
def test_labels_never_raise_and_order_means_nothing(labels_of_each, random):
    order = list(range(len(labels_of_each)))
    first = list(outcomes(labels_of_each, order))
    random.shuffle(order)
    shuffled = [dict(random.sample(list(each.items()), len(each))) for each in labels_of_each]
    assert list(outcomes(shuffled, order)) == first
    for _, problems in first:
        assert all(each.startswith("docker") for each in problems)
