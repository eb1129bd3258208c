"""Which middlewares cannot be built, why, and what the others are resolved to."""

from __future__ import annotations

import pytest

from shared.config import middlewares as kinds
from shared.config.checks import _CHECKS, NOT_AVAILABLE, check_middleware
from shared.config.middlewares import Middleware
from shared.errors import ConfigError, TableError
from tests.support.chains import no_file
from worker.middlewares.registry import CONSTRUCTORS, STATEFUL_CONSTRUCTORS, build_step

SHA = "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M="


def refusal(options, read_file=no_file, name="m"):
    with pytest.raises(ConfigError) as caught:
        check_middleware(options, read_file, name)
    return caught.value.path, caught.value.reason


def test_every_kind_is_checked_and_built_or_known_to_be_missing():
    every = set(Middleware.__struct_fields__)
    assert set(_CHECKS) | NOT_AVAILABLE == every
    assert set(_CHECKS) & NOT_AVAILABLE == set()
    buildable = set(CONSTRUCTORS) | set(STATEFUL_CONSTRUCTORS)
    assert buildable == set(_CHECKS) - {"chain"}  # the compiler expands chains


def test_a_middleware_has_exactly_one_kind():
    reason = 'invalid middleware "m" configuration: invalid middleware type or middleware does not exist'
    assert refusal(Middleware()) == ("", reason)
    two = Middleware(add_prefix=kinds.AddPrefix(prefix="/a"), retry=kinds.Retry(attempts=2))
    assert refusal(two)[1].startswith("cannot create middleware: multi-types middleware not supported")


@pytest.mark.parametrize(
    ("kind", "section", "written"),
    [
        ("plugin", {"x": {}}, "plugin"),
    ],
)
def test_a_kind_that_cannot_run_yet_says_so(kind, section, written):
    assert refusal(Middleware(**{kind: section})) == (written, f"{written} is not available in this version")


def test_a_worker_refuses_a_kind_it_cannot_run():
    with pytest.raises(TableError):
        build_step(Middleware(plugin={"x": {}}))


@pytest.mark.parametrize(
    ("options", "path", "reason"),
    [
        ({"add_prefix": kinds.AddPrefix()}, "addPrefix.prefix", "prefix cannot be empty"),
        (
            {"redirect_scheme": kinds.RedirectScheme()},
            "redirectScheme.scheme",
            "you must provide a target scheme",
        ),
        (
            {"redirect_scheme": kinds.RedirectScheme(scheme="https", port="65536")},
            "redirectScheme.port",
            "'65536' is not a port (1 to 65535)",
        ),
        (
            {"redirect_scheme": kinds.RedirectScheme(scheme="ht tp")},
            "redirectScheme.scheme",
            "'ht tp' is not a URL scheme",
        ),
        (
            {"entry_point_redirect": kinds.EntryPointRedirect(scheme="https")},
            "entryPointRedirect.port",
            "a redirect to an entrypoint needs its port",
        ),
        ({"basic_auth": kinds.BasicAuth()}, "basicAuth.users", "no users found in "),
        (
            {"basic_auth": kinds.BasicAuth(users=("a:b:c",))},
            "basicAuth.users[0]",
            "error parsing BasicUser: entry 1 is not name:hash",
        ),
        (
            {"basic_auth": kinds.BasicAuth(users=("a:b",), header_field="X Y")},
            "basicAuth.headerField",
            "'X Y' is not a header name",
        ),
        (
            {"ip_allow_list": kinds.IpAllowList()},
            "ipAllowList.sourceRange",
            "sourceRange is empty, IPAllowLister not created",
        ),
        (
            {"ip_white_list": kinds.IpWhiteList()},
            "ipWhiteList.sourceRange",
            "sourceRange is empty, IPAllowLister not created",
        ),
        (
            {"ip_allow_list": kinds.IpAllowList(source_range=("10.0.0.0/8", "x"))},
            "ipAllowList.sourceRange[1]",
            "invalid CIDR address: x",
        ),
        (
            {
                "ip_allow_list": kinds.IpAllowList(
                    source_range=("::1",), ip_strategy=kinds.IpStrategy(excluded_ips=("y",))
                )
            },
            "ipAllowList.ipStrategy.excludedIPs[0]",
            "invalid CIDR address: y",
        ),
        ({"headers": kinds.Headers()}, "headers", "headers configuration not valid"),
        ({"headers": kinds.Headers(sts_seconds=-1)}, "headers.stsSeconds", "-1 is negative"),
    ],
)
def test_what_cannot_be_built(options, path, reason):
    assert refusal(Middleware(**options)) == (path, reason)


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 299, 499, 600, 999, -1])
def test_a_reject_status_must_be_a_known_final_one(status):
    options = Middleware(ip_allow_list=kinds.IpAllowList(source_range=("::1",), reject_status_code=status))
    assert refusal(options) == ("ipAllowList.rejectStatusCode", f"invalid HTTP status code {status}")


BAD = "(("
GO_ONLY = "(?=x)"


@pytest.mark.parametrize("regex", [BAD, GO_ONLY, "a{1001}", r"\1"])
@pytest.mark.parametrize(
    ("make", "path"),
    [
        (
            lambda text: {"strip_prefix_regex": kinds.StripPrefixRegex(regex=("x", text))},
            "stripPrefixRegex.regex[1]",
        ),
        (lambda text: {"replace_path_regex": kinds.ReplacePathRegex(regex=text)}, "replacePathRegex.regex"),
        (lambda text: {"redirect_regex": kinds.RedirectRegex(regex=text)}, "redirectRegex.regex"),
        (
            lambda text: {"entry_point_redirect": kinds.EntryPointRedirect(regex=text)},
            "entryPointRedirect.regex",
        ),
        (
            lambda text: {"slash_redirect": kinds.SlashRedirect(with_slash=(text,))},
            "slashRedirect.withSlash[0]",
        ),
        (
            lambda text: {"headers": kinds.Headers(access_control_allow_origin_list_regex=(text,))},
            "headers.accessControlAllowOriginListRegex[0]",
        ),
    ],
)
def test_every_expression_is_re2(make, path, regex):
    where, reason = refusal(Middleware(**make(regex)))
    assert where == path
    assert reason.startswith("bad regular expression")


INJECTED = ["a\rb", "a\nX: y", "a\x00b", "\x7f"]


@pytest.mark.parametrize("text", INJECTED)
@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda text: {"strip_prefix": kinds.StripPrefix(prefixes=(text + "/",))}, "stripPrefix.prefixes[0]"),
        (lambda text: {"basic_auth": kinds.BasicAuth(users=("a:b",), realm=text)}, "basicAuth.realm"),
        (
            lambda text: {"basic_auth": kinds.BasicAuth(users=(text.replace(":", "") + ":b",))},
            "basicAuth.users",
        ),
        (
            lambda text: {"headers": kinds.Headers(custom_request_headers={"X-A": text})},
            "headers.customRequestHeaders.X-A",
        ),
        (
            lambda text: {"headers": kinds.Headers(custom_response_headers={"X-A": text})},
            "headers.customResponseHeaders.X-A",
        ),
        (lambda text: {"headers": kinds.Headers(referrer_policy=text)}, "headers.referrerPolicy"),
        (
            lambda text: {"headers": kinds.Headers(content_security_policy=text)},
            "headers.contentSecurityPolicy",
        ),
        (
            lambda text: {"headers": kinds.Headers(access_control_allow_methods=("GET", text))},
            "headers.accessControlAllowMethods[1]",
        ),
        (
            lambda text: {"headers": kinds.Headers(access_control_allow_origin_list=(text,))},
            "headers.accessControlAllowOriginList[0]",
        ),
    ],
)
def test_no_setting_can_end_a_header_line(make, path, text):
    where, reason = refusal(Middleware(**make(text)))
    assert where == path
    assert reason.startswith("a header value must not hold the control character")


@pytest.mark.parametrize("name", ["", "X A", "X:A", "X\r\nA", "é", "X\x00"])
def test_a_header_name_is_a_token(name):
    for option in ("custom_request_headers", "custom_response_headers", "ssl_proxy_headers"):
        where, reason = refusal(Middleware(headers=kinds.Headers(**{option: {name: "v"}})))
        assert where.startswith("headers.")
        assert reason == f"{name!r} is not a header name"
    where, _ = refusal(Middleware(headers=kinds.Headers(hosts_proxy_headers=("X-Ok", name))))
    assert where == "headers.hostsProxyHeaders[1]"


def test_the_fields_that_frame_a_message_may_be_removed_only():
    for name in ("Content-Length", "transfer-encoding"):
        options = Middleware(headers=kinds.Headers(custom_response_headers={name: "3"}))
        assert refusal(options)[1] == "this header frames the message and cannot be set"
        check_middleware(Middleware(headers=kinds.Headers(custom_response_headers={name: ""})), no_file)


@pytest.mark.parametrize("host", ["a b", "a/b", "u@h", "a?b"])
def test_a_configured_host_is_a_host(host):
    where, reason = refusal(Middleware(headers=kinds.Headers(custom_request_headers={"host": host})))
    assert (where, reason) == ("headers.customRequestHeaders.host", f"{host!r} is not a host")


@pytest.mark.parametrize(
    "options",
    [
        kinds.Headers(access_control_max_age=0),
        kinds.Headers(is_development=True),
        kinds.Headers(public_key="x"),
        kinds.Headers(custom_response_headers={"X": ""}),
        kinds.Headers(ssl_redirect=True),
    ],
)
def test_one_header_option_is_enough(options):
    assert check_middleware(Middleware(headers=options), no_file) == Middleware(headers=options)


def test_a_chain_is_left_to_the_compiler():
    options = Middleware(chain=kinds.Chain(middlewares=("a", "b")))
    assert check_middleware(options, no_file) is not None


def test_a_users_file_is_read_in_and_inline_entries_win():
    options = Middleware(basic_auth=kinds.BasicAuth(users=(f"a:{SHA}",), users_file="/etc/users", realm="r"))
    files = {"/etc/users": "# staff\na:old\n\n  b:theirs  \n"}
    checked = check_middleware(options, files.__getitem__)
    assert checked.basic_auth == kinds.BasicAuth(users=(f"a:{SHA}", "b:theirs"), realm="r")


def test_a_users_file_that_cannot_be_used_is_named():
    options = Middleware(basic_auth=kinds.BasicAuth(users_file="/etc/users"))
    assert refusal(options) == ("basicAuth.usersFile", "cannot read /etc/users: No such file or directory")
    assert refusal(options, lambda _: "# nobody\n") == ("basicAuth.users", "no users found in /etc/users")
    where, _ = refusal(options, lambda _: "a:b\nwrong\n")
    assert where == "basicAuth.usersFile[1]"

    def not_text(path):
        return b"\xff".decode()

    assert refusal(options, not_text) == (
        "basicAuth.usersFile",
        "cannot read /etc/users: it is not UTF-8 text",
    )
