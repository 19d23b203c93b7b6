"""Drift: is what the server is asked still what the model was trained on?"""
