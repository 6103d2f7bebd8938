"""The command, as a process of its own and in this one."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner, Result

from guardreasoner_sdk.cli import app
from guardreasoner_sdk.formats.guardreasoner import render
from guardreasoner_sdk.testing import Recording, ReplayServer
from tests.sdk.guards import answer

SCRIPT = Path(sys.executable).with_name("guardreasoner")
ROOT = Path(__file__).parents[3]

EVERYTHING_IS_HARMFUL = {"GUARDREASONER_THRESHOLDS": "prompt_harm=0.0000001,response_harm=0.0000001"}
"""So that what a test expects does not hang on what the screener has learnt."""
NOTHING_IS_HARMFUL = {"GUARDREASONER_THRESHOLDS": "prompt_harm=1,response_harm=1"}


def invoke(*arguments: str | Path, env: Mapping[str, str] | None = None, stdin: str | bytes = "") -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin, env=env)


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment for another one, without settings, and warnings being errors."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GUARDREASONER_")}
    return kept | {"PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"} | dict(env or {})


def run(
    *arguments: str | Path, env: Mapping[str, str] | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run the installed command."""
    return subprocess.run(
        [SCRIPT, *arguments],
        input=stdin,
        capture_output=True,
        env=environment(env),
        timeout=120,
        check=False,
    )


def replay(*prompts: str, harmful: bool = False, seconds_per_token: float = 0.0) -> ReplayServer:
    """A server whose guard model finds every one of the prompts harmful, or none."""
    recordings = [Recording(render(prompt, None), answer(harm=harmful)) for prompt in prompts]
    return ReplayServer({"guard": recordings}, seconds_per_token=seconds_per_token)
