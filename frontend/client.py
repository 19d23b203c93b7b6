"""What the demo asks of a server, and the sentences that it gets when something is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

TIMEOUT_S = 30.0


class DemoError(Exception):
    """Something that the visitor shall read: the server's own sentence, or that there is no server."""


@dataclass(frozen=True)
class Answered:
    """One answer, with the id that feedback is sent under."""

    request_id: str
    content: dict[str, Any]
    ms: float


class Client:
    """A server's endpoints.

    Args:
        url: of the server, for example http://127.0.0.1:8080.
        key: sent as a bearer token; empty: none.
        transport: instead of the network.
    """

    def __init__(self, url: str, key: str = "", transport: httpx.BaseTransport | None = None) -> None:
        self._url, self._transport = url, transport
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    def model(self) -> dict[str, Any]:
        """What is served: name, version, variant, inputs, outputs.

        Raises:
            DemoError: no server answers there, or it refused.
        """
        return self._ask("GET", "/model").content

    def classify(self, picture: bytes) -> Answered:
        """Label a picture: the bytes of a JPEG, PNG or WebP file."""
        return self._ask("POST", "/classify", content=picture)

    def predict(self, inputs: dict[str, Any]) -> Answered:
        """Any model's inputs by name."""
        return self._ask("POST", "/predict", json=inputs)

    def read_text(self, form: str, text: str) -> Answered:
        """A text that the server reads, such as SMILES."""
        return self._ask("POST", f"/predict/{form}", content=text.encode())

    def tell(self, request_id: str, truth: dict[str, Any]) -> dict[str, Any]:
        """Say what the right answer would have been."""
        return self._ask("POST", "/feedback", json={"request_id": request_id, "truth": truth}).content

    def _ask(self, method: str, path: str, **request: Any) -> Answered:
        # A connection a request: Streamlit forgets this object at each click, and nobody would close it.
        known: dict[str, Any] = {"base_url": self._url, "headers": self._headers, "timeout": TIMEOUT_S}
        try:
            with httpx.Client(**known, transport=self._transport) as http:
                answer = http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise DemoError(f"no server answers at {self._url}: {error}") from None
        try:
            content = answer.json()
        except ValueError:
            raise DemoError(f"{self._url} answers, but not as a Lading server does") from None
        if answer.is_error:
            raise DemoError(str(content.get("error", f"the server refused with {answer.status_code}")))
        return Answered(answer.headers.get("x-request-id", ""), content, answer.elapsed.total_seconds() * 1e3)
