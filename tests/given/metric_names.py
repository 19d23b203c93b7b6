"""Metrics: the names and labels that dashboards and alerts build on."""

from __future__ import annotations

NAMES = {
    "lading_requests_total": {"model", "variant", "protocol", "code"},
    "lading_request_duration_seconds_count": {"model", "variant", "protocol"},
    "lading_request_bytes_total": {"model", "variant", "protocol"},
    "lading_response_bytes_total": {"model", "variant", "protocol"},
    "lading_queue_duration_seconds_count": {"model", "variant"},
    "lading_queue_length": set(),
    "lading_shed_total": {"reason"},
    "lading_decode_duration_seconds_count": {"model", "variant"},
    "lading_inference_duration_seconds_count": {"model", "variant"},
    "lading_batch_size_count": {"model", "variant"},
    "lading_requests_in_flight": set(),
    "lading_ready": {"model", "variant"},
    "lading_usable_cpus": set(),
    "lading_lanes": set(),
    "lading_lanes_replaced_total": set(),
    "lading_workers_ended_total": set(),
    "lading_queue_limit": set(),
    "lading_start_duration_seconds": set(),
    "lading_schema_violations_total": {"model", "variant", "kind"},
    "lading_model_created_timestamp_seconds": {"model", "variant", "version"},
    "lading_model_info": {"model", "version", "variant", "digest", "precision"},
}
