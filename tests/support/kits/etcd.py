"""A real etcd, spoken to by its v3 gateway or its v2 API."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.support.kits import keys
from tests.support.kits.base import Kit, Route
from tests.support.ports import reserve_port
from tests.support.server_process import ServerProcess

BATCH = 96
"""Pairs of one transaction, a multiple of those of one route; etcd takes 128."""
ROOT_PASSWORD = "root-pass"
USER = "proxy"


V2_CONNECTIONS = 16
"""Writers side by side: the v2 API takes one key per request."""


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class EtcdServer:
    """An etcd of one member."""

    def __init__(self, folder: Path) -> None:
        self.port, self._peer_port = reserve_port(), reserve_port()
        client, peer = (f"http://127.0.0.1:{each.number}" for each in (self.port, self._peer_port))
        command = [
            *("etcd", "--data-dir", str(folder / "data"), "--enable-v2", "--log-level", "warn"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}", "--unsafe-no-fsync"),
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
        self.client = httpx.Client(base_url=client, trust_env=False, timeout=60)
        self.process = ServerProcess(command, folder / "log", self._is_healthy, environment)

    def _is_healthy(self) -> bool:
        try:
            return self.client.get("/health").json()["health"] == "true"
        except (httpx.HTTPError, ValueError):
            return False

    def close(self) -> None:
        self.process.stop()
        self.client.close()
        self.port.release()
        self._peer_port.release()


class EtcdV3Kit(Kit):
    """v2's layout through etcd's v3 API."""

    provider = "etcd"
    layout = keys.V2
    root = "traefik"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = EtcdServer(folder)
        self._token = ""

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which("etcd") else "etcd (apt install etcd-server)"

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.port.number

    def start(self) -> None:
        if not self.server.process.is_running:
            self.server.process.start()

    def stop(self) -> None:
        self.server.process.stop()

    def close(self) -> None:
        self.server.close()

    def clear(self) -> None:
        self._log_in()
        if self._token:
            self.ask("/v3/auth/disable")
            self._token = ""
        self.ask("/v3/kv/deleterange", key=encoded("\0"), range_end=encoded("\0"))

    def settings(self, host: str, port: int, password: str = "") -> str:
        user = f'username = "{USER}"\npassword = "{password}"\n' if password else ""
        return f'[providers.etcd]\nendpoints = ["{host}:{port}"]\n{user}'

    def write(self, routes: Sequence[Route]) -> None:
        self.put(keys.pairs_of(self.layout, self.root, routes))

    def remove(self, routes: Sequence[Route]) -> None:
        prefixes = [f"{self.root}/{each}" for route in routes for each in self.layout.folders(route)]
        self._transact(
            {"request_delete_range": {"key": encoded(each), "range_end": encoded(f"{each[:-1]}0")}}
            for each in prefixes
        )

    def spoil(self, route: Route) -> str:
        key, value = self.layout.spoilt(route)
        self.put({f"{self.root}/{key}": value})
        return f"{self.root}/{key}"

    def write_half(self, route: Route) -> None:
        self.put(dict(keys.half_of(self.layout, self.root, route)))

    def set_password(self, password: str) -> None:
        """etcd wants a root before it asks anybody; a restart makes it forget who has logged in."""
        self._log_in()
        if not self._token:
            for name, secret in (("root", ROOT_PASSWORD), (USER, password)):
                self.ask("/v3/auth/user/add", name=name, password=secret)
                self.ask("/v3/auth/user/grant", user=name, role="root")
            self.ask("/v3/auth/enable")
        else:
            self.ask("/v3/auth/user/changepw", name=USER, password=password)
        self.stop()
        self.start()
        self._log_in()

    def make_impatient(self, set_constant: Callable[[str, float], None]) -> None:
        set_constant("providers.etcd_v3.EtcdV3Store.check_s", 0.3)
        set_constant("providers.etcd_v3.ANSWER_S", 1.0)

    def put(self, pairs: dict[str, str]) -> None:
        """Write pairs, ``BATCH`` in a transaction."""
        for batch in keys.batches(pairs, BATCH):
            self._transact(
                {"request_put": {"key": encoded(key), "value": encoded(value)}}
                for key, value in batch.items()
            )

    def ask(self, path: str, **message: Any) -> dict[str, Any]:
        """One call of the v3 API, which has to succeed."""
        headers = {"Authorization": self._token} if self._token else {}
        answer = self.server.client.post(path, json=message, headers=headers)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        found: dict[str, Any] = answer.json()
        return found

    def _transact(self, requests: Any) -> None:
        self.ask("/v3/kv/txn", success=list(requests))

    def _log_in(self) -> None:
        body = {"name": "root", "password": ROOT_PASSWORD}
        answer = self.server.client.post("/v3/auth/authenticate", json=body)
        self._token = answer.json()["token"] if answer.status_code == 200 else ""


class EtcdV2Kit(EtcdV3Kit):
    """v1's layout through etcd's v2 API, from v1's own section."""

    layout = keys.V1
    root = "/traefik"
    many = 1_000  # 4,000 keys, each a request

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._is_guarded = False

    def clear(self) -> None:
        if self._is_guarded:
            self._call("DELETE", "/v2/auth/enable")
            self._call("DELETE", f"/v2/auth/users/{USER}")
            self._is_guarded = False
        self._call("DELETE", f"/v2/keys{self.root}?recursive=true")

    def settings(self, host: str, port: int, password: str = "") -> str:
        user = f'username = "{USER}"\npassword = "{password}"\n' if password else ""
        return f'[etcd]\nendpoint = "{host}:{port}"\nprefix = "{self.root}"\n{user}'

    def remove(self, routes: Sequence[Route]) -> None:
        for route in routes:
            for each in self.layout.folders(route):
                self._call("DELETE", f"/v2/keys{self.root}/{each}?recursive=true")

    def put(self, pairs: dict[str, str]) -> None:
        with ThreadPoolExecutor(V2_CONNECTIONS) as threads:
            for answer in threads.map(self._put_key, pairs.items()):
                assert answer.status_code in (200, 201), answer.text

    def set_password(self, password: str) -> None:
        """Users of the v2 API; strangers may read nothing. A request that waits already is let wait on."""
        if self._is_guarded:
            self._call("PUT", f"/v2/auth/users/{USER}", {"user": USER, "password": password})
        else:
            self._guard(password)
        self.stop()
        self.start()

    def _guard(self, password: str) -> None:
        for name, secret in (("root", ROOT_PASSWORD), (USER, password)):
            self._call("PUT", f"/v2/auth/users/{name}", {"user": name, "password": secret})
        everything = {"kv": {"read": ["/*"], "write": ["/*"]}}
        self._call("PUT", "/v2/auth/roles/reader", {"role": "reader", "permissions": everything})
        self._call("PUT", f"/v2/auth/users/{USER}", {"user": USER, "grant": ["reader"]})
        self._call("PUT", "/v2/auth/enable")
        self._is_guarded = True
        self._call("PUT", "/v2/auth/roles/guest", {"role": "guest", "revoke": everything})

    def make_impatient(self, set_constant: Callable[[str, float], None]) -> None:
        set_constant("providers.etcd_v2.EtcdV2Store.check_s", 0.3)
        set_constant("providers.etcd_v2.ANSWER_S", 1.0)

    def _put_key(self, pair: tuple[str, str]) -> httpx.Response:
        return self.server.client.put(f"/v2/keys{pair[0]}", data={"value": pair[1]}, auth=self._auth)

    def _call(self, method: str, path: str, body: Any = None) -> None:
        """One call; what is there already or is not there any more is fine."""
        answer = self.server.client.request(method, path, json=body, auth=self._auth)
        assert answer.status_code in (200, 201, 404, 409), f"{path}: {answer.text}"

    @property
    def _auth(self) -> tuple[str, str]:
        return ("root", ROOT_PASSWORD)
