"""uvicorn's parser, made strict: a request that two readers may understand differently is refused."""

from __future__ import annotations

from http import HTTPStatus

import httptools
import structlog

from lading.serve.http.framing import GOAWAY, RefusedError, check_head, not_http, path_of, without_upgrade
from lading.serve.http.lingering import LingeringHttp
from lading.serve.outcome import UNEXPECTED

log = structlog.get_logger("lading.server")


class StrictHttp(LingeringHttp):
    """Reads heads as :mod:`lading.serve.http.framing` says, and each without a wish to upgrade."""

    _upgrading = False
    """The head asks for another protocol. The parser ends with it, and begins again without that."""

    _host = b"\0"  # no request has that one: the parser refuses it
    """The last host that was accepted: a client sends the same one with each request."""

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        """Answer what no app has seen, after the answers that are due, and end the connection."""
        raise NotImplementedError

    def on_header(self, name: bytes, value: bytes) -> None:
        # Without uvicorn's look at each name, whether it is Expect.
        self.headers.append((name.lower(), value))

    def _checked_head(self) -> tuple[str, dict[bytes, bytes]] | None:
        """Version and headers by name; ``None`` where the parser begins again. Costs a microsecond.

        Raises:
            RefusedError: the head is refused.
        """
        parser, url, headers = self.parser, self.url, self.headers
        if url[:1] != b"/":
            self.url = path_of(url, parser.get_method())
        if parser.should_upgrade():
            self._upgrading = True
            return None
        named, version = dict(headers), parser.get_http_version()
        if b"expect" in named:
            self.expect_100_continue = named[b"expect"].lower() == b"100-continue"
        host = named.get(b"host")
        if version != "1.1" or len(named) != len(headers) or b"transfer-encoding" in named or host != self._host:
            check_head(version, headers, named)
            self._host = host or b""
        return version, named

    def _feed(self, data: bytes) -> None:
        """Give the parser what has arrived, and refuse what it or a callback of it does not take."""
        self._unset_keepalive_if_required()
        try:
            while True:
                try:
                    self.parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    data = data[upgrade.args[0] :]
                    self._begin_without_upgrade()
        except httptools.HttpParserError as error:
            self._refuse_unparsed(error, data)

    def _begin_without_upgrade(self) -> None:
        parser = self.parser
        head = without_upgrade(parser.get_method(), self.url, parser.get_http_version(), self.headers)
        self._upgrading = False
        self._renew_parser()
        self.parser.feed_data(head)

    def _renew_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

    def _refuse_unparsed(self, error: httptools.HttpParserError, data: bytes) -> None:
        cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
        if isinstance(cause, RefusedError):
            self._refuse(*cause.refusal)
        elif cause is not None:
            log.error("unexpected error", exc_info=cause)
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED)
        elif self.cycle is None and self.parser.get_method() == b"PRI":
            self._raw.write(GOAWAY)
            self.linger()
        else:
            self._refuse(*not_http(error, bytes(data[:1])))
