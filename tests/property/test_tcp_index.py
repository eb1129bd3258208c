"""The index of names finds what a walk over all TCP routers finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.rules.predicates import compile_predicate
from shared.rules.tcp import read_tcp_rule
from worker.tcp.facts import Facts
from worker.tcp.index import NameIndex
from worker.tls.client_hello import ClientHello

LEAVES = st.sampled_from(
    [
        *(
            "HostSNI(`a.test`)",
            "HostSNI(`b.test.`)",
            "HostSNI(`A.TEST`)",
            "HostSNI(`*.test`)",
            "HostSNI(`*`)",
        ),
        *("HostSNIRegexp(`^a`)", "ALPN(`mqtt`)", "ClientIP(`10.0.0.0/8`)"),
    ]
)
RULES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda rule: f"!({rule})"),
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda parts: f"({' '.join(parts)})"),
    ),
    max_leaves=6,
)
FACTS = st.builds(
    Facts,
    st.sampled_from(["10.0.0.1", "192.0.2.1"]),
    st.one_of(
        st.none(),
        st.builds(
            ClientHello,
            st.sampled_from(["", "a.test", "b.test", "c.test", "x.a.test"]),
            st.sampled_from([(), ("mqtt",)]),
        ),
    ),
)


@given(rules=st.lists(RULES, max_size=12), facts=FACTS)
def test_the_first_that_holds_is_the_same(rules, facts):
    conditions = [read_tcp_rule(rule, "v3").condition for rule in rules]
    holds = [compile_predicate(each) for each in conditions]
    index = NameIndex([(each, number) for number, each in enumerate(conditions)])
    wanted = next((number for number, each in enumerate(holds) if each(facts)), None)
    candidates = index.candidates(facts.host)
    assert list(candidates) == sorted(set(candidates))
    assert next((number for number in candidates if holds[number](facts)), None) == wanted


def test_names_are_looked_up_and_not_walked_over():
    conditions = [read_tcp_rule(f"HostSNI(`h{number}.test`)", "v3").condition for number in range(1000)]
    conditions.append(read_tcp_rule("HostSNI(`*`)", "v3").condition)
    index = NameIndex([(each, number) for number, each in enumerate(conditions)])
    assert index.candidates("h700.test") == [700, 1000]
    assert index.candidates("") == [1000]
