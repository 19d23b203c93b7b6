"""Rules, alerts and dashboards for Prometheus, Grafana and GKE, generated from one small SLO file per model."""
