"""All errors that a user can meet. Each message says what was wrong, where, and what to do.

The base class has the HTTP status and the exit code, so one handler per port and one in the command line are enough.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar

from lading.errors.sentences import clipped


class LadingError(Exception):
    """Base of all errors raised on purpose.

    ``status`` is the HTTP answer, ``exit_code`` the command line's: 1 failed, 2 wrong usage, 3 a gate refused.
    """

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    exit_code: ClassVar[int] = 1


class SpecError(LadingError):
    """A model specification contradicts itself, or cannot be imported."""

    exit_code = 2


class PruneError(SpecError):
    """A network cannot be pruned, or not by as much as its spec asks for."""


class SettingsError(LadingError):
    """A setting has a value that cannot be used."""

    exit_code = 2


class DataError(LadingError):
    """A data set is missing, incomplete, or has an unexpected layout."""


class CheckpointError(LadingError):
    """A checkpoint does not fit the module it is loaded into."""


class DivergedError(LadingError):
    """The loss of a training run is not a number."""


class ExportError(LadingError):
    """ONNX Runtime does not reproduce the torch module; the message lists all differences."""

    def __init__(self, model: str, failures: list[str]) -> None:
        self.failures = list(failures)
        lines = "\n".join(f"  - {failure}" for failure in self.failures)
        super().__init__(f"the exported graph of {model} does not match its module:\n{lines}")


class QuantizationError(LadingError):
    """A quantization recipe cannot be applied to this graph."""


class WrapError(LadingError):
    """An ONNX file without a spec, its labels or its calibration data cannot be used."""


class GateRefusedError(LadingError):
    """A required variant exceeds its budget, so nothing may be deployed."""

    exit_code = 3


class ArtifactError(LadingError):
    """An artifact folder is incomplete, was edited, or was written by a newer version."""


class UntrustedError(ArtifactError):
    """An artifact is not signed by a trusted key as it is.

    ``reason`` is the label of the metric: ``unsigned``, ``altered``, ``unknown`` or ``expired``.
    """

    def __init__(self, sentence: str, reason: str) -> None:
        self.reason = reason
        super().__init__(sentence)


class RequestError(LadingError):
    """The request cannot be answered as it was sent. ``kind`` is the label of the metric that counts it.

    Its sentence is :func:`clipped`: a client's value may be in it.
    """

    status = HTTPStatus.BAD_REQUEST
    kind: ClassVar[str] = "format"

    def __init__(self, sentence: str) -> None:
        super().__init__(clipped(sentence))


class InputNameError(RequestError):
    """An input is missing, unknown, or sent twice."""

    kind = "name"


class InputTypeError(RequestError):
    """An input has another dtype than the model takes."""

    kind = "dtype"


class InputShapeError(RequestError):
    """An input has another shape than the model takes, or is ragged."""

    kind = "shape"


class InputValueError(RequestError):
    """A value is out of range, not finite, or does not fit the input's dtype."""

    kind = "value"


class ContentError(RequestError):
    """An encoded file cannot be decoded."""

    kind = "content"


class PictureError(ContentError):
    """A file sent as a picture cannot be decoded."""

    kind = "picture"


class TextError(ContentError):
    """A text cannot be turned into tokens: it is empty, not UTF-8, or too long."""

    kind = "text"


class UnknownModelError(RequestError):
    """No model with this name or version is served here."""

    status = HTTPStatus.NOT_FOUND


class BodyTooLargeError(RequestError):
    """The body, or a file in it after decoding, exceeds a limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    kind = "size"


class ContentTypeError(RequestError):
    """This endpoint does not accept the request's content type."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class UnanswerableError(RequestError):
    """The inputs are valid, but the model's answer is not finite."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class ReusedKeyError(RequestError):
    """An idempotency key was sent again with another body."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class NotReadyError(LadingError):
    """The model is not loaded, or its golden outputs did not match."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class NotOfferedError(LadingError):
    """The protocol has this call, and this server does not."""

    status = HTTPStatus.NOT_IMPLEMENTED


class OverloadedError(LadingError):
    """The queue is full, or the deadline cannot be met. ``retry_after_s`` is the time until a retry, in seconds."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ExpiredError(LadingError):
    """The request's deadline passed before it was answered."""

    status = HTTPStatus.GATEWAY_TIMEOUT


class LateBodyError(LadingError):
    """The client did not send the body in time. The connection ends, because the rest may still come."""

    status = HTTPStatus.REQUEST_TIMEOUT


class UnauthorizedError(RequestError):
    """The request has no key, or an unknown one."""

    status = HTTPStatus.UNAUTHORIZED


class ForbiddenError(RequestError):
    """The requested operation is turned off on this server, or not what the key is for."""

    status = HTTPStatus.FORBIDDEN


class ServerError(LadingError):
    """The server cannot start: the port is in use, or this machine does not have the address."""


class BentoError(LadingError):
    """BentoML could not build the Bento."""


class OccupiedError(LadingError):
    """A folder or file to write holds something that is not Lading's, and would be lost."""

    exit_code = 2


class FetchError(LadingError):
    """An artifact cannot be fetched from its source."""


class ClientError(LadingError):
    """A server does not answer, refuses, or sends an unexpected answer. ``answered`` is its HTTP status."""

    def __init__(self, message: str, *, answered: int | None = None) -> None:
        self.answered = answered
        super().__init__(message)


class CheckError(LadingError):
    """A server's answers differ from those in its artifact; the message lists all differences."""


class KubernetesError(LadingError):
    """The Kubernetes API does not answer, or refuses; ``answered`` is its HTTP status."""

    def __init__(self, message: str, *, answered: int | None = None) -> None:
        self.answered = answered
        super().__init__(message)


class DeployError(LadingError):
    """A step of a deployment failed; the message says which, why, and how to go on."""


class CanaryError(LadingError):
    """A route or a release cannot be read or changed."""


def forget_frames(error: BaseException | None) -> None:
    """Let go of the frames that an error has passed, which hold the body in a cycle until garbage is collected."""
    while error is not None:
        error.__traceback__ = None
        after, error.__context__, error.__cause__ = error.__context__, None, None
        error = after
