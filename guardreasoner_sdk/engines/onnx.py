"""The embedded screener's runtime: a small encoder on the CPU, through onnxruntime.

Every window is run alone, as a batch of one. A network quantized by onnxruntime's dynamic int8 scales its
activations over the whole batch, so that texts run together, and padding, would change each other's scores;
and on a CPU a batch saves next to nothing (`benchmarks/screener.py`). Windows are run side by side instead,
each on a core of its own.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from guardreasoner_sdk._closing import Closing
from guardreasoner_sdk.engines._screener_call import ScreenerCall
from guardreasoner_sdk.engines._screener_files import EMBEDDED, Choice, read_screener
from guardreasoner_sdk.errors import CannotJudgeError, ConfigError, GuardClosedError
from guardreasoner_sdk.labels import Task
from guardreasoner_sdk.ports import Classification, ClassificationRequest, EngineInfo

MOST_THREADS = 4
"""Of the default: a guard should leave cores to what it guards."""

WORST: Mapping[Task, Choice] = {Task.PROMPT_HARM: "max", Task.RESPONSE_HARM: "max", Task.REFUSAL: "min"}
"""Any harmful window is harmful; a response is refused only if no window of it complies."""


class OnnxClassifier(Closing):
    """A `ClassifierEngine` over a screener's folder.

    The constructor loads and checks everything, some 0.1 s of work; nothing is downloaded. A request with a
    response that is asked for all tasks costs two passes: the request, and the response beside its head.

    Args:
        folder: with ``model.onnx``, ``tokenizer.json`` and ``config.json``. Default: the embedded screener.
        threads: the most cores used at once, by all calls together. Default: those that this process may use,
            at most 4.

    Raises:
        ConfigError: the folder is not a screener's, its files do not belong together, or the network does
            not run.
    """

    def __init__(self, folder: Path | None = None, *, threads: int | None = None) -> None:
        from guardreasoner_sdk.engines._screener_network import load_screener

        if threads is not None and threads < 1:
            raise ConfigError(f"threads is {threads}; it must be at least 1")
        files = read_screener(EMBEDDED if folder is None else Path(folder))
        self._network, self._reader = load_screener(files)
        self._thresholds = files.thresholds
        self._choices = {task: head.windows or WORST[task] for task, head in files.config.heads.items()}
        self._info = EngineInfo(
            engine="onnx",
            model=f"{files.config.name}-{files.config.version}",
            revision=files.revision,
            device="cpu",
            max_model_len=files.config.max_tokens,
        )
        self._threads = threads or min(MOST_THREADS, _cores())
        self._closed = False
        self._lock = threading.Lock()
        self._workers: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    @property
    def info(self) -> EngineInfo:
        """What runs. Its `revision` is that of the weights, then a digest of the tokenizer and settings."""
        return self._info

    @property
    def thresholds(self) -> Mapping[Task, float]:
        """From which probability a task's positive label holds, as chosen when the screener was made."""
        return self._thresholds

    def run(
        self, requests: Sequence[ClassificationRequest], *, deadline: float | None = None
    ) -> Sequence[Classification | CannotJudgeError]:
        """See `Engine.run`. What was answered by the deadline is given; a window being run ends unheard."""
        call = self._call(requests, deadline)
        try:
            with contextlib.suppress(TimeoutError):
                call.done.result(timeout=_left(deadline))
        finally:
            call.stop()
        return call.answers()

    async def arun(
        self, requests: Sequence[ClassificationRequest], *, deadline: float | None = None
    ) -> Sequence[Classification | CannotJudgeError]:
        """See `Engine.arun`. Cancelling it stops the work after the window being run."""
        call = self._call(requests, deadline)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_left(deadline)):
                    await asyncio.wrap_future(call.done)
        finally:
            call.stop()
        return call.answers()

    def close(self) -> None:
        """Let the workers go. Calls in flight end with `GuardClosedError`. Idempotent."""
        with self._lock:
            self._closed = True
            workers, self._workers = self._workers, None
        if workers is not None and self._process == os.getpid():
            workers.shutdown()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:
        return f"OnnxClassifier(model={self._info.model!r}, threads={self._threads})"

    def _call(self, requests: Sequence[ClassificationRequest], deadline: float | None) -> ScreenerCall:
        call = ScreenerCall(
            requests,
            network=self._network,
            reader=self._reader,
            choices=self._choices,
            submit=self._submit,
            deadline=deadline,
        )
        call.start(self._threads)
        return call

    def _submit(self, job: ScreenerCall) -> None:
        with self._lock:
            if self._closed:
                raise GuardClosedError("this screener was closed; make a new one")
            if self._workers is None or self._process != os.getpid():  # threads do not live on in a fork
                self._workers = ThreadPoolExecutor(self._threads, thread_name_prefix="guardreasoner-screener")
                self._process = os.getpid()
            self._workers.submit(job)


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
