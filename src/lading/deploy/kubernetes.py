"""The Kubernetes API. Only this module reaches it, with the official client (extra ``kubernetes``)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from lading.errors import KubernetesError, SettingsError

if TYPE_CHECKING:
    from kubernetes.client import Configuration

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts the token of a pod's ServiceAccount."""
KUBECONFIG = "~/.kube/config"
TIMEOUT_S = 20.0
RETRIES = 4
"""With a backoff of 0, 1, 2 and 4 s: an API server that restarts is back by then."""
UNAVAILABLE = (429, 500, 502, 503, 504)

Object = dict[str, Any]
"""A Kubernetes object, as its JSON has it."""
Patch = list[dict[str, Any]]
"""Operations of a JSON patch (RFC 6902)."""


class Kind(NamedTuple):
    """What the API calls a resource, such as ``batch/v1 jobs``."""

    group: str
    version: str
    plural: str


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
        self._objects = CustomObjectsApi(ApiClient(configuration))

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
        except ConfigException as error:
            raise SettingsError(f"no cluster can be reached: {error}; set KUBECONFIG, or run this in a pod") from None
        return cls(configuration, namespace, retries)

    def read(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object.

        Raises:
            KubernetesError: the API server does not answer, or refuses.
        """
        return self._ask(self._objects.get_namespaced_custom_object, "read", kind, namespace, name)

    def select(self, kind: Kind, namespace: str, labels: str) -> list[Object]:
        """The objects that a label selector chooses.

        Raises:
            KubernetesError: the API server does not answer, or refuses.
        """
        found = self._ask(self._objects.list_namespaced_custom_object, "list", kind, namespace, label_selector=labels)
        objects: list[Object] = found["items"]
        return objects

    def patch(self, kind: Kind, namespace: str, name: str, patch: Patch) -> Object:
        """Change an object, and return it.

        Raises:
            KubernetesError: the API server does not answer, or refuses. ``answered`` is 422 when a test failed.
        """
        send = self._objects.patch_namespaced_custom_object
        return self._ask(send, "patch", kind, namespace, name, body=patch, _content_type="application/json-patch+json")

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

    def _ask(self, call: Callable[..., Any], verb: str, kind: Kind, namespace: str, *name: str, **more: Any) -> Object:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer: Object = call(*kind[:2], namespace, kind.plural, *name, **more, _request_timeout=TIMEOUT_S)
        except HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise KubernetesError(f"the Kubernetes API at {self.url} does not answer: {reason}") from None
        except ApiException as error:
            what = "/".join((kind.plural, *name))
            raise KubernetesError(
                f"the Kubernetes API at {self.url} refuses to {verb} {what} in the namespace {namespace}: "
                f"{error.status} {_message(error.body or error.reason)}",
                answered=error.status,
            ) from None
        return answer


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
