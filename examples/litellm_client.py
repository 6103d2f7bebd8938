"""LiteLLM under guard: any callable can be wrapped, and its replies and chunks are known by shape.

    pip install guardreasoner-sdk litellm
    LITELLM_MODEL=ollama/llama3 python examples/litellm_client.py

Without LITELLM_MODEL, a stand-in answers in the same shapes.
"""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from guardreasoner_sdk import Blocked, Guard

MODEL = os.environ.get("LITELLM_MODEL", "stand-in")


def real() -> Callable[..., Any]:
    """LiteLLM's function."""
    from litellm import completion

    function: Callable[..., Any] = completion
    return function


def stand_in(model: str, messages: list[dict[str, str]], stream: bool = False) -> object:
    """Answers like LiteLLM's function."""
    text = "Bread keeps for days in a bag of cloth, and for months in the freezer."
    if not stream:
        message = SimpleNamespace(role="assistant", content=text)
        return SimpleNamespace(choices=[SimpleNamespace(index=0, message=message)])
    deltas = (SimpleNamespace(content=word + " ") for word in text.split())
    return (SimpleNamespace(choices=[SimpleNamespace(index=0, delta=delta)]) for delta in deltas)


unguarded: Callable[..., Any] = real() if "LITELLM_MODEL" in os.environ else stand_in
completion = Guard().wrap(unguarded)


def main(prompt: str) -> None:
    """Ask once for a whole reply, and once for a stream."""
    messages = [{"role": "user", "content": prompt}]
    try:
        print(completion(MODEL, messages).choices[0].message.content)
        for chunk in completion(MODEL, messages, stream=True):
            print(chunk.choices[0].delta.content or "", end="", flush=True)
        print()
    except Blocked as blocked:
        print(f"[{blocked.decision.message}]")


if __name__ == "__main__":
    main("How do I keep bread fresh?")
