"""Sockets whose blocking reads and writes end at a deadline of the whole call.

httpx has time-outs for single operations only: a server that sends one byte a second never trips them. Its
async client can be put under `asyncio.timeout`; for the sync client the sockets themselves have to know. They
also look up every half second whether the call was given up, so that Ctrl-C and `close` end it.
"""

import contextlib
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore

_LOOK_UP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Patience:
    """Until when the call in this thread may use its socket.

    Attributes:
        until: `time.monotonic` instant.
        given_up: set by another thread to end the call now.
    """

    until: float
    given_up: threading.Event

    def left(self) -> float:
        """Seconds, 0 when the call is to end."""
        return 0.0 if self.given_up.is_set() else max(0.0, self.until - time.monotonic())


_PATIENCE: ContextVar[Patience] = ContextVar("patience")


@contextlib.contextmanager
def patience(of_this_call: Patience) -> Iterator[None]:
    """Let the socket operations of this thread end when `of_this_call` does."""
    token = _PATIENCE.set(of_this_call)
    try:
        yield
    finally:
        _PATIENCE.reset(token)


class PatientBackend(httpcore.NetworkBackend):
    """Connects sockets that heed the `patience` of the thread that uses them."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = time_left(timeout)
        if left <= 0:
            raise httpcore.ConnectTimeout("the deadline passed")
        stream = self._inner.connect_tcp(host, port, left, local_address, socket_options)
        return _PatientStream(stream)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _PatientStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            left = time_left(end - time.monotonic())
            if left <= 0:
                raise httpcore.ReadTimeout("no answer in time")
            with contextlib.suppress(httpcore.ReadTimeout):
                return self._inner.read(max_bytes, min(left, _LOOK_UP_SECONDS))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = time_left(timeout)
        if left <= 0:
            raise httpcore.WriteTimeout("the deadline passed")
        self._inner.write(buffer, left)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = time_left(timeout)
        if left <= 0:
            raise httpcore.ConnectTimeout("the deadline passed")
        return _PatientStream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


def time_left(timeout: float | None) -> float:
    """Seconds that an operation of the call in this thread may take."""
    limit = float("inf") if timeout is None else timeout
    call = _PATIENCE.get(None)
    return limit if call is None else min(limit, call.left())
