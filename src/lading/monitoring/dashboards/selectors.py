"""What the queries of every dashboard select by, and the variables that a viewer chooses it with."""

from __future__ import annotations

NAMESPACE = 'namespace=~"$namespace"'
MODEL = f'{NAMESPACE},model=~"$model"'
VARIANT = f'{MODEL},variant=~"$variant"'
WORKLOAD = f'{NAMESPACE},pod=~"$workload-.*"'
RATE = "[$__rate_interval]"

NAMESPACES = ("namespace", "label_values(lading_model_info, namespace)")
MODELS = ("model", f"label_values(lading_model_info{{{NAMESPACE}}}, model)")
VARIANTS = ("variant", f"label_values(lading_model_info{{{MODEL}}}, variant)")
WORKLOADS = ("workload", f"label_values(kube_deployment_spec_replicas{{{NAMESPACE}}}, deployment)")
OF_MODELS = (NAMESPACES, MODELS, VARIANTS)
"""The variables of a dashboard that is about models."""
