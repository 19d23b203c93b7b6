"""The id that a request carries from the client through the log to the answer."""

from __future__ import annotations

import os
import re

from starlette.types import Scope

HEADER = b"x-request-id"
_SCOPE_KEY = "lading.request_id"
# What a log line or another service's header can hold without quoting.
_VALID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")


def assign_request_id(scope: Scope) -> str:
    """Keep the id that the client sent in ``x-request-id``, or make one; an unusable one is replaced.

    Usable is: 1 to 128 letters, digits and ``._:/+=@-``, the first a letter or a digit.
    """
    for name, value in scope["headers"]:
        if name == HEADER:
            sent = value.decode("latin-1") if _VALID.fullmatch(value) else None
            break
    else:
        sent = None
    assigned = sent or os.urandom(16).hex()
    scope[_SCOPE_KEY] = assigned
    return assigned


def request_id(scope: Scope) -> str:
    """The id of the request, once :func:`assign_request_id` has run."""
    return str(scope.get(_SCOPE_KEY, ""))
