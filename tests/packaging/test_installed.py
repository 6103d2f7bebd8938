"""The wheel, installed into environments that hold nothing else."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)

HEAVY = (
    "torch",
    "transformers",
    "vllm",
    "openai",
    "langchain",
    "langchain_core",
    "opentelemetry",
    "starlette",
)
PACKAGES = ("guardreasoner_langchain", "guardreasoner_openai", "guardreasoner_sdk", "guardreasoner_trainer")
EXTRAS = {
    "gateway": ("starlette", "uvicorn"),
    "langchain": ("langchain_core", "langchain"),
    "openai": ("openai",),
    "otel": ("opentelemetry",),
}
"""The extras that install in seconds, and what each is to bring."""


def run(*command: str | Path, cwd: Path, fails: bool = False) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert bool(done.returncode) is fails, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def importable(python: Path, names: tuple[str, ...], cwd: Path) -> dict[str, bool]:
    code = f"""
import importlib.util, json
print(json.dumps({{name: importlib.util.find_spec(name) is not None for name in {names!r}}}))
"""
    found: dict[str, bool] = json.loads(run(python, "-c", code, cwd=cwd))
    return found


def test_the_core_brings_nothing_heavy(core: Path, tmp_path: Path) -> None:
    assert not any(importable(core, HEAVY, tmp_path).values())


@pytest.mark.parametrize("package", ["guardreasoner_sdk", "guardreasoner_trainer"])
def test_a_package_without_clients_imports_with_the_core_alone(
    package: str, core: Path, tmp_path: Path
) -> None:
    run(core, "-W", "error", "-c", f"import {package}", cwd=tmp_path)


def test_the_embedded_guard_screens_with_the_core_alone(core: Path, tmp_path: Path) -> None:
    code = """
from guardreasoner_sdk import Guard
with Guard() as guard:
    verdict = guard.screen("How do I bake bread?", response="Knead flour, water, salt and yeast.")
print(verdict.model_dump_json())
"""
    verdict = json.loads(run(core, "-W", "error", "-c", code, cwd=tmp_path))
    assert (verdict["judge"], verdict["engine"]) == ("screener", "onnx")
    assert {task: verdict[task]["label"] for task in ("prompt_harm", "refusal", "response_harm")} == {
        "prompt_harm": "unharmful",
        "refusal": "compliance",
        "response_harm": "unharmful",
    }


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["doctor"], ["demo"]])
def test_the_command_runs_with_the_core_alone(arguments: list[str], core: Path, tmp_path: Path) -> None:
    assert run(core.parent / "guardreasoner", *arguments, cwd=tmp_path)


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("from guardreasoner_sdk import Guard; Guard('a/model', engine='transformers')", "transformers"),
        ("from guardreasoner_sdk import Guard; Guard('a/model', engine='vllm')", "vllm"),
        ("import guardreasoner_openai", "openai"),
        ("import guardreasoner_langchain", "langchain"),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_installs_it(
    code: str, extra: str, core: Path, tmp_path: Path
) -> None:
    done = subprocess.run([core, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "MissingDependencyError" in done.stderr
    assert f"pip install 'guardreasoner-sdk[{extra}]'" in done.stderr


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_what_it_is_for_and_nothing_of_the_others(
    extra: str, install: Callable[[str | None], Path], tmp_path: Path
) -> None:
    python = install(extra)
    run(python, "-W", "error", "-c", "import guardreasoner_sdk", cwd=tmp_path)
    run(python, "-c", f"import {', '.join(EXTRAS[extra])}", cwd=tmp_path)
    others = tuple(name for other, names in EXTRAS.items() if other != extra for name in names)
    assert not any(importable(python, ("torch", "transformers", *others), tmp_path).values())
