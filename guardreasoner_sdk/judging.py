"""How a verdict is reached: by a reasoner, by the screener, or by one after the other. Pure flows."""

import time
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from guardreasoner_sdk._drive import Ask, JudgeFlow
from guardreasoner_sdk.context import Exchange
from guardreasoner_sdk.labels import Depth, Task
from guardreasoner_sdk.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions:
    """What a call asks of a judge; every field but `deadline` is in the cache key.

    Attributes:
        depth: how much to reason.
        max_reasoning_tokens: budget for reasoning.
        deadline: `time.monotonic` instant by which there must be a verdict.
        scores: whether label probabilities are wanted.
    """

    depth: Depth = Depth.FULL
    max_reasoning_tokens: int | None = None
    deadline: float | None = None
    scores: bool = True


class Closable(Protocol):
    """Something that holds resources."""

    def close(self) -> None: ...
    async def aclose(self) -> None: ...


@runtime_checkable
class Judge(Protocol):
    """Reaches verdicts by asking engines."""

    @property
    def name(self) -> str:
        """``screener``, ``reasoner``, ``cascade``, …."""

    @property
    def identity(self) -> str:
        """Everything about it that can change a verdict; part of the cache key."""

    @property
    def tasks(self) -> frozenset[Task]:
        """The tasks it can answer."""

    @property
    def engines(self) -> tuple[Closable, ...]:
        """What it asks, to be closed with the guard."""

    def judge(
        self, exchange: Exchange, *, tasks: frozenset[Task], options: JudgeOptions
    ) -> JudgeFlow[Verdict]:
        """Reach a verdict with a finding for each of `tasks` that has something to judge.

        Raises (from the flow):
            CannotJudgeError: no verdict was reached.
        """
