"""LangChain's own tests of chat models, on a client and on the same client under guard.

The tests of calls run on both, which pass the same ones; skipped are, on both, those of abilities that the
client is not said to have. They run in an environment of their own (`make env-standard`), since they bring
plug-ins for pytest.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import pytest
from guardreasoner_langchain import GuardedChatModel
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from tests.integrations.upstream import Call, Reply, Upstream
from tests.sdk.guards import guard

unit_tests: Any = pytest.importorskip("langchain_tests.unit_tests")
integration_tests: Any = pytest.importorskip("langchain_tests.integration_tests")

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    # The client's own, with a guard and without.
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
    pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema:UserWarning"),
]


class Guarded(GuardedChatModel):
    """`ChatOpenAI` under guard, made of what `ChatOpenAI` is made of."""

    def __init__(self, **settings: object) -> None:
        super().__init__(guard=guard(), inner=ChatOpenAI.model_validate(settings))


class Provider:
    """What the two have in common: a provider that does what it is asked."""

    kind: type[BaseChatModel]
    upstream: Upstream

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _provider(cls) -> Iterator[None]:
        with Upstream() as cls.upstream:
            cls.upstream.answer(_obedient)
            yield

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return self.kind

    @property
    def chat_model_params(self) -> dict[str, object]:
        limits = httpx2.Limits(max_keepalive_connections=0)  # each test has an event loop of its own
        return {
            "model": "m",
            "base_url": self.upstream.url,
            "api_key": "k",
            "stream_usage": True,
            "http_client": httpx2.Client(limits=limits, verify=False),
            "http_async_client": httpx2.AsyncClient(limits=limits, verify=False),
        }

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "another"


class TestGuardedClient(Provider, unit_tests.ChatModelUnitTests):  # type: ignore[misc]  # its base is not there
    kind = Guarded


class TestClientAtWork(Provider, integration_tests.ChatModelIntegrationTests):  # type: ignore[misc]
    kind = ChatOpenAI


class TestGuardedClientAtWork(Provider, integration_tests.ChatModelIntegrationTests):  # type: ignore[misc]
    kind = Guarded


def _obedient(call: Call) -> Reply:
    """Call the tool that is wanted, fill in the schema that is wanted, else say something."""
    body: Mapping[str, Any] = call.body
    last = body["messages"][-1]
    said = last["content"] if isinstance(last.get("content"), str) else "said"
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools", ())}
    if tools and last["role"] == "user":
        choice = body.get("tool_choice")
        name = choice["function"]["name"] if isinstance(choice, dict) else next(iter(tools))
        return Reply.calling(name, _filled(tools[name].get("parameters", {}), said))
    wanted = body.get("response_format", {})
    if wanted.get("type") == "json_schema":
        return Reply(json.dumps(_filled(wanted["json_schema"]["schema"], said)))
    if wanted.get("type") == "json_object":
        return Reply(json.dumps({"setup": "Who is there?", "punchline": "Bread."}))
    return Reply("Bread is kept in a bag.")


def _filled(schema: Mapping[str, Any], text: str) -> Any:
    """A value of a JSON schema."""
    match schema:
        case {"enum": [first, *_]}:
            return first
        case {"anyOf": [first, *_]} | {"allOf": [first, *_]}:
            return _filled(first, text)
        case {"type": "integer" | "number"}:
            return 3
        case {"type": "boolean"}:
            return True
        case {"type": "array"}:
            return []
        case {"type": "string"}:
            return text
        case _:
            return {name: _filled(part, text) for name, part in schema.get("properties", {}).items()}
