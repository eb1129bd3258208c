"""gRPC through the proxy: its own client and server, unary and streaming, in the clear and over TLS."""

import concurrent.futures
import contextlib
import json

import pytest

from tests.support.authority import Authority
from tests.support.proxy import running_proxy

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
pytestmark = pytest.mark.integration
TIMEOUT_S = 30


def identity(message):
    return message


class Echo(grpc.GenericRpcHandler):
    """The four kinds of methods over plain bytes."""

    def service(self, details):
        kinds = {
            "/t.Echo/Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "/t.Echo/Download": grpc.unary_stream_rpc_method_handler(self.download),
            "/t.Echo/Upload": grpc.stream_unary_rpc_method_handler(self.upload),
            "/t.Echo/Both": grpc.stream_stream_rpc_method_handler(self.both),
            "/t.Echo/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
        }
        return kinds.get(details.method)

    def unary(self, message, context):
        context.set_trailing_metadata([("x-sum", str(len(message)))])
        return dict(context.invocation_metadata())["x-own"].encode() + message

    def download(self, message, context):
        for number in range(int(message)):
            yield b"%d" % number

    def upload(self, messages, context):
        return b",".join(messages)

    def both(self, messages, context):
        for message in messages:
            yield message.upper()

    def fail(self, message, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")


@contextlib.contextmanager
def server(credentials=None):
    made = grpc.server(concurrent.futures.ThreadPoolExecutor(8), [Echo()])
    if credentials is None:
        port = made.add_insecure_port("127.0.0.1:0")
    else:
        port = made.add_secure_port("127.0.0.1:0", credentials)
    made.start()
    try:
        yield port
    finally:
        made.stop(None).wait(TIMEOUT_S)


@pytest.fixture(scope="module")
def channels(tmp_path_factory):
    """Channels through the proxy: both sides in the clear, and both over TLS."""
    folder = tmp_path_factory.mktemp("grpc")
    authority = Authority(folder)
    pair = authority.issue("localhost")
    own = authority.issue("proxy.test")
    pem = pair.key.read_bytes(), pair.certificate.read_bytes()
    with server() as plain, server(grpc.ssl_server_credentials([pem])) as secure:
        document = {
            "http": {
                "routers": {
                    "plain": {"rule": "PathPrefix(`/`)", "service": "plain"},
                    "secure": {"rule": "Host(`proxy.test`)", "service": "secure", "tls": {}},
                },
                "services": {
                    "plain": {"loadBalancer": {"servers": [{"url": f"h2c://127.0.0.1:{plain}"}]}},
                    "secure": {
                        "loadBalancer": {
                            "servers": [{"url": f"https://localhost:{secure}"}],
                            "serversTransport": "t",
                        }
                    },
                },
                "serversTransports": {"t": {"rootCAs": [authority.pem]}},
            },
            "tls": {"certificates": [{"certFile": str(own.certificate), "keyFile": str(own.key)}]},
        }
        with running_proxy(folder, dynamic=json.dumps(document), workers=1) as proxy:
            address = f"127.0.0.1:{proxy.address()[1]}"
            credentials = grpc.ssl_channel_credentials(authority.pem.encode())
            options = [("grpc.ssl_target_name_override", "proxy.test")]
            with (
                grpc.insecure_channel(address) as clear,
                grpc.secure_channel(address, credentials, options) as covered,
            ):
                yield {"plain": clear, "secure": covered}


@pytest.fixture(params=["plain", "secure"])
def channel(request, channels):
    return channels[request.param]


def test_unary_with_metadata_and_trailers(channel):
    answer, call = channel.unary_unary("/t.Echo/Unary").with_call(
        b"hello", metadata=[("x-own", "mine")], timeout=TIMEOUT_S
    )
    assert answer == b"minehello"
    assert dict(call.trailing_metadata())["x-sum"] == "5"


def test_a_large_message(channel):
    message = bytes(range(256)) * 12_000  # several windows, under gRPC's own limit
    answer = channel.unary_unary("/t.Echo/Unary")(message, metadata=[("x-own", "")], timeout=TIMEOUT_S)
    assert answer == message


def test_streams_of_messages(channel):
    assert len(list(channel.unary_stream("/t.Echo/Download")(b"1000", timeout=TIMEOUT_S))) == 1000
    messages = (b"%d" % number for number in range(100))
    assert channel.stream_unary("/t.Echo/Upload")(messages, timeout=TIMEOUT_S).count(b",") == 99


def test_a_conversation(channel):
    """Each message goes out after the answer to the one before: nothing on the way may hold one back."""
    answers = concurrent.futures.Future()

    def messages():
        yield b"first"
        assert answers.result(TIMEOUT_S) == b"FIRST"
        yield b"second"

    call = channel.stream_stream("/t.Echo/Both")(messages(), timeout=TIMEOUT_S)
    answers.set_result(next(call))
    assert list(call) == [b"SECOND"]


def test_an_error_keeps_its_status(channel):
    with pytest.raises(grpc.RpcError) as failure:
        channel.unary_unary("/t.Echo/Fail")(b"", timeout=TIMEOUT_S)
    assert failure.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.value.details() == "not now"
    with pytest.raises(grpc.RpcError) as failure:
        channel.unary_unary("/t.Echo/Unknown")(b"", timeout=TIMEOUT_S)
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_many_at_once(channel):
    unary = channel.unary_unary("/t.Echo/Unary")
    calls = [
        unary.future(b"%d" % number, metadata=[("x-own", "")], timeout=TIMEOUT_S) for number in range(150)
    ]
    assert [int(call.result()) for call in calls] == list(range(150))
