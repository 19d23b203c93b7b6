"""Requests over REST, and what came back."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from oip_conformance.statement import Failed, require, shown

JSON_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Answer:
    """A response: its status, headers and body."""

    asked: str
    """Method and path, for messages."""
    status: int
    headers: httpx.Headers
    body: bytes

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            Failed: it is not JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise Failed(f"{self.asked} has a body that is not JSON: {shown(self.body)}") from None

    def object(self) -> dict[str, Any]:
        """The body of a successful answer as a JSON object.

        Raises:
            Failed: another status than 200, or not a JSON object.
        """
        self.require_status(200)
        content = self.json()
        require(isinstance(content, dict), f"{self.asked} has a body that is no JSON object: {shown(content)}")
        return dict(content)

    def require_status(self, status: int) -> None:
        """Fail unless the status is this one."""
        require(self.status == status, f"{self.asked} answers {self.status}, not {status}: {shown(self.body)}")

    def require_refused(self, what: str) -> None:
        """Fail unless the status is one of HTTP's errors."""
        require(self.status >= 400, f"{what}: {self.asked} answers {self.status}: {shown(self.body)}")

    def require_error_object(self, what: str) -> None:
        """Fail unless this is an error whose body is an object with the string ``error``."""
        self.require_refused(what)
        content = self.json()
        error = content.get("error") if isinstance(content, dict) else None
        require(
            isinstance(error, str) and error,
            f"{what}: {self.asked} answers {self.status} without an `error` string: {shown(self.body)}",
        )


class RestClient:
    """One server's REST address.

    Args:
        url: address, such as ``http://127.0.0.1:8080``.
        headers: sent with every request, such as an API key.
        timeout_s: of one request.
        authority: PEM file of the certificate authority that signed the server's certificate; ``None``: public ones.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        authority: Path | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        verify = ssl.create_default_context(cafile=str(authority)) if authority is not None else True
        self._client = httpx.Client(headers=dict(headers or {}), timeout=timeout_s, trust_env=False, verify=verify)

    def get(self, path: str) -> Answer:
        """GET a path, such as ``v2/health/live``, and where it redirects to."""
        return self.send("GET", path)

    def post(self, path: str, content: Any, **headers: str) -> Answer:
        """POST JSON, or bytes as they are."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.send("POST", path, body, {"Content-Type": "application/json", **headers})

    def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send any request.

        Raises:
            Failed: no HTTP answer came.
        """
        asked = f"{method} {path}"
        request = self._client.build_request(method, f"{self.url}/{path}", content=body or None, headers=headers)
        try:
            try:
                response = self._client.send(request, follow_redirects=method == "GET")
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                # The server may have closed a connection that was idle.
                response = self._client.send(request, follow_redirects=method == "GET")
        except httpx.HTTPError as error:
            raise Failed(f"{asked} has no answer: {type(error).__name__}: {error}") from None
        return Answer(asked, response.status_code, response.headers, response.content)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def model_path(model: str, version: str | None = None) -> str:
    """The path of a model, or of one of its versions."""
    path = f"v2/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"
