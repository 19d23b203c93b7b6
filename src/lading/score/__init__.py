"""Batch scoring: tables and folders of pictures through the same Predictor that serves, on one machine or on Ray."""
