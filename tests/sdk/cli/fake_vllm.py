"""Stands in for vLLM's command line, where no vLLM is: a replay server that takes its time, dies or hangs.

serve MODEL --port N [--dies] [--hangs] [--stubborn] [--worker FILE] [--anything ...]
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guardreasoner_sdk.formats.guardreasoner import render
from guardreasoner_sdk.testing import Recording, ReplayServer
from tests.sdk.guards import answer

PROMPT = "Hello! How are you today?"


def main() -> None:
    """Do as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dies", action="store_true", help="end with status 7 at once")
    parser.add_argument("--hangs", action="store_true", help="never listen")
    parser.add_argument("--stubborn", action="store_true", help="do not heed SIGINT and SIGTERM")
    parser.add_argument("--worker", type=Path, help="start a process, and write down its id")
    given, _ = parser.parse_known_args()
    print("vLLM's own log", sys.argv[1:])
    if given.worker is not None:
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        given.worker.write_text(str(os.posix_spawn(sys.executable, command, os.environ)))
    if given.dies:
        sys.exit(7)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if given.stubborn else lambda *_: sys.exit(0))
    if not given.hangs:
        _listen_on(given.port)
        recordings = {given.served_model_name: [Recording(render(PROMPT, None), answer())]}
        ReplayServer(recordings, api_key=os.environ.get("VLLM_API_KEY")).start()
    while True:
        time.sleep(60)


def _listen_on(port: int) -> None:
    """Make whatever listens from now on in this process listen on one port."""
    create: Callable[..., Any] = asyncio.BaseEventLoop.create_server

    async def create_server(
        self: asyncio.BaseEventLoop, factory: object, host: str, _: int, **more: object
    ) -> object:
        return await create(self, factory, host, port, **more)

    asyncio.BaseEventLoop.create_server = create_server  # type: ignore[assignment,method-assign]
