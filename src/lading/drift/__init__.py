"""Drift: do live requests still look like the training data?"""
