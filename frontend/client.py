"""The demo's client of a server, and its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

TIMEOUT_S = 30.0


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
        transport: replaces the network.
    """

    def __init__(self, url: str, key: str = "", transport: httpx.BaseTransport | None = None) -> None:
        self._url, self._transport = url, transport
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

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
        # One connection per request: Streamlit drops this object at each click, and the connection would stay open.
        known: dict[str, Any] = {"base_url": self._url, "headers": self._headers, "timeout": TIMEOUT_S}
        try:
            with httpx.Client(**known, transport=self._transport) as http:
                answer = http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise DemoError(f"no server answers at {self._url}: {error}") from None
        try:
            content = answer.json()
        except ValueError:
            raise DemoError(f"{self._url} answers, but it is not a Lading server") from None
        if answer.is_error:
            raise DemoError(str(content.get("error", f"the server refused with {answer.status_code}")))
        return Answered(answer.headers.get("x-request-id", ""), content, answer.elapsed.total_seconds() * 1e3)
