"""What guarding adds to a client: to a plain call, to the first token of a stream and to its last.

    python benchmarks/adapters.py [--json] [--only NAME]

A model and its timing are played by a server in a process of its own; the guard is a classifier that answers
at once, or after a while. Bare and guarded clients ask in turns, so that what else the machine does falls on
both, and each figure is the median of its turns. Three tables:

- two instant checks around a plain call of a model that answers at once;
- a model of 300 ms and a guard of 100 ms, plain and streamed;
- the time to the first token with the request checked, with and without overlap, for a guard faster and one
  slower than the model, and with the response checked, too.

The OpenAI client and LangChain's model, sync and async. Figures of other guards stand in
``benchmarks/RESULTS.md``.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final, Protocol

from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, OpenAI
from rich.console import Console
from rich.table import Table

from guardreasoner_sdk import Guard, Screener, Task
from guardreasoner_sdk.testing import FakeClassifier
from guardreasoner_sdk.testing._loopback import Answered, Asked, LoopbackServer

PROMPT: Final = "What is a good way to keep bread fresh for a week?"
TOKEN: Final = "Slice the bread, and freeze it. "
TOKENS: Final = 20
FIRST_SEGMENT: Final = 200
"""Characters that the guard waits for before it first looks at a stream: the default of `chunk_size`."""


@dataclass(frozen=True)
class Timing:
    """How the model answers. Seconds.

    Attributes:
        first: to the first token, or to the whole of a plain reply less what its tokens take.
        gap: between tokens.
    """

    first: float = 0.0
    gap: float = 0.0

    @property
    def last(self) -> float:
        """To the end of the reply."""
        return self.first + self.gap * (TOKENS - 1)

    @property
    def segment(self) -> float:
        """To the token that completes the first segment."""
        return self.first + self.gap * (-(-FIRST_SEGMENT // len(TOKEN)) - 1)


# -- the model


def answer(asked: Asked) -> Answered:
    """A chat completion whose timing stands in the name of the model: ``first,gap``."""
    body = json.loads(asked.body)
    timing = Timing(*map(float, body["model"].split(",")))
    envelope = {"id": "c", "created": 0, "model": body["model"]}
    if not body.get("stream"):
        message = {"role": "assistant", "content": TOKEN * TOKENS}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        usage = {"prompt_tokens": 9, "completion_tokens": TOKENS, "total_tokens": 9 + TOKENS}
        whole = {**envelope, "object": "chat.completion", "choices": [choice], "usage": usage}
        return Answered(200, [(timing.last, json.dumps(whole).encode())])
    pieces = [(timing.gap if n else timing.first, {"content": TOKEN}, None) for n in range(TOKENS)]
    events = [
        (
            seconds,
            {
                **envelope,
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            },
        )
        for seconds, delta, finish in [*pieces, (0.0, {}, "stop")]
    ]
    sent = [(seconds, b"data: %b\n\n" % json.dumps(event).encode()) for seconds, event in events]
    return Answered(200, [*sent, (0.0, b"data: [DONE]\n\n")], "text/event-stream", streamed=True)


def serve(pipe: Connection) -> None:
    """The model's server in this process, until told to stop."""
    with LoopbackServer(answer) as server:
        pipe.send(f"{server.root}/v1")
        pipe.recv()


@contextmanager
def model() -> Iterator[str]:
    """The address of the model, in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join(30)


# -- the clients


@dataclass(frozen=True)
class Spent:
    """Seconds from the call to the first text and to the last."""

    first: float
    last: float


class Client(Protocol):
    """One way to ask the model."""

    def ask(self, timing: Timing, *, stream: bool) -> Spent:
        """Ask once, and read all that comes."""


class _Clock:
    """Notes when text comes."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._first: float | None = None

    def text(self, text: object) -> None:
        if text and self._first is None:
            self._first = time.perf_counter() - self._started

    def stop(self) -> Spent:
        last = time.perf_counter() - self._started
        return Spent(last if self._first is None else self._first, last)


def name_of(timing: Timing) -> str:
    """The model that answers so."""
    return f"{timing.first},{timing.gap}"


class OpenAISync:
    """The official client."""

    def __init__(self, url: str, guard: Guard | None, stack: ExitStack) -> None:
        client = stack.enter_context(OpenAI(base_url=url, api_key="k", max_retries=0))
        self._client = client if guard is None else guard.wrap(client)

    def ask(self, timing: Timing, *, stream: bool) -> Spent:
        """Ask once, and read all that comes."""
        clock = _Clock()
        if stream:
            with self._client.chat.completions.create(
                model=name_of(timing), messages=[{"role": "user", "content": PROMPT}], stream=True
            ) as chunks:
                for chunk in chunks:
                    clock.text(chunk.choices[0].delta.content)
        else:
            self._client.chat.completions.create(
                model=name_of(timing), messages=[{"role": "user", "content": PROMPT}]
            )
        return clock.stop()


class OpenAIAsync:
    """The official async client, always in one event loop."""

    def __init__(self, url: str, guard: Guard | None, stack: ExitStack, runner: asyncio.Runner) -> None:
        client = AsyncOpenAI(base_url=url, api_key="k", max_retries=0)
        stack.callback(lambda: runner.run(client.close()))
        self._runner = runner
        self._client = client if guard is None else guard.wrap(client)

    def ask(self, timing: Timing, *, stream: bool) -> Spent:
        """Ask once, and read all that comes."""
        return self._runner.run(self._ask(timing, stream=stream))

    async def _ask(self, timing: Timing, *, stream: bool) -> Spent:
        clock = _Clock()
        if stream:
            async with await self._client.chat.completions.create(
                model=name_of(timing), messages=[{"role": "user", "content": PROMPT}], stream=True
            ) as chunks:
                async for chunk in chunks:
                    clock.text(chunk.choices[0].delta.content)
        else:
            await self._client.chat.completions.create(
                model=name_of(timing), messages=[{"role": "user", "content": PROMPT}]
            )
        return clock.stop()


class LangChain:
    """LangChain's model over the official client, sync or async."""

    def __init__(self, url: str, guard: Guard | None, runner: asyncio.Runner | None) -> None:
        self._url = url
        self._guard = guard
        self._runner = runner
        self._models: dict[Timing, ChatOpenAI] = {}

    def ask(self, timing: Timing, *, stream: bool) -> Spent:
        """Ask once, and read all that comes."""
        asked = self._models.get(timing)
        if asked is None:
            asked = ChatOpenAI(model=name_of(timing), base_url=self._url, api_key="k", max_retries=0)
            asked = self._models[timing] = asked if self._guard is None else self._guard.wrap(asked)
        if self._runner is not None:
            return self._runner.run(_ask_langchain(asked, stream=stream))
        clock = _Clock()
        if stream:
            for chunk in asked.stream(PROMPT):
                clock.text(chunk.content)
        else:
            asked.invoke(PROMPT)
        return clock.stop()


async def _ask_langchain(asked: ChatOpenAI, *, stream: bool) -> Spent:
    clock = _Clock()
    if stream:
        async for chunk in asked.astream(PROMPT):
            clock.text(chunk.content)
    else:
        await asked.ainvoke(PROMPT)
    return clock.stop()


KINDS: Final = ("OpenAI", "OpenAI async", "LangChain", "LangChain async")


def client_of(kind: str, url: str, guard: Guard | None, stack: ExitStack, runner: asyncio.Runner) -> Client:
    """A bare or guarded client."""
    match kind:
        case "OpenAI":
            return OpenAISync(url, guard, stack)
        case "OpenAI async":
            return OpenAIAsync(url, guard, stack, runner)
        case "LangChain":
            return LangChain(url, guard, None)
        case _:
            return LangChain(url, guard, runner)


def guard_of(seconds: float, *, output: bool, overlap: bool = True) -> Guard:
    """A guard that allows everything, after a while."""
    classifier = FakeClassifier(dict.fromkeys(Task, 0.01), seconds=seconds)
    return Guard(judge=Screener(classifier), cache="off", check_output=output, overlap=overlap)


# -- measuring


def medians(
    sides: Mapping[str, Client], timing: Timing, *, stream: bool, turns: int, warm: int
) -> dict[str, Spent]:
    """Each side's median, asked in turns."""
    spent: dict[str, list[Spent]] = {name: [] for name in sides}
    for turn in range(warm + turns):
        for name, client in sides.items():
            each = client.ask(timing, stream=stream)
            if turn >= warm:
                spent[name].append(each)
    return {
        name: Spent(
            statistics.median(each.first for each in all_), statistics.median(each.last for each in all_)
        )
        for name, all_ in spent.items()
    }


@dataclass(frozen=True)
class Figure:
    """A row of a table: milliseconds, and the most they may be."""

    what: str
    bare: float
    guarded: float
    at_most: float | None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.at_most is None else self.guarded <= self.at_most


def instant(kind: str, url: str, turns: int) -> Iterator[Figure]:
    """Two instant checks around a plain call: what they add."""
    with asyncio.Runner() as runner, ExitStack() as stack:
        guards = {
            "two instant checks": guard_of(0.0, output=True),
            "the same, no overlap": guard_of(0.0, output=True, overlap=False),
        }
        sides = {"bare": client_of(kind, url, None, stack, runner)}
        sides |= {name: client_of(kind, url, guard, stack, runner) for name, guard in guards.items()}
        for stream in (False, True):
            found = medians(sides, Timing(), stream=stream, turns=turns, warm=turns // 10)
            bare = found["bare"].last * 1e3
            for name in guards:
                how = f"{kind}, {'stream' if stream else 'plain'}, {name}"
                at_most = None if stream else bare + 0.4
                yield Figure(how, bare, found[name].last * 1e3, at_most)


def model_300_guard_100(kind: str, url: str, turns: int) -> Iterator[Figure]:
    """A model of 300 ms and a guard of 100 ms."""
    with asyncio.Runner() as runner, ExitStack() as stack:
        sides = {
            "bare": client_of(kind, url, None, stack, runner),
            "input": client_of(kind, url, guard_of(0.1, output=False), stack, runner),
            "both": client_of(kind, url, guard_of(0.1, output=True), stack, runner),
        }
        for stream in (False, True):
            timing = Timing(first=0.15, gap=0.15 / (TOKENS - 1)) if stream else Timing(first=0.3)
            found = medians(sides, timing, stream=stream, turns=turns, warm=1)
            for side, at_most in (("input", 305.0), ("both", 405.0)):
                how = f"{kind}, {'stream to its end' if stream else 'plain'}, {side}"
                yield Figure(how, found["bare"].last * 1e3, found[side].last * 1e3, at_most)


def first_token(kind: str, url: str, turns: int) -> Iterator[Figure]:
    """The time to the first token of a stream."""
    timing = Timing(first=0.1, gap=0.01)
    with asyncio.Runner() as runner, ExitStack() as stack:
        for speed, seconds in (("faster", 0.05), ("slower", 0.2)):
            guards = {
                "input, overlap": guard_of(seconds, output=False),
                "input, no overlap": guard_of(seconds, output=False, overlap=False),
                "both, overlap": guard_of(seconds, output=True),
            }
            sides = {"bare": client_of(kind, url, None, stack, runner)}
            sides |= {name: client_of(kind, url, guard, stack, runner) for name, guard in guards.items()}
            found = medians(sides, timing, stream=True, turns=turns, warm=1)
            bare = found["bare"].first * 1e3
            most = {
                "input, overlap": 1.1 * max(bare, seconds * 1e3),
                "input, no overlap": None,
                # The first segment, or the verdict on the request if that takes longer, and one verdict.
                "both, overlap": 1.1 * (max(timing.segment, seconds) + seconds) * 1e3,
            }
            for name, at_most in most.items():
                how = f"{kind}, guard {speed} than the model, {name}"
                yield Figure(how, bare, found[name].first * 1e3, at_most)


TABLES: Final[Mapping[str, tuple[str, Callable[[str, str, int], Iterator[Figure]], int]]] = {
    "instant": ("Two instant checks around a call of a model that answers at once", instant, 300),
    "fixed": ("A model of 300 ms, a guard of 100 ms", model_300_guard_100, 9),
    "first": ("To the first token: a model of 100 ms, a guard of 50 or 200 ms", first_token, 9),
}


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print one table."""
    table = Table("what", "bare (ms)", "guarded (ms)", "added", "at most (ms)", title=title)
    table.title_justify = "left"
    for each in figures:
        most = "" if each.at_most is None else f"{each.at_most:.2f}{'' if each.met else '  MISSED'}"
        added = f"{each.guarded - each.bare:.2f}"
        table.add_row(each.what, f"{each.bare:.2f}", f"{each.guarded:.2f}", added, most)
    Console(width=120).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=TABLES, action="append")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--turns", type=int, help="of every table, in place of its own number")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with model() as url:
        for name in arguments.only or TABLES:
            title, measure, turns = TABLES[name]
            kinds = arguments.kind or KINDS
            figures = [f for kind in kinds for f in measure(kind, url, arguments.turns or turns)]
            if arguments.json:
                print(json.dumps({name: [vars(each) for each in figures]}))
            else:
                show(title, figures)


if __name__ == "__main__":
    main()
