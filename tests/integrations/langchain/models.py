"""Real clients of the fake provider, and ears that hear what LangChain tells its handlers."""

import httpx2
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.integrations.upstream import Upstream

KEY = "sk-not-to-be-seen"
"""The key of the fake provider."""


def chat(upstream: Upstream, **options: object) -> ChatOpenAI:
    """A client with connections of its own, each for one call: tests have one event loop each."""
    limits = httpx2.Limits(max_keepalive_connections=0)
    settings: dict[str, object] = {
        "model": "m",
        "base_url": upstream.url,
        "api_key": SecretStr(KEY),
        "max_retries": 0,
        "http_client": httpx2.Client(limits=limits, verify=False),
        "http_async_client": httpx2.AsyncClient(limits=limits, verify=False),
    }
    return ChatOpenAI.model_validate({**settings, **options})


class Ear(BaseCallbackHandler):
    """Hears what a model's run tells: every token, the end and the error.

    Attributes:
        tokens: the texts of the chunks, in order.
        ends: the texts of the results.
        errors: the errors.
        starts: how many model runs began.
    """

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.ends: list[str] = []
        self.errors: list[BaseException] = []
        self.starts = 0

    def on_chat_model_start(
        self, serialized: dict[str, object], messages: list[list[BaseMessage]], **kwargs: object
    ) -> None:
        self.starts += 1

    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, object]],
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        **kwargs: object,
    ) -> None:
        self.tokens.append(chunk.text if chunk is not None else str(token))

    def on_llm_end(self, response: LLMResult, **kwargs: object) -> None:
        self.ends += [generation.text for some in response.generations for generation in some]

    def on_llm_error(self, error: BaseException, **kwargs: object) -> None:
        self.errors.append(error)

    @property
    def heard(self) -> str:
        """All that was heard of what the model said."""
        return "".join(self.tokens + self.ends)
