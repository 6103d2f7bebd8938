"""Start a real vLLM server on CPU for a test, and stop it whatever happens.

    with vllm_server(model_directory) as server:
        httpx.post(f"{server.url}/completions", ...)

The server runs in the environment that `vllm_env.py` makes, on a free port of the loopback interface, in a
process group of its own: vLLM starts further processes, and all of them must end with the test.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.live.vllm_env import DEFAULT_DIR, python_of

SERVED_NAME = "guard"

ENVIRONMENT: Mapping[str, str] = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # vLLM compiles how it ranks log-probabilities, --enforce-eager or not: the first request for them would
    # wait 15 s for a C++ compiler.
    "TORCHDYNAMO_DISABLE": "1",
    # One process instead of two behind the API: half the start-up, and nothing spins on the second core.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
"""What vLLM on CPU needs, here and in process: no NUMA binding in containers, no hub, no reporting home."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server."""

    url: str
    """Base of the OpenAI-compatible routes, ending in `/v1`."""
    root: str
    """Base of vLLM's own routes (`/health`, `/tokenize`, ...)."""
    log: Path
    """What the server has printed so far."""
    pid: int
    """Of the server's first process, which is also its process group."""


@contextlib.contextmanager
def vllm_server(
    model: Path,
    *,
    arguments: Sequence[str] = (),
    max_model_len: int = 4096,
    dtype: str = "float32",
    startup_seconds: float = 240.0,
    environment: Path = DEFAULT_DIR,
) -> Iterator[Server]:
    """Run vLLM's OpenAI-compatible server on `model` until the block is left.

    Args:
        model: a local model folder; it is served under the name `guard`.
        arguments: further arguments of vLLM's own command line.
        max_model_len: longest prompt and answer together, in tokens.
        dtype: of the weights and the arithmetic; float32 so that scores can be compared with transformers'.
        startup_seconds: how long `/health` may take to answer. The first start also byte-compiles vLLM.
        environment: the virtual environment that holds vLLM.

    Raises:
        FileNotFoundError: there is no such environment.
        RuntimeError: the server ended or was not ready in time; the message holds the end of its log.
    """
    python = python_of(environment)
    if not python.exists():
        raise FileNotFoundError(f"no vLLM environment in {environment}: run `python tests/live/vllm_env.py`")
    port = _free_port()
    command: list[str] = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", SERVED_NAME, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--max-model-len", str(max_model_len), "--dtype", dtype, "--enforce-eager", *arguments]
    with tempfile.TemporaryDirectory(prefix="vllm-server-") as scratch:
        log = Path(scratch) / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **ENVIRONMENT},
                cwd=scratch,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        try:
            root = f"http://127.0.0.1:{port}"
            _wait_until_healthy(f"{root}/health", process, log=log, seconds=startup_seconds)
            yield Server(url=f"{root}/v1", root=root, log=log, pid=process.pid)
        finally:
            _stop(process)


def _end_with_parent() -> None:
    """Ask Linux for a SIGTERM when the test process dies: one that is killed cannot clean up after itself."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], *, log: Path, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise RuntimeError(f"vLLM ended with status {process.returncode}:\n{_tail(log)}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:  # refused, reset, timed out, or an HTTP status that says "not yet"
            time.sleep(0.2)
    raise RuntimeError(f"vLLM did not answer on {url} within {seconds:.0f} s:\n{_tail(log)}")


def _tail(log: Path, *, lines: int = 40) -> str:
    return "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-lines:])


def _stop(process: subprocess.Popen[bytes], *, patience_seconds: float = 10.0) -> None:
    """End the whole process group: politely, then by force, also where the first process has already died."""
    if _signal_group(process.pid, signal.SIGTERM):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience_seconds)
        _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: signal.Signals) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True
