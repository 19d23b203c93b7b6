"""The demo's client of a server, and its errors."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Any

import httpx

TIMEOUT_S = 30.0
MAX_ANSWER = 16 * 2**20
"""Bytes of an answer that are read."""
METADATA = ipaddress.ip_network("fd00:ec2::/32"), ipaddress.ip_network("100.100.100.200/32")
"""Where clouds answer with credentials, besides the link-local addresses."""


class DemoError(Exception):
    """An error to show to the visitor: the server's own message, or that no server answers."""


@dataclass(frozen=True)
class Answered:
    """One answer, with the request id that feedback needs."""

    request_id: str
    content: dict[str, Any]
    ms: float


class Client:
    """A server's endpoints.

    Args:
        url: address of the server, for example http://127.0.0.1:8080.
        key: sent as a bearer token; empty: none.
        ca: file of certificates that a configured server's is checked with; empty: the system's authorities.
        trusted: the operator configured the address. Otherwise it may not lead to link-local or metadata addresses.
    """

    def __init__(self, url: str, key: str = "", *, ca: str = "", trusted: bool = True) -> None:
        self._url, self._trusted, self._ca = url, trusted, ca
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    @classmethod
    def of_visitor(cls, typed: str, configured: str, key: str) -> Client:
        """The server that a visitor chose. Only the configured one gets the operator's key and ``LADING_CA``."""
        if typed != configured:
            return cls(typed, trusted=False)
        return cls(configured, key, ca=os.environ.get("LADING_CA", ""))

    def model(self) -> dict[str, Any]:
        """Describe the model: name, version, variant, inputs, outputs, kind of file.

        Raises:
            DemoError: no server answers there, or it refused.
        """
        return self._ask("GET", "/model").content

    def classify(self, file: bytes) -> Answered:
        """Label an encoded file, such as a JPEG."""
        return self._ask("POST", "/classify", content=file)

    def predict(self, inputs: dict[str, Any]) -> Answered:
        """Run any model on inputs by name."""
        return self._ask("POST", "/predict", json=inputs)

    def read_text(self, form: str, text: str) -> Answered:
        """Run the model on a text, such as SMILES."""
        return self._ask("POST", f"/predict/{form}", content=text.encode())

    def tell(self, request_id: str, truth: dict[str, Any]) -> dict[str, Any]:
        """Send the right answer as feedback."""
        return self._ask("POST", "/feedback", json={"request_id": request_id, "truth": truth}).content

    def _ask(self, method: str, path: str, **request: Any) -> Answered:
        try:
            answer, body = self._exchange(method, path, request)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise DemoError(f"no server answers at {self._url}: {error}") from None
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise DemoError(f"{self._url} answers, but it is not a Lading server")
        if answer.is_error:
            raise DemoError(str(content.get("error", f"the server refused with {answer.status_code}")))
        return Answered(answer.headers.get("x-request-id", ""), content, answer.elapsed.total_seconds() * 1e3)

    def _trust(self) -> ssl.SSLContext | bool:
        if not self._ca:
            return True
        # Read for each request: a renewed certificate is a new file.
        context = ssl.create_default_context(cafile=self._ca)
        # The server's own certificate is enough, also where the file does not hold the authority that signed it.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    def _exchange(self, method: str, path: str, request: dict[str, Any]) -> tuple[httpx.Response, bytes]:
        url = httpx.URL(self._url.rstrip("/") + path)
        headers = dict(self._headers)
        if not self._trusted:
            # Connect to the address that was checked: asked again, the name could lead somewhere else.
            headers["host"] = url.netloc.decode("ascii")
            request = {**request, "extensions": {"sni_hostname": url.host}}
            url = url.copy_with(host=checked_address(url))
        # One connection per request: Streamlit drops this object at each click, and the connection would stay open.
        # trust_env=False: a proxy or a .netrc of the operator is not for visitors.
        with (
            httpx.Client(timeout=TIMEOUT_S, headers=headers, trust_env=self._trusted, verify=self._trust()) as http,
            http.stream(method, url, **request) as answer,
        ):
            body = b""
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise DemoError(f"{self._url} sends more than {MAX_ANSWER >> 20} MB: it is not a Lading server")
        return answer, body


def checked_address(url: httpx.URL) -> str:
    """The address that the host of a visitor's URL leads to.

    Raises:
        DemoError: not http or https, or an address where only the machine itself or its cloud is reached: link-local,
            metadata, multicast or unspecified.
        OSError: the name is not known.
    """
    if url.scheme not in ("http", "https") or not url.host:
        raise DemoError(f"{url} is not an address such as http://127.0.0.1:8080")
    found = socket.getaddrinfo(url.host, url.port or url.scheme, type=socket.SOCK_STREAM)
    address = str(found[0][4][0])
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    inner = any(ip in network for network in METADATA if ip.version == network.version)
    if inner or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        raise DemoError(f"{url.host} is not an address that this page may ask")
    return address
