"""``guardreasoner serve`` with a real vLLM."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from guardreasoner_sdk import Guard
from guardreasoner_sdk.errors import EngineAuthError
from tests.live.conftest import NO_ENVIRONMENT, NOT_IMPORTABLE
from tests.live.servers import ENVIRONMENT
from tests.live.vllm_env import is_ready

pytest.importorskip("torch", reason=NOT_IMPORTABLE)
pytest.importorskip("transformers", reason=NOT_IMPORTABLE)

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not is_ready(), reason=NO_ENVIRONMENT),
]

SCRIPT = Path(sys.executable).with_name("guardreasoner")
OPTIONS = ("--port", "0", "--max-model-len", "4096", "--dtype", "float32", "--enforce-eager")
KEY = "sesame"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.live.tiny_llama import make_model

    return make_model(tmp_path_factory.mktemp("served"), labels="whole")


def command(model: Path | str, *more: str, log: Path) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GUARDREASONER_")}
    with log.open("wb") as said:
        return subprocess.Popen(
            [SCRIPT, "serve", model, *OPTIONS, *more],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={**kept, **ENVIRONMENT, "VLLM_LOGGING_LEVEL": "INFO", "GUARDREASONER_API_KEY": KEY},
        )


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, and those that they have."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found |= {child} | descendants(child)
    return found


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_it_serves_a_guard_until_it_is_told_to_stop(tiny: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with command(tiny, "--served-model-name", "guard", log=log) as process:
        try:
            assert process.stdout is not None
            found = (re.search(r"--url (\S+)", line) for line in process.stdout)
            url = next((match.group(1) for match in found if match), None)
            assert url is not None, log.read_text()[-3000:]
            with Guard(url=url, api_key=KEY, depth="answer", deadline=60, cache="off") as guard:
                verdict = guard.screen("How do I bake bread?", response="With flour.")
            with Guard(url=url, cache="off") as stranger, pytest.raises(EngineAuthError):
                stranger.screen("How do I bake bread?")
            started = descendants(process.pid)
            process.send_signal(signal.SIGTERM)
            status = process.wait(60)
        finally:
            process.kill()
    said = log.read_text()
    assert verdict.model == "guard"
    assert len(verdict.findings) == 3
    assert "warmed up: the first screening took" in said
    assert "'max_model_len': 4096" in said  # vLLM's own log of what it was started with
    assert status == 0
    assert started
    assert [pid for pid in started if alive(pid)] == []


def test_a_model_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with command(tmp_path / "no-model", log=log) as process:
        status = process.wait(240)
    assert status == 3
    assert re.search(r"guardreasoner: vLLM ended with status \d+ before it was up", log.read_text())
