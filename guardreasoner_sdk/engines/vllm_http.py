"""A vLLM server, over HTTP."""

import asyncio
import itertools
import math
import secrets
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from guardreasoner_sdk._closing import Closing
from guardreasoner_sdk._drive import GuardFlow, arun_flow, run_flow
from guardreasoner_sdk.engines._completions import generation_call, health_call, models_call
from guardreasoner_sdk.engines._dispatch import Dispatch, Endpoints
from guardreasoner_sdk.engines._scoring import PathMemory, score
from guardreasoner_sdk.errors import (
    CannotJudgeError,
    ConfigError,
    MissingDependencyError,
    ModelNotFoundError,
)
from guardreasoner_sdk.ports import EngineInfo, GenerationRequest, TextRequest, TextResult

if TYPE_CHECKING:
    from guardreasoner_sdk.engines._http import Wire


class VLLMServer(Closing):
    """A `TextEngine` that asks one or several vLLM servers through ``/v1/completions``.

    One pool of connections serves all sync callers, and one those of each event loop. A failing server is put
    aside and the next is asked; what may succeed later is tried again with growing, jittered waits inside the
    deadline; then there is a typed error that names the server, the cause and the next step.

    Args:
        url: of the server, such as ``http://gpu-1:8000/v1`` (the ``/v1`` may be left out), or several that
            serve the same model: the first that works is used.
        model: the name under which it is served. ``None`` asks the server on the first use, and is an error
            if it serves several.
        revision: of the weights. The server does not tell; what is declared is in verdicts and cache keys.
        api_key: sent as a bearer token. Never shown.
        timeout: seconds for one request with all its repetitions, where the call has no deadline.
        connect_timeout: seconds for a connection.
        read_timeout: seconds of silence. A completion that is not streamed is silent until it is done.
        pool_timeout: seconds to wait for a free connection.
        max_connections: the most requests in flight from sync callers, and from each event loop.
        max_retries: how often to wait and try again after every server has failed once.
        ssl_context: for https; the default trusts what httpx trusts.

    Raises:
        ConfigError: a setting that cannot work.
        MissingDependencyError: httpx is not installed.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        model: str | None = None,
        revision: str | None = None,
        api_key: str | None = None,
        timeout: float = 300.0,
        connect_timeout: float = 5.0,
        read_timeout: float = 120.0,
        pool_timeout: float = 60.0,
        max_connections: int = 64,
        max_retries: int = 3,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        for name, seconds in (
            ("timeout", timeout),
            ("connect_timeout", connect_timeout),
            ("read_timeout", read_timeout),
            ("pool_timeout", pool_timeout),
        ):
            if not (math.isfinite(seconds) and seconds > 0):
                raise ConfigError(f"{name} is {seconds!r}; it must be a positive number of seconds")
        if max_connections < 1:
            raise ConfigError(f"max_connections is {max_connections}; it must be at least 1")
        if max_retries < 0:
            raise ConfigError(f"max_retries is {max_retries}; it must be at least 0")
        # What HTTP cannot send would be quoted in the error of the library that refuses it.
        if api_key is not None and not (
            api_key and api_key.isascii() and api_key.isprintable() and api_key == api_key.strip()
        ):
            raise ConfigError("api_key must be printable ASCII without white space around it or line breaks")
        self._endpoints = Endpoints([url] if isinstance(url, str) else url)
        self._model = model
        self._revision = revision
        self._secret = api_key
        self._timeout = timeout
        self._max_connections = max_connections
        self._max_retries = max_retries
        # Before the server has said which model it has, nothing may be found in a cache under its name.
        self._unknown = f"unasked-{secrets.token_hex(8)}"
        self._memory = PathMemory()
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._wire = _wire(
            api_key=api_key,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            pool_timeout=pool_timeout,
            max_connections=max_connections,
            ssl_context=ssl_context,
        )

    def __repr__(self) -> str:
        return f"VLLMServer({', '.join(self._endpoints.names)!r}, model={self._model!r})"

    @property
    def info(self) -> EngineInfo:
        """What runs. The model is a placeholder, unlike any other, until the server has been asked for it."""
        return EngineInfo(
            engine="vllm-http",
            model=self._model or self._unknown,
            revision=self._revision,
            endpoint=", ".join(self._endpoints.names),
        )

    def run(
        self, requests: Sequence[TextRequest], *, deadline: float | None = None
    ) -> Sequence[TextResult | CannotJudgeError]:
        """See `Engine.run`. A batch runs on up to `max_connections` threads, which stay for the next one."""
        self._wire.check_open()
        if len(requests) <= 1:
            return [self._answer(request, deadline) for request in requests]
        results: list[TextResult | CannotJudgeError | None] = [None] * len(requests)
        todo = _Todo(requests)

        def work() -> None:
            for n, request in todo:
                results[n] = self._answer(request, deadline)

        workers = [self._pool().submit(work) for _ in range(min(len(requests), self._max_connections))]
        try:
            for worker in workers:
                worker.result()
        finally:
            todo.clear()
        return _whole(results)

    async def arun(
        self, requests: Sequence[TextRequest], *, deadline: float | None = None
    ) -> Sequence[TextResult | CannotJudgeError]:
        """See `Engine.arun`."""
        self._wire.check_open()
        if len(requests) <= 1:
            return [await self._aanswer(request, deadline) for request in requests]
        results: list[TextResult | CannotJudgeError | None] = [None] * len(requests)
        todo = _Todo(requests)

        async def work() -> None:
            for n, request in todo:
                results[n] = await self._aanswer(request, deadline)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(requests), self._max_connections)):
                group.create_task(work())
        return _whole(results)

    def models(self) -> tuple[str, ...]:
        """The names under which the first server that works has models.

        A single one is from then on what a server without `model` is asked for, and stands in `info`.

        Raises:
            CannotJudgeError: no server told, of the kind that fits.
        """
        names = run_flow(self._dispatch(None).call(models_call()))
        if self._model is None and len(names) == 1:
            self._model = names[0]
        return names

    def healthy(self) -> bool:
        """Whether a server says that it is up. While it loads a model it does not.

        Raises:
            GuardClosedError: after `close`.
        """
        try:
            return run_flow(self._dispatch(None).call(health_call()))
        except CannotJudgeError:
            return False

    def close(self) -> None:
        """End what is in flight and close the connections. Idempotent."""
        self._wire.close()
        self._dismiss()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        await self._wire.aclose()
        self._dismiss()

    def _answer(self, request: TextRequest, deadline: float | None) -> TextResult | CannotJudgeError:
        try:
            return run_flow(self._flow(request, deadline))
        except CannotJudgeError as error:
            return error

    async def _aanswer(self, request: TextRequest, deadline: float | None) -> TextResult | CannotJudgeError:
        try:
            return await arun_flow(self._flow(request, deadline))
        except CannotJudgeError as error:
            return error

    def _dispatch(self, deadline: float | None) -> Dispatch:
        return Dispatch(
            wire=self._wire,
            endpoints=self._endpoints,
            max_retries=self._max_retries,
            deadline=time.monotonic() + self._timeout if deadline is None else deadline,
            secret=self._secret,
        )

    def _flow(self, request: TextRequest, deadline: float | None) -> GuardFlow[TextResult]:
        dispatch = self._dispatch(deadline)
        model = self._model
        if model is None:
            model = self._model = yield from self._served_model(dispatch)
        if isinstance(request, GenerationRequest):
            return (yield from dispatch.call(generation_call(request, model=model)))
        return (yield from score(request, model=model, memory=self._memory, dispatch=dispatch))

    def _served_model(self, dispatch: Dispatch) -> GuardFlow[str]:
        names = yield from dispatch.call(models_call())
        if len(names) > 1:
            raise ModelNotFoundError(
                f"{self._endpoints.names[0]} serves {len(names)} models: {', '.join(names[:10])}. "
                f"Say which with model="
            )
        return names[0]

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            self._wire.check_open()
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._max_connections, thread_name_prefix="vllm-server")
            return self._threads

    def _dismiss(self) -> None:
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)


class _Todo:
    """The requests that no worker has taken yet."""

    def __init__(self, requests: Sequence[TextRequest]) -> None:
        self._left: Iterator[tuple[int, TextRequest]] = iter(enumerate(requests))
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[tuple[int, TextRequest]]:
        while True:
            with self._lock:
                taken = next(self._left, None)
            if taken is None:
                return
            yield taken

    def clear(self) -> None:
        """Let the workers stop after what they are at."""
        with self._lock:
            self._left = itertools.chain(())


def _whole(results: list[TextResult | CannotJudgeError | None]) -> list[TextResult | CannotJudgeError]:
    found = [result for result in results if result is not None]
    assert len(found) == len(results)
    return found


def _wire(
    *,
    api_key: str | None,
    connect_timeout: float,
    read_timeout: float,
    pool_timeout: float,
    max_connections: int,
    ssl_context: ssl.SSLContext | None,
) -> "Wire":
    try:
        from guardreasoner_sdk.engines._http import HttpOptions, Wire
    except ImportError as error:
        raise MissingDependencyError("httpx", "all", purpose="A vLLM server over HTTP") from error
    return Wire(
        HttpOptions(
            api_key=api_key,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            pool_timeout=pool_timeout,
            max_connections=max_connections,
            ssl_context=ssl_context,
        )
    )
