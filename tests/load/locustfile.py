"""For Locust's own page, and for workers on other machines: ``locust -f tests/load/locustfile.py --host URL``."""

from lading.load.locustfile import *  # noqa: F403
