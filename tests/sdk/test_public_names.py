"""What the package offers, and what importing it costs."""

import inspect
import subprocess
import sys

import pytest

import guardreasoner_sdk

NAMES = [
    "Action",
    "Blocked",
    "CannotJudgeError",
    "Cascade",
    "ConfigError",
    "Conversation",
    "Coverage",
    "Decision",
    "Depth",
    "Finding",
    "Guard",
    "GuardError",
    "Guarded",
    "InputError",
    "Judge",
    "Label",
    "Outcome",
    "Policy",
    "Reasoner",
    "Reasoning",
    "Screener",
    "Stage",
    "Task",
    "Usage",
    "Verdict",
]
HEAVY = (
    "torch",
    "transformers",
    "vllm",
    "openai",
    "langchain",
    "langchain_core",
    "httpx",
    "onnxruntime",
    "numpy",
    "tokenizers",
    "typer",
    "rich",
    "pydantic_settings",
)


def test_the_public_names_are_these() -> None:
    assert guardreasoner_sdk.__all__ == NAMES == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(guardreasoner_sdk, name))


def test_the_names_are_listed_for_an_interactive_user() -> None:
    assert set(NAMES) <= set(dir(guardreasoner_sdk))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Gard"):
        guardreasoner_sdk.Gard  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import guardreasoner_sdk",
        "from guardreasoner_sdk import Blocked, Decision, Policy, Verdict",
        "from guardreasoner_sdk import Guard",
        "import guardreasoner_sdk.testing",
    ],
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    code += f"; import sys; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", ["screen", "screen_batch", "check", "call", "protect", "wrap", "close"])
def test_after_its_first_argument_a_method_of_the_guard_takes_names_only(name: str) -> None:
    parameters = list(inspect.signature(getattr(guardreasoner_sdk.Guard, name)).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    assert len(positional) <= 2  # self and one


@pytest.mark.parametrize("name", ["screen", "screen_batch", "check"])
def test_the_async_twin_of_a_method_takes_the_same(name: str) -> None:
    one = inspect.signature(getattr(guardreasoner_sdk.Guard, name))
    other = inspect.signature(getattr(guardreasoner_sdk.Guard, f"a{name}"))
    assert one == other
