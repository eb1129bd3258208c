"""The lines of the access log, byte for byte, and a writer that never makes anyone wait."""

import json
import ssl

import trio

from shared.config.static import AccessLog as Settings
from tests.support.tls import Authority
from worker import access_log
from worker.access_log import AccessLog, Record, format_common, format_generic, format_json
from worker.tls.stream import TlsSession


def record(**changes):
    values = {
        "started_at": 1_460_556_859.5,
        "duration_s": 0.0129,
        "client_host": b"10.0.0.7",
        "username": "",
        "method": "GET",
        "target": "/p?q",
        "protocol": "HTTP/1.1",
        "status": 200,
        "size_bytes": 19,
        "referer": b"",
        "user_agent": b"",
        "number": 4,
        "router": "",
        "server_url": "",
    }
    return Record(**{**values, **changes})


def test_a_bare_line():
    assert format_common(record()) == (
        b'10.0.0.7 - - [13/Apr/2016:14:14:19 +0000] "GET /p?q HTTP/1.1" 200 19 "-" "-" 4 "-" "-" 12ms\n'
    )


def test_a_full_line():
    full = record(
        username="bob",
        referer=b"http://r/",
        user_agent=b'curl "7"',
        router="web@file",
        server_url="http://10.0.0.1:80",
    )
    assert format_common(full) == (
        b'10.0.0.7 - bob [13/Apr/2016:14:14:19 +0000] "GET /p?q HTTP/1.1" 200 19 "http://r/" "curl \\"7\\""'
        b' 4 "web@file" "http://10.0.0.1:80" 12ms\n'
    )
    assert format_generic(full).endswith(b'200 19 "http://r/" "curl \\"7\\""\n')


def test_nothing_from_a_request_can_end_its_quotes_or_its_line():
    evil = record(
        username="a\nb", client_host=b"1\r\n2", target='/\\"\x00', user_agent=b"\\", referer=b"\x1b[0m\x7f"
    )
    line = format_common(evil)
    assert line.count(b"\n") == 1
    assert line.startswith(b"1\\x0d\\x0a2 - a\\x0ab [")
    assert b'"GET /\\\\\\"\\x00 HTTP/1.1" 200 19 "\\x1b[0m\\x7f" "\\\\" 4' in line


def test_bytes_that_are_not_utf_8_stay():
    assert b'"GET /\xff HTTP/1.1"' in format_common(
        record(target=b"/\xff".decode("utf-8", "surrogateescape"))
    )


def test_json_is_one_object_per_line():
    line = format_json(
        record(router="r@file", error="ClientGone: x", target=b"/\xff".decode("utf-8", "surrogateescape"))
    )
    assert line.count(b"\n") == 1
    entry = json.loads(line)
    assert (entry["RouterName"], entry["DownstreamStatus"], entry["Duration"]) == ("r@file", 200, 12_900_000)
    assert entry["StartUTC"] == "2016-04-13T14:14:19.500000Z"


def test_what_is_queued_is_written_before_the_writer_ends(tmp_path):
    path = tmp_path / "a" / "access.log"

    async def main():
        log = AccessLog(Settings(file_path=str(path)))
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log.run_writer)
                for number in range(3000):
                    log.put(record(number=number))
                nursery.cancel_scope.cancel()

    trio.run(main)
    assert [int(line.split(b'"')[6]) for line in path.read_bytes().splitlines()] == list(range(3000))


def test_a_full_queue_drops_and_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(access_log, "MAX_QUEUED", 2)

    async def main():
        log = AccessLog(Settings(file_path=str(tmp_path / "x")))
        for _ in range(5):
            log.put(record())
        assert log.dropped == 3
        with trio.move_on_after(0):
            await log.run_writer()

    trio.run(main)
    assert (tmp_path / "x").read_bytes().count(b"\n") == 2


def test_reopening_follows_a_moved_file(tmp_path):
    path = tmp_path / "access.log"

    async def main():
        log = AccessLog(Settings(file_path=str(path)))
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log.run_writer)
                log.put(record(number=1))
                while not path.read_bytes():
                    await trio.lowlevel.checkpoint()
                path.rename(tmp_path / "old.log")
                log.reopen()
                log.put(record(number=2))
                while not path.exists() or not path.read_bytes():
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()

    trio.run(main)
    assert path.read_bytes().count(b"\n") == 1
    assert (tmp_path / "old.log").read_bytes().count(b"\n") == 1


def test_json_names_what_was_agreed_on_over_tls():
    own = Authority().issue("me")
    der = ssl.PEM_cert_to_DER_cert(own.certificate)
    session = TlsSession("a.test", "", "default", "TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", False, (der,))
    entry = json.loads(format_json(record(session=session)))
    assert entry["TLSVersion"] == "1.2"
    assert entry["TLSCipher"] == "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    assert entry["TLSClientSubject"] == "CN=me"
    assert "TLSVersion" not in json.loads(format_json(record()))
