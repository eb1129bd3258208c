"""Reading documents into the model: one broken object never spoils another."""

import pytest

from shared.config.documents import parse_document
from shared.config.dynamic import Server
from shared.config.dynamic_reading import merge_documents, read_dynamic

GOOD = """
[http.routers.good]
rule = "Host(`a`)"
service = "api"
[[http.services.api.loadBalancer.servers]]
url = "http://h:1"
[http.middlewares.slash.addPrefix]
prefix = "/p"
[http.serversTransports.main]
serverName = "x"
[tcp.routers.t]
rule = "HostSNI(`*`)"
service = "t"
[[tcp.services.t.loadBalancer.servers]]
address = "h:1"
[udp.routers.u]
entryPoints = ["u"]
service = "u"
[[udp.services.u.loadBalancer.servers]]
address = "h:1"
[[tls.certificates]]
certFile = "c"
keyFile = "k"
[tls.options.modern]
minVersion = "VersionTLS13"
[tls.stores.default.defaultCertificate]
certFile = "c"
keyFile = "k"
"""

OBJECTS = [
    ("http", "routers", "good"),
    ("http", "services", "api"),
    ("http", "middlewares", "slash"),
    ("http", "servers_transports", "main"),
    ("tcp", "routers", "t"),
    ("tcp", "services", "t"),
    ("udp", "routers", "u"),
    ("udp", "services", "u"),
    ("tls", "options", "modern"),
    ("tls", "stores", "default"),
]


def read(text, name="rules.toml"):
    return read_dynamic(parse_document(text, name, "toml"))


def objects(config):
    sections = {"http": config.http, "tcp": config.tcp, "udp": config.udp, "tls": config.tls}
    return {key for key in OBJECTS if key[2] in getattr(sections[key[0]], key[1])}


def messages(reading):
    return [str(each) for each in reading.found]


def test_everything_is_read():
    reading = read(GOOD)
    assert objects(reading.config) == set(OBJECTS)
    assert len(reading.config.tls.certificates) == 1
    assert (reading.broken, reading.found) == (frozenset(), ())


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        ("[http.routers.bad]\nprioritty = 1", ("http", "routers", "bad")),
        ("[http.services.bad.loadBalancer]\nfoo = 1", ("http", "services", "bad")),
        ("[http.middlewares.bad.addPrefix]\nprefixes = 1", ("http", "middlewares", "bad")),
        ("[http.serversTransports.bad]\nrootCAs = [[]]", ("http", "servers_transports", "bad")),
        ("[tcp.routers.bad]\ntls = []", ("tcp", "routers", "bad")),
        ("[tcp.services.bad]\nx = 1", ("tcp", "services", "bad")),
        ("[tcp.serversTransports.bad]\ndialTimeout = 'x'", ("tcp", "servers_transports", "bad")),
        ("[udp.services]\nbad = 1", ("udp", "services", "bad")),
        ("[tls.options.bad]\nsniStrict = 'perhaps'", ("tls", "options", "bad")),
    ],
)
def test_a_broken_object_spoils_no_other(extra, key):
    reading = read(f"{GOOD}\n{extra}\n")
    assert objects(reading.config) == set(OBJECTS)
    assert reading.broken == {key}
    (found,) = reading.found
    assert found.position.line > GOOD.count("\n")
    assert found.severity == "error"


@pytest.mark.parametrize("root", ["http", "tcp", "udp"])
def test_a_broken_server_disables_only_itself(root):
    field = "url" if root == "http" else "address"
    path = f"{root}.services.a.loadBalancer.servers"
    reading = read(f"[[{path}]]\n{field} = 'one'\n[[{path}]]\n{field} = []\n[[{path}]]\n{field} = 'three'\n")
    servers = getattr(reading.config, root).services["a"].load_balancer.servers
    assert [getattr(each, field) for each in servers] == ["one", "three"]
    assert reading.broken == frozenset()
    (found,) = messages(reading)
    assert found.startswith(f"rules.toml:4:1: {root}.services.a.loadBalancer.servers[1].{field}: ")


def test_broken_servers_are_found_in_any_spelling_and_beside_other_errors():
    reading = read(
        "[http.services.a.LOADBALANCER]\nSERVERS = [{url = 'x'}, {weight = 'w'}]\n"
        "[http.services.b.loadBalancer]\nfoo = 1\nservers = [{weight = 'w'}]\n"
        "[http.services.c.loadBalancer]\nservers = [{url = 'x'}]\n"
    )
    assert reading.config.http.services["a"].load_balancer.servers == (Server(url="x"),)
    assert list(reading.config.http.services) == ["a", "c"]
    assert reading.broken == {("http", "services", "b")}
    assert [each.path[1:3] for each in reading.found] == [
        ("services", "a"),
        ("services", "b"),
        ("services", "b"),
    ]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("[http]\nservices = 3\n", "rules.toml:2:1: http.services: expected a table, got 3"),
        ("udp = 'x'\n", 'rules.toml:1:1: udp: expected a table, got "x"'),
        (
            "tcp = {router = {}}\n",
            'tcp.router: unknown key "router"; it is left out; did you mean "routers"?',
        ),
        ("[tls]\ncertificates = {}\n", "rules.toml:2:1: tls.certificates: expected a list of tables"),
        ("[tls]\ncertificates = [{certFile = []}]\n", "tls.certificates[0].certFile: expected text"),
        ("[http.routers]\n[HTTP]\n", 'HTTP: "HTTP" is written twice, in different spellings'),
        ("[http.routers]\n[http.ROUTERS]\n", '"ROUTERS" is written twice, in different spellings'),
    ],
)
def test_a_broken_section_is_one_error(extra, message):
    reading = read(extra)
    (found,) = reading.found
    assert found.severity == "error"
    assert message in str(found)
    assert reading.broken == frozenset()


def test_strange_roots_are_warnings_with_a_hint():
    reading = read("[htp]\n[http.routers]\n[entryPoints.web]\n")
    assert {each.severity for each in reading.found} == {"warning"}
    assert messages(reading) == [
        'rules.toml:1:2: htp: unknown key "htp"; it is left out; did you mean "http"?',
        'rules.toml:3:2: entryPoints: "entryPoints" is static configuration and does nothing here',
    ]
    in_v1 = read("[fronends]\n[frontends]\n[entryPoints.web]\n[file]\n")
    assert messages(in_v1) == [
        'rules.toml:1:2: fronends: unknown key "fronends"; it is left out; did you mean "frontends"?'
    ]


def test_notes_of_the_document_come_along():
    assert "templates are not executed" in messages(read("# {{ x }}\n"))[0]


def test_a_document_of_both_dialects():
    reading = read(
        GOOD
        + "[backends.api]\n[backends.other]\n[frontends.old]\nbackend = 'other'\n"
        + "[frontends.good]\nbackend = 'api'\n"
    )
    http = reading.config.http
    assert set(http.routers) == {"good", "old"}
    assert http.routers["good"].rule == "Host(`a`)"
    assert http.services["api"].load_balancer.servers == (Server(url="http://h:1"),)


# ------------------------------------------------------------------------------------------------ merging


def test_of_equal_names_the_first_document_counts():
    first = read("[http.routers.r]\nrule = 'a'\n[[tls.certificates]]\ncertFile = '1'\n", "a.toml")
    second = read(
        "\n[http.routers.r]\nrule = 'b'\n[http.routers.s]\n[[tls.certificates]]\ncertFile = '2'\n", "b.toml"
    )
    merged = merge_documents([first, second])
    assert {name: each.rule for name, each in merged.config.http.routers.items()} == {"r": "a", "s": ""}
    assert [each.cert_file for each in merged.config.tls.certificates] == ["1", "2"]
    assert messages(merged) == [
        "b.toml:2:15: http.routers.r: already defined in a.toml; this one is left out"
    ]


def test_a_broken_object_holds_its_name():
    first = read("[http.serversTransports.m]\nfoo = 1\n", "a.toml")
    second = read("[http.serversTransports.m]\nserverName = 'x'\n", "b.toml")
    merged = merge_documents([first, second])
    assert merged.broken == {("http", "servers_transports", "m")}
    assert merged.config.http.servers_transports == {}
    assert "b.toml:1:25: http.serversTransports.m: already defined in a.toml" in messages(merged)[-1]


def test_v1_objects_are_named_by_their_own_words():
    text = "[backends.b]\n[frontends.f]\nbackend = 'b'\nbasicAuth = ['u:h']\n"
    merged = merge_documents([read(text, "a.toml"), read(text, "b.toml")])
    assert set(merged.config.http.middlewares) == {"f-auth"}
    assert sorted(messages(merged)) == [
        "b.toml:1:11: backends.b: already defined in a.toml; this one is left out",
        "b.toml:2:12: frontends.f: already defined in a.toml; this one is left out",
    ]


def test_merging_one_or_none_changes_nothing():
    reading = read(GOOD)
    assert merge_documents([reading]).config == reading.config
    assert merge_documents([]).config == read("").config
