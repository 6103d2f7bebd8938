"""Anthropic's client under guard: any callable can be wrapped, and its replies and events are known by shape.

    pip install guardreasoner-sdk anthropic
    ANTHROPIC_API_KEY=... ANTHROPIC_MODEL=... python examples/anthropic_client.py

Without ANTHROPIC_MODEL, a stand-in answers in the same shapes.
"""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from guardreasoner_sdk import Blocked, Guard

MODEL = os.environ.get("ANTHROPIC_MODEL", "stand-in")


def real() -> Callable[..., Any]:
    """Anthropic's method."""
    from anthropic import Anthropic

    create: Callable[..., Any] = Anthropic().messages.create
    return create


def stand_in(*, model: str, max_tokens: int, messages: list[dict[str, str]], stream: bool = False) -> object:
    """Answers like Anthropic's method."""
    text = "Bread keeps for days in a bag of cloth, and for months in the freezer."
    if not stream:
        return SimpleNamespace(role="assistant", content=[SimpleNamespace(type="text", text=text)])
    deltas = (SimpleNamespace(type="text_delta", text=word + " ") for word in text.split())
    return (SimpleNamespace(type="content_block_delta", index=0, delta=delta) for delta in deltas)


unguarded: Callable[..., Any] = real() if "ANTHROPIC_MODEL" in os.environ else stand_in
create = Guard().wrap(unguarded)


def main(prompt: str) -> None:
    """Ask once for a whole reply, and once for a stream."""
    messages = [{"role": "user", "content": prompt}]
    try:
        reply = create(model=MODEL, max_tokens=500, messages=messages)
        print("".join(block.text for block in reply.content if block.type == "text"))
        for event in create(model=MODEL, max_tokens=500, messages=messages, stream=True):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                print(event.delta.text, end="", flush=True)
        print()
    except Blocked as blocked:
        print(f"[{blocked.decision.message}]")


if __name__ == "__main__":
    main("How do I keep bread fresh?")
