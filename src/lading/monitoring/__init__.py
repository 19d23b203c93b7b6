"""From one small SLO file a model to what watches it: rules, alerts, dashboards, and what GKE reads."""
