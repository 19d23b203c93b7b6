"""A load test generated from a model's signature, for Locust."""
