"""basicAuth and ipAllowList beyond the vectors."""

from __future__ import annotations

import base64

import bcrypt
import pytest
import trio
import trio.testing

from shared.config.checks import check_middleware
from shared.config.middlewares import BasicAuth, IpAllowList, IpStrategy, IpWhiteList, Middleware
from tests.support.chains import make_exchange, no_file, run_chain
from worker.messages import Response
from worker.middlewares import basic_auth
from worker.middlewares.basic_auth import BasicAuthStep, ThreadedBasicAuthStep, build_basic_auth
from worker.pipeline import compose, runs_at_once

SHA = "sha:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M="
MD5 = "test:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"
BCRYPT = "bob:" + bcrypt.hashpw(b"test", bcrypt.gensalt(4)).decode()


def login(name, password="test"):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def guard(*users, **options):
    return Middleware(basic_auth=BasicAuth(users=users, **options))


@pytest.mark.parametrize("users", [(SHA,), (SHA, MD5, BCRYPT)], ids=["one", "all"])
def test_the_right_password_passes_and_is_noted(users):
    for entry in users:
        name = entry.partition(":")[0]
        outcome = run_chain(guard(*users), make_exchange(headers=login(name)))
        assert outcome.response.status == 200
        assert outcome.exchange.username == name
        assert b"Authorization" in outcome.upstream_headers


@pytest.mark.parametrize("users", [(SHA,), (SHA, MD5, BCRYPT)], ids=["one", "all"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        login("sha", "bad"),
        login("test", "bad"),
        login("bob", ""),
        login("nobody"),
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic ?"},
    ],
)
def test_anything_else_is_refused(users, headers):
    outcome = run_chain(guard(*users), make_exchange(headers=headers))
    assert (outcome.response.status, outcome.body) == (401, b"401 Unauthorized\n")
    assert list(outcome.response.headers) == [
        (b"WWW-Authenticate", b'Basic realm="traefik"'),
        (b"Content-Type", b"text/plain"),
    ]
    assert outcome.upstream_target is None
    assert outcome.exchange.username is None


def test_an_unknown_user_is_refused_even_with_the_password_of_the_decoy():
    for users in ((SHA,), (MD5,), (BCRYPT,)):
        assert run_chain(guard(*users), make_exchange(headers=login("x"))).response.status == 401


@pytest.mark.parametrize("user", [SHA, BCRYPT], ids=["sha", "bcrypt"])
def test_the_header_field_is_set_as_spelled_and_authorization_goes(user):
    name = user.partition(":")[0]
    headers = {**login(name), "X-User": "forged", "x-user": "again"}
    outcome = run_chain(
        guard(user, header_field="x-uSer", remove_header=True), make_exchange(headers=headers)
    )
    assert [field for field in outcome.upstream_headers if field[0].lower() == b"x-user"] == [
        (b"x-uSer", name.encode())
    ]
    assert b"Authorization" not in outcome.upstream_headers


def test_the_realm_is_quoted():
    outcome = run_chain(guard(SHA, realm='a"b\\c'), make_exchange())
    assert outcome.response.headers.get(b"WWW-Authenticate") == b'Basic realm="a\\"b\\\\c"'


def test_only_quick_hashes_stay_synchronous():
    assert runs_at_once([build_basic_auth(BasicAuth(users=(SHA, "plain:text")))])
    assert isinstance(build_basic_auth(BasicAuth(users=(SHA, MD5))), ThreadedBasicAuthStep)


def count_hashing(monkeypatch):
    calls = []
    real = basic_auth.verify

    def verify(password, secret):
        calls.append(secret)
        return real(password, secret)

    monkeypatch.setattr(basic_auth, "verify", verify)
    return calls


async def reply(exchange):
    return Response(200)


def ask(step, *headers):
    async def run():
        handler = compose([step], reply)
        return [(await handler(make_exchange(headers=each))).status for each in headers]

    return trio.run(run)


def test_a_right_password_is_hashed_once_a_wrong_one_always(monkeypatch):
    calls = count_hashing(monkeypatch)
    step = ThreadedBasicAuthStep(BasicAuth(users=(MD5,)))
    good, bad = login("test"), login("test", "bad")
    assert ask(step, good, good, bad, bad, good) == [200, 200, 401, 401, 200]
    assert len(calls) == 3


def test_an_unknown_user_costs_one_hash_every_time(monkeypatch):
    calls = count_hashing(monkeypatch)
    for kind, user in ((ThreadedBasicAuthStep, MD5), (BasicAuthStep, SHA)):
        assert ask(kind(BasicAuth(users=(user,))), login("x"), login("x")) == [401, 401]
    assert calls == [MD5.partition(":")[2]] * 2 + [SHA.partition(":")[2]] * 2


def test_what_is_remembered_is_bounded_and_holds_no_password(monkeypatch):
    monkeypatch.setattr(basic_auth, "MAX_VERIFIED", 2)
    calls = count_hashing(monkeypatch)
    users = tuple(f"u{number}{MD5[4:]}" for number in range(3))
    step = ThreadedBasicAuthStep(BasicAuth(users=users))
    in_turn = [login(f"u{number}") for number in (0, 1, 0, 2, 0, 1)]
    assert ask(step, *in_turn) == [200] * 6
    assert len(calls) == 4  # u0, u1 and u2 once; u1 again, it was the longest unused when u2 came
    assert all(len(ticket) == 32 for ticket in step._gate._verified)


def test_hashing_does_not_hold_up_the_loop(monkeypatch):
    """The loop answers others while a password is being hashed: the hash waits for what they do."""
    step = ThreadedBasicAuthStep(BasicAuth(users=(MD5,)))

    async def run():
        others_ran = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def verify(password, secret):
            trio.from_thread.run(others_ran.wait, trio_token=token)
            return True

        monkeypatch.setattr(basic_auth, "verify", verify)
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(compose([step], reply), make_exchange(headers=login("test")))
                await trio.testing.wait_all_tasks_blocked()
                others_ran.set()
        return True

    assert trio.run(run)


@pytest.mark.parametrize(
    ("status", "body"), [(404, b"Not Found"), (413, b"Request Entity Too Large"), (204, b"")]
)
def test_a_refused_address_gets_the_configured_status(status, body):
    allow = Middleware(ip_allow_list=IpAllowList(source_range=("10.0.0.0/8",), reject_status_code=status))
    outcome = run_chain(allow, make_exchange(client_ip="11.0.0.1"))
    assert (outcome.response.status, outcome.body) == (status, body)
    assert len(outcome.response.headers) == 0
    assert outcome.upstream_target is None
    assert run_chain(allow, make_exchange(client_ip="10.0.0.1")).response.status == 200


def test_mapped_and_zoned_peers_are_known():
    allow = Middleware(ip_allow_list=IpAllowList(source_range=("10.0.0.0/8", "fe80::/10")))
    for peer in ("::ffff:10.1.1.1", "fe80::1%eth0"):
        assert run_chain(allow, make_exchange(client_ip=peer)).response.status == 200


@pytest.mark.parametrize(
    ("strategy", "forwarded", "status"),
    [
        (IpStrategy(depth=1), "9.9.9.9, 10.0.0.1", 200),
        (IpStrategy(depth=1), "10.0.0.1:80", 200),
        (IpStrategy(depth=1), "10.0.0.1, 9.9.9.9", 403),
        (IpStrategy(depth=1), "", 403),
        (IpStrategy(excluded_ips=("9.0.0.0/8",)), "10.0.0.1,,9.9.9.9", 200),
        (IpStrategy(excluded_ips=("9.0.0.0/8",)), "10.0.0.1, nonsense, 9.9.9.9", 403),
        (IpStrategy(), "11.0.0.1", 200),
        (None, "11.0.0.1", 200),
    ],
)
def test_the_strategy_decides_whose_address_counts(strategy, forwarded, status):
    exchange_options = {"client_ip": "10.0.0.9", "headers": {"X-Forwarded-For": forwarded}, "trusted": True}
    for section in (
        {"ip_allow_list": IpAllowList(source_range=("10.0.0.0/8",), ip_strategy=strategy)},
        {"ip_white_list": IpWhiteList(source_range=("10.0.0.0/8",), ip_strategy=strategy)},
    ):
        outcome = run_chain(Middleware(**section), make_exchange(**exchange_options))
        assert outcome.response.status == status


def test_a_stranger_cannot_claim_an_address():
    allow = Middleware(ip_allow_list=IpAllowList(source_range=("10.0.0.1",), ip_strategy=IpStrategy(depth=1)))
    claimed = make_exchange(client_ip="9.9.9.9", headers={"X-Forwarded-For": "10.0.0.1"})
    assert run_chain(allow, claimed).response.status == 403


def test_checked_users_come_back_as_entries():
    checked = check_middleware(guard(SHA, MD5), no_file)
    assert checked.basic_auth.users == (SHA, MD5)
