"""One call to the screener: its windows, handed to workers as they come free, and what came of them."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from guardreasoner_sdk.engines._screener_files import Choice
from guardreasoner_sdk.engines._screener_windows import TokenWindow, WindowReader
from guardreasoner_sdk.errors import (
    CannotJudgeError,
    EngineRequestError,
    EngineTimeoutError,
)
from guardreasoner_sdk.labels import REQUEST_TASKS, RESPONSE_TASKS, Task
from guardreasoner_sdk.ports import Classification, ClassificationRequest

if TYPE_CHECKING:
    from guardreasoner_sdk.engines._screener_network import ScreenerNetwork

GRAIN_TOKENS = 256
"""After so many tokens (some 25 ms) a worker turns to the next call: a long text holds up no short one."""

SOME_CHARS = 800
"""About a window's worth of text. Only used to guess how many workers a call can keep busy."""


class Submit(Protocol):
    """Puts a job at the end of the workers' queue. Raises `GuardClosedError` once they are gone."""

    def __call__(self, job: "ScreenerCall", /) -> None: ...


@dataclass(slots=True)
class _Tally:
    """What is known of one request's answer. `unread` ends when its last window was handed out."""

    probabilities: dict[Task, float] = field(default_factory=dict)
    unread: bool = True
    running: int = 0
    windows: dict[frozenset[Task], int] = field(default_factory=dict)
    tokens: int = 0
    error: CannotJudgeError | None = None


class ScreenerCall:
    """The state of one `run` or `arun`. Workers call it; the caller waits for `done` and asks for answers."""

    def __init__(
        self,
        requests: Sequence[ClassificationRequest],
        *,
        network: "ScreenerNetwork",
        reader: WindowReader,
        choices: Mapping[Task, Choice],
        submit: Submit,
        deadline: float | None,
    ) -> None:
        self._requests = requests
        self._network = network
        self._choices = choices
        self._submit = submit
        self._deadline = deadline
        self._tallies = [_Tally() for _ in requests]
        self._windows = self._read(reader)
        self._reading = threading.Lock()  # one worker at a time tokenizes; the others run what is there
        self._lock = threading.Lock()  # over everything below and the tallies
        self._workers = 0
        self._stopped = False
        self._failure: BaseException | None = None
        self.done: Future[None] = Future()
        self.done.set_running_or_notify_cancel()  # from here on a cancelled caller cannot cancel it

    def start(self, workers: int) -> None:
        """Hand the call to as many workers as it can use, at most `workers`."""
        wanted = 0
        for request in self._requests:
            if wanted >= workers:
                break
            wanted += _sequences(request)
        if self._requests:  # a request with nothing to judge has to be looked at, too
            wanted = max(1, min(wanted, workers))
        self._workers = wanted
        for _ in range(wanted):
            self._submit(self)
        if not wanted:
            self.done.set_result(None)

    def stop(self) -> None:
        """Nothing more is run."""
        self._stopped = True

    def __call__(self) -> None:
        """A worker's turn: some windows, and then to the end of the queue."""
        more = False
        try:
            more = self._turn()
            if more:
                self._submit(self)
        except BaseException as failure:  # the caller is told, not the executor
            more, self._failure = False, failure
        finally:
            if not more:
                with self._lock:
                    self._workers -= 1
                    last = self._workers == 0
                if last:
                    self.done.set_result(None)

    def answers(self) -> list[Classification | CannotJudgeError]:
        """What there is for each request; `EngineTimeoutError` for those without an answer.

        Raises:
            GuardClosedError: the engine was closed before the last window was run.
        """
        if self._failure is not None:
            raise self._failure
        with self._lock:
            return [self._answer(tally) for tally in self._tallies]

    def _answer(self, tally: _Tally) -> Classification | CannotJudgeError:
        if tally.error is not None:
            return tally.error
        if tally.unread or tally.running:
            return EngineTimeoutError(
                "the deadline passed before the screener had read the text to its end "
                f"({tally.tokens:,} tokens so far): allow more time or screen less text"
            )
        return Classification(
            probabilities={task: tally.probabilities[task] for task in Task if task in tally.probabilities},
            windows=max(tally.windows.values(), default=1),
            tokens=tally.tokens,
        )

    def _turn(self) -> bool:
        """Run some windows. Returns whether there may be more."""
        tokens = 0
        while tokens < GRAIN_TOKENS:
            if self._stopped or (self._deadline is not None and time.monotonic() >= self._deadline):
                return False
            with self._reading:
                window = next(self._windows, None)
            if window is None:
                return False
            self._run(window)
            tokens += len(window.ids)
        return True

    def _run(self, window: TokenWindow) -> None:
        tally = self._tallies[window.request]
        found: dict[Task, float] = {}
        error: CannotJudgeError | None = None
        try:
            found = self._network.probabilities(window)
        except CannotJudgeError as failed:
            error = failed
        with self._lock:
            tally.error = tally.error or error
            tally.running -= 1
            tally.tokens += len(window.ids)
            for task, probability in found.items():
                known = tally.probabilities.get(task)
                tally.probabilities[task] = self._decides(task, known, probability, first=window.first)

    def _decides(self, task: Task, known: float | None, new: float, *, first: bool) -> float:
        if known is None:
            return new
        match self._choices[task]:
            case "max":
                return max(known, new)
            case "min":
                return min(known, new)
            case "first":
                return new if first else known

    def _read(self, reader: WindowReader) -> Iterator[TokenWindow]:
        """All windows, those of short texts first: a deadline then costs the fewest answers."""
        for index in sorted(range(len(self._requests)), key=lambda n: _length(self._requests[n])):
            request, tally = self._requests[index], self._tallies[index]
            error: CannotJudgeError | None = None
            try:
                for window in reader.windows(index, request):
                    with self._lock:
                        if tally.error is not None:
                            break
                        tally.running += 1
                        tally.windows[window.tasks] = tally.windows.get(window.tasks, 0) + 1
                    yield window
            except Exception as exc:  # tokenizers raises plain Exception, and TypeError for lone surrogates
                error = EngineRequestError(f"the screener's tokenizer cannot read the text: {exc}")
                error.__cause__ = exc
            with self._lock:
                tally.error = tally.error or error
                tally.unread = False


def _length(request: ClassificationRequest) -> int:
    return len(request.prompt) + len(request.response or "")


def _sequences(request: ClassificationRequest) -> int:
    """About how many windows a request makes, so that workers are not woken for nothing."""
    count = 0
    if request.tasks & REQUEST_TASKS:
        count += 1 + len(request.prompt) // SOME_CHARS
    if request.response is not None and request.tasks & RESPONSE_TASKS:
        count += 1 + len(request.response) // SOME_CHARS
    return count
