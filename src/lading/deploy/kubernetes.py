"""The Kubernetes API. Only this module reaches it, with the official client (extra ``kubernetes``)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from lading.errors import KubernetesError, SettingsError
from lading.errors.sentences import shown

if TYPE_CHECKING:
    from kubernetes.client import Configuration

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts the token of a pod's ServiceAccount."""
KUBECONFIG = "~/.kube/config"
TIMEOUT_S = 20.0
RETRIES = 4
"""With a backoff of 0, 1, 2 and 4 s: an API server that restarts is back by then."""
UNAVAILABLE = (429, 500, 502, 503, 504)

_LETTERS = "[bcdfghjklmnpqrstvwxz2456789]"
POD_SUFFIX = f"{_LETTERS}{{5,10}}-{_LETTERS}{{5}}"
"""What follows a Deployment's name and a hyphen in its pods' names, as a regular expression. ``cards-.*`` would also be
the pods of ``cards-b``."""
Answer = TypeVar("Answer")
Object = dict[str, Any]
"""A Kubernetes object, as its JSON has it."""
Patch = list[dict[str, Any]]
"""Operations of a JSON patch (RFC 6902)."""


class Kind(NamedTuple):
    """What the API calls a resource, such as ``batch/v1 jobs``. Pods and other core kinds have an empty group."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str, *name: str) -> str:
        """Where the API serves the resource."""
        start = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return "/".join((start, "namespaces", namespace, self.plural, *name))


PODS = Kind("", "v1", "pods")


class Cluster:
    """The API server of a cluster, as one account sees it.

    Args:
        configuration: address, trust and credentials, as the official client has them.
        namespace: the account's own namespace.
        retries: attempts after the first one, when the API server is unavailable.
    """

    def __init__(self, configuration: Configuration, namespace: str, retries: int = RETRIES) -> None:
        from kubernetes.client import ApiClient, CustomObjectsApi
        from urllib3.util import Retry

        # Every method may be repeated: a patch tests the version that it changes, and a created object has a name.
        configuration.retries = Retry(
            retries, backoff_factor=0.5, status_forcelist=UNAVAILABLE, allowed_methods=None, raise_on_status=False
        )
        self.url = str(configuration.host)
        self.namespace = namespace
        # Its name says custom, but it reaches the objects of every group. They come as plain dictionaries, so a field
        # that the client does not know yet is kept.
        self._client = ApiClient(configuration)
        self._objects = CustomObjectsApi(self._client)

    @classmethod
    def connect(
        cls, api: str | None = None, *, kubeconfig: str | None = None, account: Path = ACCOUNT, retries: int = RETRIES
    ) -> Self:
        """Find the cluster in the same order as kubectl: an address, a kubeconfig, the pod's ServiceAccount.

        Args:
            api: address that needs no credentials, such as that of ``kubectl proxy``.
            kubeconfig: its files, separated by ``:``. Default: the variable KUBECONFIG, or ``~/.kube/config``.
            account: folder with the pod's token, certificate and namespace.
            retries: attempts after the first one, when the API server is unavailable.

        Raises:
            SettingsError: the client is not installed, there is no cluster, or the kubeconfig cannot be used.
        """
        try:
            from kubernetes.client import Configuration
            from kubernetes.config.config_exception import ConfigException
            from yaml import YAMLError
        except ModuleNotFoundError:
            raise SettingsError("the Kubernetes client is missing: pip install 'lading[kubernetes]'") from None
        files = kubeconfig or os.environ.get("KUBECONFIG") or KUBECONFIG
        configuration = Configuration()
        try:
            if api:
                configuration.host = api.rstrip("/")
                namespace = "default"
            elif any(Path(file).expanduser().is_file() for file in files.split(os.pathsep)):
                namespace = _read_kubeconfig(files, configuration)
            else:
                namespace = _read_account(account, configuration)
        # The client raises the last three for a kubeconfig of another form.
        except (ConfigException, OSError, YAMLError, TypeError, ValueError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SettingsError(f"no cluster can be reached: {said}; set KUBECONFIG, or run this in a pod") from None
        return cls(configuration, namespace, retries)

    def read(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object.

        Raises:
            KubernetesError: the API server does not answer, or refuses.
        """
        return self._object(self._get("read", kind, namespace, name), "metadata")

    def select(self, kind: Kind, namespace: str, labels: str = "") -> list[Object]:
        """The objects that a label selector chooses; without one, all objects.

        Raises:
            KubernetesError: the API server does not answer, or refuses.
        """
        return self._object(self._get("list", kind, namespace, labelSelector=labels), "items")["items"] or []

    def log(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool = False) -> str:
        """The last lines of a container's log, or of the one before its last restart.

        Raises:
            KubernetesError: the API server does not answer, or refuses: the container has not started.
        """
        asked = {"container": container, "tailLines": str(lines), "previous": str(previous).lower()}
        text = self._get("read", PODS, namespace, pod, "log", **asked)
        return text.decode(errors="replace")

    def patch(self, kind: Kind, namespace: str, name: str, patch: Patch) -> Object:
        """Change an object, and return it.

        Raises:
            KubernetesError: the API server does not answer, or refuses. ``answered`` is 422 when a test failed.
        """
        send = self._objects.patch_namespaced_custom_object
        patched: Object = self._ask(
            send, "patch", kind, namespace, name, body=patch, _content_type="application/json-patch+json"
        )
        return patched

    def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> None:
        """Set the number of pods of an object, through its subresource ``scale``.

        Raises:
            KubernetesError: the API server does not answer, or refuses.
        """
        send = self._objects.patch_namespaced_custom_object_scale
        body = {"spec": {"replicas": replicas}}
        self._ask(send, "scale", kind, namespace, name, body=body, _content_type="application/merge-patch+json")

    def create(self, kind: Kind, namespace: str, content: Object) -> bool:
        """Create an object; ``False`` when one with this name exists.

        Raises:
            KubernetesError: the API server does not answer, or refuses.
        """
        try:
            self._ask(self._objects.create_namespaced_custom_object, "create", kind, namespace, body=content)
        except KubernetesError as error:
            if error.answered == HTTPStatus.CONFLICT:
                return False
            raise
        return True

    def _object(self, answer: bytes, key: str) -> Object:
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if not isinstance(found, dict) or key not in found:
            raise KubernetesError(f"{self.url} is no Kubernetes API: it answers {shown(answer[:100])}")
        return found

    def _get(self, verb: str, kind: Kind, namespace: str, *name: str, **query: str) -> bytes:
        """The body of an answer. It is not parsed here, because a log is text."""

        def get(*_: str, _request_timeout: float) -> bytes:
            asked = self._client.param_serialize(
                "GET",
                kind.path(namespace, *name),
                query_params=[item for item in query.items() if item[1]],
                header_params={"Accept": "application/json, */*"},
                auth_settings=["BearerToken"],
            )
            answer = self._client.call_api(*asked, _request_timeout=_request_timeout)
            answer.read()
            found: bytes = self._client.response_deserialize(answer, {"2XX": "bytes"}).data
            return found

        return self._ask(get, verb, kind, namespace, *name)

    def _ask(
        self, call: Callable[..., Answer], verb: str, kind: Kind, namespace: str, *name: str, **more: Any
    ) -> Answer:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return call(*kind[:2], namespace, kind.plural, *name, **more, _request_timeout=TIMEOUT_S)
        except HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise KubernetesError(f"the Kubernetes API at {self.url} does not answer: {reason}") from None
        except ApiException as error:
            what = "/".join((kind.plural, *name))
            body = error.body or (error.data if isinstance(error.data, bytes) else b"").decode(errors="replace")
            raise KubernetesError(
                f"the Kubernetes API at {self.url} refuses to {verb} {what} in the namespace {namespace}: "
                f"{error.status} {_message(body or error.reason)}",
                answered=error.status,
            ) from None


def _read_kubeconfig(files: str, configuration: Configuration) -> str:
    """Take over the current context, with its client certificate, token or exec plugin. Returns its namespace."""
    from kubernetes.config import list_kube_config_contexts, load_kube_config

    load_kube_config(config_file=files, client_configuration=configuration)
    _, active = list_kube_config_contexts(config_file=files)
    return str(active["context"].get("namespace") or "default")


def _read_account(account: Path, configuration: Configuration) -> str:
    """Take over the pod's ServiceAccount. The client reads its token again every minute, as the kubelet renews it."""
    from kubernetes.config.incluster_config import InClusterConfigLoader

    InClusterConfigLoader(str(account / "token"), str(account / "ca.crt")).load_and_set(configuration)
    return (account / "namespace").read_text().strip()


def _message(body: str) -> str:
    """The sentence of a Status object; any other answer as it is."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(body)[:300]
