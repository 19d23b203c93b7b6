"""Pages for people: the form at ``/``, and ``/status``."""
