"""A vLLM that dies or is closed while it works: errors, and never an allow."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("vllm", reason="vLLM is not importable here: run with .venv-vllm/bin/python")

from guardreasoner_sdk import Guard, GuardError, Verdict
from guardreasoner_sdk.errors import CannotJudgeError, EngineUnavailableError, GuardClosedError
from tests.live.servers import Server, vllm_server
from tests.live.tiny_llama import make_model
from tests.live.vllm_env import ROOT, is_ready

pytestmark = pytest.mark.vllm

PROMPTS = [f"How do I bake bread for {n} people?" for n in range(6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny-doomed"), ends=False)


@pytest.fixture(scope="module")
def doomed_server(folder: Path) -> Iterator[Callable[[], Server]]:
    """A server that nobody else uses, started beside the engine that nobody else uses."""
    if not is_ready():
        yield lambda: pytest.skip("no vLLM environment: run `make env-vllm`")
        return
    with ThreadPoolExecutor(1) as starter, ExitStack() as running:
        up = starter.submit(lambda: running.enter_context(vllm_server(folder)))
        try:
            yield up.result
        finally:
            up.exception()


def screened_while(guard: Guard, kill: Callable[[], None]) -> list[Verdict | GuardError]:
    """What becomes of a batch when `kill` is called while it is under way."""
    guard.screen(PROMPTS[0], max_reasoning_tokens=1)  # what is done once has been done
    found: list[Verdict | GuardError] = []
    batch = threading.Thread(target=lambda: found.extend(guard.screen_batch(PROMPTS, return_errors=True)))
    batch.start()
    time.sleep(1.0)
    assert not found
    kill()
    batch.join(timeout=60)
    return found


def test_an_engine_process_that_is_killed_gives_errors(
    folder: Path, doomed_server: Callable[[], Server]
) -> None:
    before = set(multiprocessing.active_children())
    guard = Guard(str(folder), engine="vllm", dtype="float32", cache="off")
    (core,) = set(multiprocessing.active_children()) - before
    results = screened_while(guard, core.kill)
    assert len(results) == len(PROMPTS)
    assert all(isinstance(result, EngineUnavailableError) for result in results)
    outcome = guard.check(PROMPTS[0])
    assert outcome.decision.action == "block"
    assert outcome.verdict is None
    guard.close()
    guard.close()
    with pytest.raises(GuardClosedError):
        guard.screen(PROMPTS[0])


def test_a_server_that_is_killed_gives_errors(doomed_server: Callable[[], Server]) -> None:
    server = doomed_server()
    with Guard("guard", url=server.url, cache="off", max_retries=0) as guard:
        results = screened_while(guard, lambda: os.killpg(server.pid, signal.SIGKILL))
        assert len(results) == len(PROMPTS)
        assert all(isinstance(result, CannotJudgeError) for result in results)
        outcome = guard.check(PROMPTS[0])
    assert outcome.decision.action == "block"
    assert outcome.verdict is None


_CLOSED_UNDER_WAY = """
import sys, threading, time
from guardreasoner_sdk.engines.vllm import VLLMEngine
from guardreasoner_sdk.errors import GuardClosedError
from guardreasoner_sdk.ports import GenerationRequest

def main():
    engine = VLLMEngine(sys.argv[1], dtype="float32")
    engine.run([GenerationRequest(prompt="x", max_tokens=1)])
    def work():
        try:
            engine.run([GenerationRequest(prompt="x", max_tokens=8000)] * 3)
        except GuardClosedError:
            print("the call was ended")
    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(1)
    engine.close()
    thread.join(30)
    engine.close()
    try:
        engine.run([])
    except GuardClosedError:
        print("and no other is taken")

if __name__ == "__main__":
    main()
"""

_NEVER_CLOSED = """
import sys
from guardreasoner_sdk.engines.vllm import VLLMEngine
from guardreasoner_sdk.ports import GenerationRequest

if __name__ == "__main__":
    engine = VLLMEngine(sys.argv[1], dtype="float32")
    print(engine.run([GenerationRequest(prompt="x", max_tokens=1)])[0].finish_reason)
"""

_NO_MAIN_GUARD = """
import sys
from guardreasoner_sdk.engines.vllm import VLLMEngine

VLLMEngine(sys.argv[1], dtype="float32")
"""


def script(text: str, folder: Path, tmp_path: Path) -> "subprocess.CompletedProcess[str]":
    path = tmp_path / "script.py"
    path.write_text(text, "utf-8")
    return subprocess.run(
        [sys.executable, str(path), str(folder)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=240,
        check=False,
    )


@pytest.mark.full
def test_closing_ends_what_runs_and_leaves_no_trace(folder: Path, tmp_path: Path) -> None:
    ended = script(_CLOSED_UNDER_WAY, folder, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-2:] == ["the call was ended", "and no other is taken"]
    assert "Traceback" not in ended.stderr


@pytest.mark.full
def test_a_program_that_never_closes_ends_cleanly(folder: Path, tmp_path: Path) -> None:
    ended = script(_NEVER_CLOSED, folder, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "length"
    assert "Traceback" not in ended.stderr


@pytest.mark.full
def test_a_script_without_a_main_guard_is_told_so(folder: Path, tmp_path: Path) -> None:
    ended = script(_NO_MAIN_GUARD, folder, tmp_path)
    assert ended.returncode != 0
    last = ended.stderr.splitlines()[-1]
    assert "ConfigError" in last
    assert '__name__ == "__main__"' in last
