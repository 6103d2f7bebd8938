"""``guardreasoner serve``: vLLM's own server, set up for a guard."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from types import FrameType
from typing import Annotated

import typer

from guardreasoner_sdk.cli._common import Status, fail, findings_line
from guardreasoner_sdk.errors import GuardError
from guardreasoner_sdk.options import GuardOptions

_ANY = ("0.0.0.0", "::")  # noqa: S104  (where a server listens, not where a client connects)


def serve(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Guard model: hub id or folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    served_model_name: Annotated[
        str | None, typer.Option(help="The name clients use; default the model's.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of the weights.")] = None,
    startup_timeout: Annotated[float, typer.Option(help="Seconds until it has to be up.")] = 1800.0,
) -> None:
    """Start a vLLM server for a guard model, wait until it is up, warm it up, and say how to use it.

    Whatever else is given is passed on to vLLM, such as --max-model-len 4096 or --gpu-memory-utilization 0.5.
    An API key is read from GUARDREASONER_API_KEY (or VLLM_API_KEY), so that it is in no process list.
    Ctrl-C and SIGTERM stop the server.
    """
    if find_spec("vllm") is None:
        fail("serving a model needs vLLM, which is not installed: pip install 'guardreasoner-sdk[vllm]'")
    port = port or _free_port()
    name = served_model_name or model
    command = server_command(model, host=host, port=port, name=name, revision=revision, more=context.args)
    environment = dict(os.environ)
    key = environment.get("GUARDREASONER_API_KEY") or environment.get("VLLM_API_KEY")
    if key:
        environment["VLLM_API_KEY"] = key
    typer.echo(f"starting: {shlex.join(command)}", err=True)
    with subprocess.Popen(command, env=environment, start_new_session=True) as server:  # noqa: S603
        stop = _forward_signals(server)
        url = f"http://{'127.0.0.1' if host in _ANY else host}:{port}"
        try:
            _wait_for_health(server, url, startup_timeout, stop)
            if not stop:
                _warm_up(name, url, key)
                _say_how_to_use_it(name, url, key is not None)
            status = server.wait()
        finally:
            _end(server)
    raise SystemExit(0 if stop else status)


def server_command(
    model: str, *, host: str, port: int, name: str, revision: str | None, more: list[str]
) -> list[str]:
    """The command line of the server.

    Prefix caching serves the instruction, the windows of one request and growing responses; token details
    tell how much of it was used.
    """
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--served-model-name", name, "--host", host, "--port", str(port)]
    command += ["--enable-prefix-caching", "--enable-prompt-tokens-details"]
    if revision is not None:
        command += ["--revision", revision]
    return [*command, *more]


def _forward_signals(server: "subprocess.Popen[bytes]") -> list[int]:
    """Pass Ctrl-C and SIGTERM on to the server. The list holds what came."""
    came: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if server.poll() is None:
            server.send_signal(signal.SIGINT if len(came) == 1 else signal.SIGKILL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    return came


def _wait_for_health(server: "subprocess.Popen[bytes]", url: str, seconds: float, stop: list[int]) -> None:
    import httpx

    until = time.monotonic() + seconds
    with httpx.Client(base_url=url, timeout=5.0, trust_env=False) as client:
        while not stop:
            if server.poll() is not None:
                fail(
                    f"vLLM ended with status {server.returncode}; what it printed above says why",
                    Status.UNJUDGED,
                )
            try:
                if client.get("/health").status_code == 200:
                    return
            except httpx.HTTPError:
                pass  # not listening yet
            if time.monotonic() > until:
                fail(f"the server was not up after {seconds:g} s; raise --startup-timeout", Status.UNJUDGED)
            time.sleep(0.5)


def _warm_up(name: str, url: str, key: str | None) -> None:
    """One real screening: what the first user would otherwise wait for is done now."""
    from guardreasoner_sdk.guard import Guard

    options: GuardOptions = {"url": f"{url}/v1", "deadline": 300.0}
    if key:
        options["api_key"] = key
    with Guard(name, judge="reasoner", cache="off", **options) as guard:
        try:
            verdict = guard.screen("Hello! How are you today?")
        except GuardError as error:
            typer.echo(f"the first screening failed: {type(error).__name__}: {error}", err=True)
        else:
            typer.echo(f"warmed up in {verdict.latency:.1f} s: {findings_line(verdict)}", err=True)


def _say_how_to_use_it(name: str, url: str, keyed: bool) -> None:
    typer.echo("\nready. On the client's side:\n")
    typer.echo(f'    guard = Guard({name!r}, url="{url}/v1")')
    if keyed:
        typer.echo("    # with the key in GUARDREASONER_API_KEY")
    typer.echo(f"    guardreasoner screen --model {shlex.quote(name)} --url {url}/v1 'Hello'\n")
    sys.stdout.flush()


def _end(server: "subprocess.Popen[bytes]") -> None:
    """Leave no process behind, whatever happened."""
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
