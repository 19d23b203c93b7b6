"""A release on the cluster: its ready pods, its autoscaler, and the number of its pods."""

from __future__ import annotations

from dataclasses import dataclass

from lading.deploy.kubernetes import Cluster, Kind, Object

SLICES = Kind("discovery.k8s.io", "v1", "endpointslices")
AUTOSCALERS = Kind("autoscaling", "v2", "horizontalpodautoscalers")
DEPLOYMENTS = Kind("apps", "v1", "deployments")


@dataclass(frozen=True)
class Autoscaler:
    """The HorizontalPodAutoscaler of a release. KEDA makes one too."""

    minimum: int
    maximum: int
    wanted: int
    """Pods that it wants now."""


@dataclass(frozen=True)
class Release:
    """A Service and the pods behind it."""

    cluster: Cluster
    namespace: str
    service: str

    def ready(self) -> int:
        """Pods that the Service sends requests to.

        Raises:
            KubernetesError: the API server does not answer, or refuses.
        """
        slices = self.cluster.select(SLICES, self.namespace, f"kubernetes.io/service-name={self.service}")
        # A pod with addresses of IPv4 and IPv6 is in two slices.
        return len({_identity(one) for each in slices for one in each.get("endpoints") or () if _serves(one)})

    def autoscaler(self) -> Autoscaler | None:
        """The autoscaler of the Deployment that has the Service's name.

        Raises:
            KubernetesError: the API server does not answer, or refuses.
        """
        for one in self.cluster.select(AUTOSCALERS, self.namespace, ""):
            spec, target = one["spec"], one["spec"]["scaleTargetRef"]
            if (target["kind"], target["name"]) == ("Deployment", self.service):
                wanted = one.get("status", {}).get("desiredReplicas") or 0
                return Autoscaler(spec.get("minReplicas") or 1, spec["maxReplicas"], wanted)
        return None

    def scale(self, pods: int) -> None:
        """Set the number of pods, where an autoscaler owns it. The autoscaler continues from there.

        Raises:
            KubernetesError: the API server does not answer, or refuses.
        """
        self.cluster.scale(DEPLOYMENTS, self.namespace, self.service, pods)


def _serves(endpoint: Object) -> bool:
    """Ready, where an absent condition counts as ready. An ending pod is never ready."""
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _identity(endpoint: Object) -> str:
    return str((endpoint.get("targetRef") or {}).get("name") or endpoint["addresses"][0])
