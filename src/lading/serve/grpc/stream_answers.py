"""The answers of one ``ModelStreamInfer``: bounded, in the order of the requests, and as bytes."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from lading.errors.sentences import clipped
from lading.protocol.proto import inference_pb2 as pb
from lading.serve.outcome import Outcome

STREAM_IN_FLIGHT = 64
"""Maximum of unanswered requests on one stream; together they also have at most the bytes of one more than the largest
message. The next one is read when one is answered."""
ASK_FINAL = "triton_enable_empty_final_response"
"""Parameter of a request that wants to read in the answer that no other one follows."""
_FINAL_RESPONSE = "triton_final_response"
_FINAL = pb.ModelInferResponse(parameters={_FINAL_RESPONSE: pb.InferParameter(bool_param=True)}).SerializeToString()
"""Bytes that add this parameter to a serialized answer: a map's entries may come at any place of a message."""
_INFER_RESPONSE = bytes([pb.ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER << 3 | 2])
"""Tag of the field that holds an answer in a stream."""
_LONGEST_NAME = 256


class Asked(NamedTuple):
    """What the answer to a message says of it, so that the message is not kept."""

    message_id: str = ""
    model: str = ""
    final: bool = False
    """It has :data:`ASK_FINAL`."""
    readable: bool = True
    """False for bytes that were not read as a message: the stream ends."""

    @classmethod
    def by(cls, message: pb.ModelInferRequest) -> Asked:
        """What a message says."""
        parameters = message.parameters
        final = bool(parameters) and ASK_FINAL in parameters and parameters[ASK_FINAL].bool_param
        return cls(clipped(message.id, _LONGEST_NAME), clipped(message.model_name, _LONGEST_NAME), final)


class StreamAnswer(NamedTuple):
    """One answer, and the bytes of its request."""

    size: int
    asked: Asked
    outcome: Outcome[bytes]

    def to_bytes(self) -> bytes:
        """A ``ModelStreamInferResponse``."""
        asked, answer = self.asked, self.outcome.answer
        if answer is not None:
            # An answer may be large, and is not written twice: the field of a message, before its bytes.
            last = _FINAL if asked.final else b""
            return b"".join((_INFER_RESPONSE, _varint(len(answer) + len(last)), answer, last))
        named = pb.ModelInferResponse(id=asked.message_id, model_name=asked.model)
        if asked.final:
            named.parameters[_FINAL_RESPONSE].bool_param = True
        response = pb.ModelStreamInferResponse(error_message=self.outcome.error, infer_response=named)
        return bytes(response.SerializeToString())


class StreamAnswers:
    """What one stream has unanswered, and the answers that were not sent.

    Args:
        max_bytes: of the requests that may be unanswered, together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._count = self._bytes = 0
        self._changed = asyncio.Event()
        self._begun = self._turn = 0
        self._early: dict[int, StreamAnswer] = {}
        """Answers that wait for those before them."""
        self._ready: asyncio.Queue[StreamAnswer | None] = asyncio.Queue()

    async def room(self, most: int = STREAM_IN_FLIGHT - 1) -> None:
        """Wait until at most ``most`` requests, and not too many bytes, are unanswered."""
        while self._count > most or self._bytes >= self._max_bytes:
            self._changed.clear()
            await self._changed.wait()

    def begin(self, size: int) -> int:
        """Note a request of ``size`` bytes, and return its number."""
        self._count += 1
        self._bytes += size
        self._begun += 1
        return self._begun - 1

    def put(self, number: int, answer: StreamAnswer) -> None:
        """Send the answer to a request once those before it are sent."""
        self._early[number] = answer
        while (ready := self._early.pop(self._turn, None)) is not None:
            self._ready.put_nowait(ready)
            self._turn += 1

    def end(self) -> None:
        """Note that no request follows."""
        self._ready.put_nowait(None)

    async def next(self) -> StreamAnswer | None:
        """The next answer to send; ``None`` after the last one."""
        return await self._ready.get()

    def sent(self, answer: StreamAnswer) -> None:
        """Make room for another request. Only now, so that a client that does not read is not read from either."""
        self._count -= 1
        self._bytes -= answer.size
        self._changed.set()


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)
