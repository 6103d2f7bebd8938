"""The two drivers of a flow, and the rounds that let many flows share an engine's batches.

A *flow* is a generator that yields what it needs done and is sent the result, so that logic is written
once for sync and async callers. Judges yield `Ask`s (requests to an engine); the guard yields effects.
"""

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

from guardreasoner_sdk.errors import CannotJudgeError, GuardError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class AnyEngine(Protocol):
    """An engine whose request and result types are the judge's business."""

    def run(self, requests: Sequence[Any], *, deadline: float | None = None) -> Sequence[object]: ...
    async def arun(self, requests: Sequence[Any], *, deadline: float | None = None) -> Sequence[object]: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """Requests that a judge wants an engine to answer. The flow is sent the results in order."""

    engine: AnyEngine
    requests: Sequence[object]


JudgeFlow: TypeAlias = Generator[Ask, Sequence[Any], T]
"""Yields `Ask`s; a request that failed is thrown in as its error."""


class Effect(Protocol[T_co]):
    """Something to be done, blocking or not."""

    def run(self) -> T_co: ...
    async def arun(self) -> T_co: ...


GuardFlow: TypeAlias = Generator[Effect[object], object, T]


def perform(effect: Effect[T]) -> GuardFlow[T]:
    """Yield one effect from a flow and give its result the right type."""
    return cast(T, (yield effect))


def run_flow(flow: GuardFlow[T]) -> T:
    """Drive a flow in this thread."""
    try:
        effect = next(flow)
        while True:
            try:
                result = effect.run()
            except BaseException as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as end:
        return cast(T, end.value)


async def arun_flow(flow: GuardFlow[T]) -> T:
    """Drive a flow on the running event loop."""
    try:
        effect = next(flow)
        while True:
            try:
                result = await effect.arun()
            except BaseException as error:
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as end:
        return cast(T, end.value)


class Rounds(Generic[T]):
    """Many judge flows, driven together: each round asks every engine once, with one batch.

    A flow that fails ends with its error in its place and does not disturb the others.
    """

    def __init__(self, flows: Sequence[JudgeFlow[T]], *, deadline: float | None) -> None:
        self._flows = flows
        self._deadline = deadline
        self._results: list[T | GuardError | None] = [None] * len(flows)
        self._asks: dict[int, Ask] = {}
        for n, flow in enumerate(flows):
            self._advance(n, lambda flow=flow: next(flow))  # type: ignore[misc]

    def run(self) -> list[T | GuardError]:
        """Drive all flows to their end in this thread."""
        while self._asks:
            for engine, owners in self._batches():
                self._feed(owners, engine.run(self._requests(owners), deadline=self._deadline))
        return cast(list[T | GuardError], self._results)

    async def arun(self) -> list[T | GuardError]:
        """Drive all flows to their end on the running event loop, the engines of a round side by side."""
        while self._asks:
            batches = self._batches()
            if len(batches) == 1:
                engine, owners = batches[0]
                self._feed(owners, await engine.arun(self._requests(owners), deadline=self._deadline))
                continue
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._ask(engine, self._requests(owners))) for engine, owners in batches
                ]
            for (_, owners), task in zip(batches, tasks, strict=True):
                self._feed(owners, task.result())
        return cast(list[T | GuardError], self._results)

    async def _ask(self, engine: AnyEngine, requests: Sequence[object]) -> Sequence[object]:
        return await engine.arun(requests, deadline=self._deadline)

    def _batches(self) -> list[tuple[AnyEngine, list[int]]]:
        batches: dict[int, tuple[AnyEngine, list[int]]] = {}
        for n, ask in self._asks.items():
            batches.setdefault(id(ask.engine), (ask.engine, []))[1].append(n)
        return list(batches.values())

    def _requests(self, owners: list[int]) -> list[object]:
        return [request for n in owners for request in self._asks[n].requests]

    def _feed(self, owners: list[int], answers: Sequence[object]) -> None:
        at = 0
        for n in owners:
            flow, size = self._flows[n], len(self._asks.pop(n).requests)
            mine = answers[at : at + size]
            at += size
            failed = next((answer for answer in mine if isinstance(answer, CannotJudgeError)), None)
            if failed is not None:
                self._advance(n, lambda flow=flow, failed=failed: flow.throw(failed))  # type: ignore[misc]
            else:
                self._advance(n, lambda flow=flow, mine=mine: flow.send(mine))  # type: ignore[misc]

    def _advance(self, n: int, step: "Any") -> None:
        try:
            self._asks[n] = step()
        except StopIteration as end:
            self._results[n] = end.value
        except GuardError as error:
            self._results[n] = error
