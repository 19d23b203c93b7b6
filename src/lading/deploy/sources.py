"""Sources of an artifact: a folder, a bucket, a web server, or an OCI registry."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import httpx
import obstore
from obstore.exceptions import BaseError

from lading.errors import FetchError
from lading.files import first_line, open_bucket, shown


class ArtifactSource(Protocol):
    """A place with the files of one artifact."""

    def read(self, name: str) -> Iterator[bytes]:
        """The content of a file, by its path inside the artifact.

        Raises:
            FetchError: it is missing, or cannot be read.
        """


class FolderSource:
    """An artifact on a file system, such as a mounted volume."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str) -> Iterator[bytes]:
        """The file's content, in chunks of 1 MiB."""
        try:
            with (self._path / name).open("rb") as file:
                while chunk := file.read(1 << 20):
                    yield chunk
        except OSError as error:
            raise FetchError(f"{self._path / name} cannot be read: {error.strerror}") from None


TITLE = "org.opencontainers.image.title"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_REFERENCE = re.compile(
    r"^oci://(?P<host>[^/]+)/(?P<name>[^:@]+)(?:(?::(?P<tag>[\w.-]+))|(?:@(?P<digest>sha256:[0-9a-f]{64})))$"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class RegistrySource:
    """The layers of one image manifest by their titles.

    It logs in with ``REGISTRY_USERNAME`` and ``REGISTRY_PASSWORD``, else with the login in ``DOCKER_CONFIG``.

    Args:
        uri: ``oci://registry/name:tag`` or ``oci://registry/name@sha256:...``.

    Raises:
        FetchError: the URI is incomplete, or the registry does not answer.
    """

    def __init__(self, uri: str) -> None:
        match = _REFERENCE.match(uri)
        if match is None:
            raise FetchError(f"{uri} is not oci://REGISTRY/NAME:TAG, nor oci://REGISTRY/NAME@sha256:...")
        self._shown = uri
        self._host, self._name = match["host"], match["name"]
        local = self._host.split(":")[0] in ("localhost", "127.0.0.1")
        self._client = httpx.Client(
            base_url=f"{'http' if local else 'https'}://{self._host}/v2/{self._name}/",
            follow_redirects=True,
            timeout=60,
            transport=httpx.HTTPTransport(retries=3),
        )
        self._layers = self._read_layers(match["tag"] or match["digest"])

    def read(self, name: str) -> Iterator[bytes]:
        """The layer's content as it arrives."""
        if name not in self._layers:
            raise FetchError(f"{self._shown} has no layer titled {name!r}")
        try:
            with self._client.stream("GET", f"blobs/{self._layers[name]}") as response:
                self._check(response, name)
                yield from response.iter_bytes(1 << 20)
        except httpx.HTTPError as error:
            raise FetchError(f"{self._shown}: {name} cannot be read: {error}") from None

    def _read_layers(self, reference: str) -> dict[str, str]:
        accept = {"accept": MANIFEST_TYPE}
        try:
            response = self._client.get(f"manifests/{reference}", headers=accept)
            if response.status_code == httpx.codes.UNAUTHORIZED:
                self._log_in(response.headers.get("www-authenticate", ""))
                response = self._client.get(f"manifests/{reference}", headers=accept)
            self._check(response, "the manifest")
            layers: list[dict[str, Any]] = response.json().get("layers", [])
        except (httpx.HTTPError, ValueError) as error:
            raise FetchError(f"{self._shown} cannot be read: {error}") from None
        titled = {layer.get("annotations", {}).get(TITLE): str(layer["digest"]) for layer in layers}
        return {title: digest for title, digest in titled.items() if title}

    def _log_in(self, challenge: str) -> None:
        """Answer a challenge with name and password, or with the token that the registry's realm returns for them."""
        known = self._credentials()
        if challenge.lower().startswith("basic"):
            if known:
                self._client.auth = httpx.BasicAuth(*known)
            return
        words = dict(_CHALLENGE.findall(challenge))
        if not words.get("realm", "").startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise FetchError(f"{self._shown}: the registry requires a login of an unknown kind")
        asked = {"service": words.get("service", ""), "scope": f"repository:{self._name}:pull"}
        response = httpx.get(words["realm"], params=asked, auth=known, timeout=60)
        self._check(response, "a token")
        answer = response.json()
        self._client.headers["authorization"] = f"Bearer {answer.get('token') or answer.get('access_token')}"

    def _credentials(self) -> tuple[str, str] | None:
        if "REGISTRY_USERNAME" in os.environ:
            return os.environ["REGISTRY_USERNAME"], os.environ.get("REGISTRY_PASSWORD", "")
        file = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
        try:
            written = json.loads(file.read_text())["auths"][self._host]["auth"]
            user, _, password = base64.b64decode(written).decode().partition(":")
        except (OSError, ValueError, LookupError):
            return None
        return user, password

    def _check(self, response: httpx.Response, what: str) -> None:
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise FetchError(f"{self._shown}: access to {what} was denied: set REGISTRY_USERNAME and REGISTRY_PASSWORD")
        if response.is_error:
            raise FetchError(f"{self._shown}: {what}: the registry answered {response.status_code}")


class BucketSource:
    """Objects under a prefix.

    Plain HTTP is as safe as HTTPS here: what arrives is compared with a digest that came another way.

    Args:
        uri: ``gs://bucket/cards``, ``s3://bucket/cards``, ``az://container/cards`` or ``https://host/cards``.

    Raises:
        FetchError: the URI is incomplete, or contains a key.
    """

    def __init__(self, uri: str) -> None:
        self._shown = shown(uri).rstrip("/")
        try:
            self._store = open_bucket(uri, request=timedelta(minutes=10), retries=timedelta(minutes=2))
        except ValueError as error:
            raise FetchError(str(error)) from None

    def read(self, name: str) -> Iterator[bytes]:
        """The object's content as it arrives."""
        try:
            for chunk in obstore.get(self._store, name).stream(min_chunk_size=1 << 20):
                yield bytes(chunk)
        except FileNotFoundError:
            raise FetchError(f"{self._shown}/{name} is not there") from None
        except (BaseError, OSError) as error:
            raise FetchError(f"{self._shown}/{name} cannot be read: {first_line(error)}") from None
