"""A web chatbot that streams: FastAPI with an OpenAI client under guard.

    pip install 'guardreasoner-sdk[openai]' fastapi uvicorn
    python examples/fastapi_streaming_chatbot.py
    curl -N 'http://127.0.0.1:8000/chat?prompt=How+do+I+keep+bread+fresh%3F'     # or open it in a browser

OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL tell which model answers, PORT where to listen. Whatever is
sent was judged before. A block is a clean end: the message comes last, where the rest would have come.
"""

import os
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

from guardreasoner_sdk import Blocked, Guard

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5-mini")

client = Guard().wrap(AsyncOpenAI())  # the one line that guards it
app = FastAPI()


async def answer(prompt: str) -> AsyncIterator[str]:
    """What the model says, as it comes. If the reader goes away, the model is stopped."""
    stream = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": prompt}], stream=True
    )
    async with stream:
        async for chunk in stream:
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""


async def answer_or_message(prompt: str) -> AsyncIterator[str]:
    """The answer, which ends in the guard's message where the guard stops it."""
    try:
        async for piece in answer(prompt):
            yield piece
    except Blocked as blocked:
        yield f"[{blocked.decision.message}]"


@app.get("/chat")
async def chat(prompt: str) -> StreamingResponse:
    """Answer one prompt."""
    return StreamingResponse(answer_or_message(prompt), media_type="text/plain; charset=utf-8")


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
