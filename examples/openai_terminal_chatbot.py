"""A chatbot in a terminal: an OpenAI client under guard, which streams and remembers.

    pip install 'guardreasoner-sdk[openai]'
    python examples/openai_terminal_chatbot.py

OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL tell which model answers. Whatever shows was judged before;
a turn that was blocked is not remembered.
"""

import os
from collections.abc import Iterator

from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from guardreasoner_sdk import Blocked, Guard

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")

client = Guard().wrap(OpenAI())  # the one line that guards it


def answer(messages: list[ChatCompletionMessageParam]) -> Iterator[str]:
    """What the model says, as it comes."""
    with client.chat.completions.create(model=MODEL, messages=messages, stream=True) as stream:
        for chunk in stream:
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""


def lines() -> Iterator[str]:
    """What is typed, up to an empty line or the end of the input."""
    try:
        while line := input("> ").strip():
            yield line
    except EOFError:
        print()


def main() -> None:
    """Talk until there is nothing more to say."""
    history: list[ChatCompletionMessageParam] = []
    print("Say something. An empty line ends it.")
    for line in lines():
        turn: ChatCompletionMessageParam = {"role": "user", "content": line}
        reply = ""
        try:
            for piece in answer([*history, turn]):
                print(piece, end="", flush=True)
                reply += piece
            print()
        except Blocked as blocked:
            print(f"[{blocked.decision.message}]")
        else:
            history += [turn, {"role": "assistant", "content": reply}]


if __name__ == "__main__":
    main()
