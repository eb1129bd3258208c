"""The target that a server gets."""

from __future__ import annotations

import pytest

from tests.support.chains import make_exchange
from worker.forward import target_for
from worker.server import Server


@pytest.mark.parametrize(
    ("base_path", "path", "query", "sent"),
    [
        ("", "/a", None, "/a"),
        ("", "", "q", "/?q"),
        ("/base", "/a", None, "/base/a"),
        ("/base/", "/a", "q=1", "/base/a?q=1"),
        ("/base", "/", None, "/base/"),
        ("/base", "", "q", "/base/?q"),  # stripPrefix left nothing: Traefik joins what it would have sent
        ("/base", "*", None, "*"),
    ],
)
def test_the_path_of_the_servers_url_stands_in_front(base_path, path, query, sent):
    request = make_exchange("/x").request
    request.path, request.query = path, query
    server = Server("http://h/base", 1, "h", base_path, pass_host_header=True, pool=None)
    assert target_for(request, server) == sent
