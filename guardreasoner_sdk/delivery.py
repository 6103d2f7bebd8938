"""Streams behind a gate: items go from a source through a gate to the consumer, as a judge allows.

All decisions are the gate's. The two functions here read, ask and pass on, blocking or not.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable
from contextlib import AsyncExitStack, ExitStack
from typing import Generic, TypeVar

from guardreasoner_sdk.streaming import Check, StreamGate

T = TypeVar("T")

_PATIENCE = 1.0
"""Seconds after which a source that goes on reading is cancelled again."""


def stream_sync(
    source: Iterable[T],
    judge: Callable[[Check], bool],
    *,
    gate: StreamGate[T],
    blocked: Callable[[], list[T]],
) -> Generator[T, None, None]:
    """Pass on from `source` what `judge` allows. The source is not read while a check is being judged.

    The first text leaves after the first segment and its verdict. An error of the source passes on after
    what was judged; what was not is dropped. The source is closed (`close`, where it has one) at its end, on
    a block, on any error, and when the consumer closes this generator; one that was never begun leaves its
    source to its owner.

    Args:
        source: the items, such as the chunks of a client library.
        judge: whether a check is allowed. What it raises (an engine's error) ends the stream, and nothing
            more leaves.
        gate: a new one for this response.
        blocked: asked when a check is not allowed, after the source is closed: raises (`Blocked`), or gives
            the items that end the stream in place of the rest (a message).
    """
    with ExitStack() as stack:
        stack.callback(close_stream, source)
        items = iter(source)
        if items is not source:
            stack.callback(close_stream, items)
        allowed = True
        while allowed:
            if check := gate.due():
                allowed = judge(check)
                if allowed:
                    yield from gate.passed(check)
            elif gate.ended:
                yield from gate.rest()
                return
            else:
                try:
                    item = next(items)
                except StopIteration:
                    gate.end()
                else:
                    gate.push(item)
        gate.drop()
        stack.close()
        yield from blocked()


async def stream_async(
    source: AsyncIterable[T],
    judge: Callable[[Check], Awaitable[bool]],
    *,
    gate: StreamGate[T],
    blocked: Callable[[], list[T]],
    before: Callable[[], Awaitable[bool]] | None = None,
    look_ahead: int = 1000,
) -> AsyncGenerator[T, None]:
    """`stream_sync` for an async source, which is read on while a check is being judged.

    So a guard does not slow the model down, and the next check takes all that has come meanwhile. The source
    is read, and closed (`aclose`, else `close`), in one task of its own. A consumer that may stop early
    wraps this in `contextlib.aclosing`, as any async generator, to have the source closed at once.

    Args:
        source: see `stream_sync`.
        judge: see `stream_sync`.
        gate: see `stream_sync`.
        blocked: see `stream_sync`.
        before: judged first, while the source is already being read: the request, where it may overlap with
            its response. If not allowed, or if it raises, the stream ends as on a check.
        look_ahead: the most items to read before they are asked for. With 0 the checks are those of
            `stream_sync`.
    """
    async with AsyncExitStack() as stack:
        pump = _Pump(source, gate, look_ahead)
        stack.push_async_callback(pump.stop)
        allowed = before is None or await before()
        while allowed:
            if check := gate.due():
                allowed = await judge(check)
                if allowed:
                    for item in gate.passed(check):
                        yield item
            elif gate.ended:
                for item in gate.rest():
                    yield item
                return
            else:
                await pump.more()
        gate.drop()
        await stack.aclose()
        for item in blocked():
            yield item


class _Pump(Generic[T]):
    """Moves items from an async source into a gate, in a task of its own.

    One task reads and closes the source, since what a source holds open across its items (task groups,
    cancel scopes, context variables) belongs to the task that opened it.
    """

    def __init__(self, source: AsyncIterable[T], gate: StreamGate[T], look_ahead: int) -> None:
        self._source = source
        self._gate = gate
        self._look_ahead = look_ahead
        self._room = look_ahead  # how many items may still be read before `more` is called again
        self._asked = asyncio.Event()
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._begun = self._closing = self._stopping = False
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: self._news.set())

    async def more(self) -> None:
        """Wait until the gate has something new, be it the end. Raises what the source raised."""
        if self._error is not None:
            raise self._error
        if self._task.done():
            self._task.result()
        self._room = self._look_ahead + 1
        self._asked.set()
        await self._news.wait()
        self._news.clear()

    async def stop(self) -> None:
        """Stop reading and close the source. Raises what closing it raised."""
        self._stopping = True
        while not self._task.done():
            if not self._closing:
                self._task.cancel()
            await asyncio.wait([self._task], timeout=_PATIENCE)
        if not self._begun:  # cancelled before its first step: nobody has closed the source
            await aclose_stream(self._source)
        if not self._task.cancelled():
            self._task.result()

    async def _run(self) -> None:
        self._begun = True
        items: object = None
        try:
            items = iterator = aiter(self._source)
            # A cancellation can be lost in the source: `asyncio.wait_for` of Python 3.11 gives what it waited
            # for where that came at the same moment, and LangChain's OpenAI model reads through it.
            while not self._stopping:
                while self._room < 1:
                    self._asked.clear()
                    await self._asked.wait()
                try:
                    item = await anext(iterator)
                except StopAsyncIteration:
                    break
                self._gate.push(item)
                self._room -= 1
                self._news.set()
            self._gate.end()
            self._news.set()
        except Exception as error:
            self._error = error
        finally:
            self._closing = True
            if items is not self._source:
                await aclose_stream(items)
            await aclose_stream(self._source)


def close_stream(source: object) -> None:
    """Close a stream, if it can be closed."""
    close = getattr(source, "close", None)
    if callable(close):
        close()


async def aclose_stream(source: object) -> None:
    """Close an async source, if it can be closed."""
    close = getattr(source, "aclose", None) or getattr(source, "close", None)
    if callable(close):
        closing = close()
        if isinstance(closing, Awaitable):
            await closing
