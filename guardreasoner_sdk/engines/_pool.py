"""Pools of connections for httpx, whose cost for a request does not grow with the number of connections.

httpcore's own pool looks at every connection, and polls every idle one, for every request: with 64 of them
that takes longer than the rest of the request together. Here the connection used last is used next, and no
other is touched. Each connection is httpcore's.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import httpcore
import httpx

from guardreasoner_sdk.engines._sockets import PatientBackend, time_left


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """Limits of a pool.

    Attributes:
        ssl_context: for https.
        max_connections: the most at once; who comes later waits.
        keepalive_seconds: how long an unused connection is good for.
    """

    ssl_context: ssl.SSLContext
    max_connections: int
    keepalive_seconds: float


class _Connection(Protocol):
    def has_expired(self) -> bool: ...
    def is_idle(self) -> bool: ...
    def is_closed(self) -> bool: ...


C = TypeVar("C", bound=_Connection)


class _Shelf(Generic[C]):
    """Connections that wait for a request, the one used last on top."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._piles: dict[str, list[C]] = {}
        self._closed = False

    def take(self, origin: str) -> tuple[C | None, list[C]]:
        """A connection that is still good, and those that turned out not to be."""
        expired: list[C] = []
        with self._lock:
            pile = self._piles.get(origin, [])
            while pile:
                connection = pile.pop()
                if not connection.has_expired():
                    return connection, expired
                expired.append(connection)
        return None, expired

    def put(self, origin: str, connection: C) -> bool:
        """Keep a connection, if it can be used again."""
        with self._lock:
            if self._closed or connection.is_closed() or not connection.is_idle():
                return False
            self._piles.setdefault(origin, []).append(connection)
            return True

    def clear(self) -> list[C]:
        """Keep none any more; those that were there."""
        with self._lock:
            self._closed = True
            left = [connection for pile in self._piles.values() for connection in pile]
            self._piles.clear()
        return left


class PooledTransport(httpx.BaseTransport):
    """The pool of all sync callers. Its sockets heed the `patience` of the thread that uses them."""

    def __init__(self, options: PoolOptions) -> None:
        self._options: Final = options
        self._shelf: _Shelf[httpcore.HTTPConnection] = _Shelf()
        self._slots = threading.BoundedSemaphore(options.max_connections)
        self._backend = PatientBackend()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; see `httpx.BaseTransport`."""
        if not self._slots.acquire(timeout=min(time_left(_pool_timeout(request)), threading.TIMEOUT_MAX)):
            raise httpx.PoolTimeout("no connection came free", request=request)
        core = _to_core(request)
        origin = str(core.url.origin)
        connection, expired = self._shelf.take(origin)
        try:
            for old in expired:
                old.close()
            connection = connection or httpcore.HTTPConnection(
                core.url.origin,
                ssl_context=self._options.ssl_context,
                keepalive_expiry=self._options.keepalive_seconds,
                network_backend=self._backend,
            )
            with _as_httpx():
                reply = connection.handle_request(core)
        except BaseException:
            self._give_back(origin, connection)
            raise
        body = _Body(self, origin, connection, reply)
        return httpx.Response(reply.status, headers=reply.headers, stream=body, extensions=reply.extensions)

    def close(self) -> None:
        """Close what is idle now, and the others when their requests end."""
        for connection in self._shelf.clear():
            connection.close()

    def _give_back(self, origin: str, connection: httpcore.HTTPConnection | None) -> None:
        try:
            if connection is not None and not self._shelf.put(origin, connection):
                connection.close()
        finally:
            self._slots.release()


class _Body(httpx.SyncByteStream):
    def __init__(
        self,
        pool: PooledTransport,
        origin: str,
        connection: httpcore.HTTPConnection,
        reply: httpcore.Response,
    ) -> None:
        self._pool = pool
        self._origin = origin
        self._connection = connection
        self._reply = reply
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._reply.stream, Iterable)
        with _as_httpx():
            yield from self._reply.stream

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            with _as_httpx():
                self._reply.close()
        finally:
            self._pool._give_back(self._origin, self._connection)


class AsyncPooledTransport(httpx.AsyncBaseTransport):
    """The pool of one event loop."""

    def __init__(self, options: PoolOptions) -> None:
        self._options: Final = options
        self._shelf: _Shelf[httpcore.AsyncHTTPConnection] = _Shelf()
        self._slots = asyncio.Semaphore(options.max_connections)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; see `httpx.AsyncBaseTransport`."""
        await self._wait_for_slot(request)
        core = _to_core(request)
        origin = str(core.url.origin)
        connection, expired = self._shelf.take(origin)
        try:
            for old in expired:
                await old.aclose()
            connection = connection or httpcore.AsyncHTTPConnection(
                core.url.origin,
                ssl_context=self._options.ssl_context,
                keepalive_expiry=self._options.keepalive_seconds,
            )
            with _as_httpx():
                reply = await connection.handle_async_request(core)
        except BaseException:
            await self._give_back(origin, connection)
            raise
        body = _AsyncBody(self, origin, connection, reply)
        return httpx.Response(reply.status, headers=reply.headers, stream=body, extensions=reply.extensions)

    async def aclose(self) -> None:
        """Close what is idle now, and the others when their requests end."""
        for connection in self._shelf.clear():
            await connection.aclose()

    async def _wait_for_slot(self, request: httpx.Request) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(_pool_timeout(request)):
                await self._slots.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("no connection came free", request=request) from error

    async def _give_back(self, origin: str, connection: httpcore.AsyncHTTPConnection | None) -> None:
        try:
            if connection is not None and not self._shelf.put(origin, connection):
                await connection.aclose()
        finally:
            self._slots.release()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(
        self,
        pool: AsyncPooledTransport,
        origin: str,
        connection: httpcore.AsyncHTTPConnection,
        reply: httpcore.Response,
    ) -> None:
        self._pool = pool
        self._origin = origin
        self._connection = connection
        self._reply = reply
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._reply.stream, AsyncIterable)
        with _as_httpx():
            async for piece in self._reply.stream:
                yield piece

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            with _as_httpx():
                await self._reply.aclose()
        finally:
            await self._pool._give_back(self._origin, self._connection)


def _to_core(request: httpx.Request) -> httpcore.Request:
    url = request.url
    assert isinstance(request.stream, Iterable | AsyncIterable)
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _pool_timeout(request: httpx.Request) -> float | None:
    timeout = request.extensions.get("timeout")
    seconds = timeout.get("pool") if isinstance(timeout, dict) else None
    return seconds if isinstance(seconds, int | float) else None


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """Raise httpcore's errors as those of httpx, which have the same names."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        kind: type[httpx.TransportError] = getattr(httpx, type(error).__name__, httpx.TransportError)
        raise kind(str(error)) from error
