"""Grafana dashboards, each a table of panels."""

from __future__ import annotations

from lading.monitoring.dashboards.cluster import CLUSTER
from lading.monitoring.dashboards.drift import DRIFT
from lading.monitoring.dashboards.model import MODEL_BOARD
from lading.monitoring.dashboards.overview import OVERVIEW
from lading.monitoring.dashboards.training import TRAINING

BOARDS = (OVERVIEW, MODEL_BOARD, DRIFT, CLUSTER, TRAINING)
