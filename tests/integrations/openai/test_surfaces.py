"""What of a guarded client may be used: every public surface of the installed release was decided on."""

import asyncio
from collections.abc import Iterator

import guardreasoner_openai
import openai
import pytest
from guardreasoner_openai.surfaces import RESOURCES, SURFACES, Decision
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
from openai._resource import AsyncAPIResource, SyncAPIResource

from guardreasoner_sdk.errors import Blocked, ConfigError, UnguardedSurface
from tests.integrations.openai.talk import guarded, says
from tests.integrations.upstream import Upstream
from tests.sdk.guards import guard

FORMS = {"with_raw_response", "with_streaming_response"}
TOP_LEVEL = sorted(name for name in SURFACES if "." not in name)
CLIENT = OpenAI(api_key="k")
REFUSED = [name for name in TOP_LEVEL if SURFACES[name] is Decision.REFUSED]

CLIENTS: list[OpenAI | AsyncOpenAI] = [
    CLIENT,
    AsyncOpenAI(api_key="k"),
    AzureOpenAI(api_key="k", azure_endpoint="http://localhost", api_version="1"),
    AsyncAzureOpenAI(api_key="k", azure_endpoint="http://localhost", api_version="1"),
]


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def tree(client: OpenAI | AsyncOpenAI) -> Iterator[str]:
    """Every public name of a client, and of the resources that are guarded."""
    for name in public(client):
        yield name
        if name in RESOURCES:
            yield from beneath(name, getattr(client, name))


def beneath(path: str, resource: object) -> Iterator[str]:
    names = public(resource) - FORMS
    for form in FORMS & public(resource):
        names |= public(getattr(resource, form))
    for name in names:
        yield f"{path}.{name}"
        inner = getattr(resource, name)
        if isinstance(inner, (SyncAPIResource, AsyncAPIResource)) and SURFACES.get(f"{path}.{name}") not in (
            Decision.REFUSED,
            Decision.OPEN,
        ):
            yield from beneath(f"{path}.{name}", inner)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: type(client).__name__)
def test_every_public_surface_of_the_installed_release_was_decided_on(client: OpenAI | AsyncOpenAI) -> None:
    undecided = set(tree(client)) - set(SURFACES)
    assert not undecided, "decide on these in guardreasoner_openai.surfaces"


def test_nothing_is_decided_on_that_is_not_there() -> None:
    assert set(SURFACES) - set(tree(CLIENT)) == set()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_guarded_names_itself_and_the_switch_that_allows_it(name: str) -> None:
    client = guard(overlap=False).wrap(CLIENT)
    with pytest.raises(UnguardedSurface) as refused:
        getattr(client, name)
    assert refused.value.surface == name
    assert f"allow=('{name}',)" in str(refused.value)


@pytest.mark.parametrize("name", REFUSED)
def test_an_async_client_refuses_the_same(name: str) -> None:
    client = guard(overlap=False).wrap(CLIENTS[1])
    with pytest.raises(UnguardedSurface):
        getattr(client, name)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_the_raw_forms_of_a_client_refuse_what_it_refuses(form: str) -> None:
    client = guard(overlap=False).wrap(CLIENT)
    with pytest.raises(UnguardedSurface, match="audio"):
        _ = getattr(client, form).audio


def test_a_method_of_a_guarded_resource_that_is_not_guarded_is_refused(upstream: Upstream) -> None:
    with guarded(upstream) as client:
        with pytest.raises(UnguardedSurface) as refused:
            client.chat.completions.list()
        assert refused.value.surface == "chat.completions.list"
        with pytest.raises(UnguardedSurface, match=r"chat\.completions\.messages"):
            client.chat.completions.messages.list("chatcmpl-1")
        with pytest.raises(UnguardedSurface, match=r"chat\.completions\.update"):
            client.chat.completions.with_raw_response.update("chatcmpl-1", metadata={})
        assert upstream.calls == ()


def test_a_request_that_no_route_names_is_refused(upstream: Upstream) -> None:
    with guarded(upstream) as client:
        with pytest.raises(UnguardedSurface, match="POST /chat/new is not guarded"):
            client.chat.completions._post("/chat/new", cast_to=object)
        assert upstream.calls == ()


def test_what_is_allowed_by_name_works_as_it_does_on_the_client(upstream: Upstream) -> None:
    with OpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
        allowing = guardreasoner_openai.wrap(guard(overlap=False), client, allow=("models",))
        assert [model.id for model in allowing.models.list()] == ["m"]
        assert allowing.with_raw_response.models.list().status_code == 200
        with pytest.raises(UnguardedSurface):
            _ = allowing.embeddings


def test_embeddings_files_and_models_are_allowed_as_a_group(upstream: Upstream) -> None:
    with OpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
        allowing = guardreasoner_openai.wrap(guard(overlap=False), client, allow=("data",))
        assert allowing.files is client.files
        assert allowing.models is client.models
        assert len(allowing.embeddings.create(model="m", input="a").data) == 1


def test_the_refusal_of_one_of_a_group_names_the_group() -> None:
    with pytest.raises(UnguardedSurface, match=r"or allow=\('data',\) for embeddings, files, models"):
        _ = guard(overlap=False).wrap(CLIENT).models


@pytest.mark.parametrize("names", [("chat",), ("audio.speech",), ("close",), ("nothing",)])
def test_allowing_what_is_no_unguarded_surface_is_an_error(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=f"allow names '{names[0]}'"):
        guardreasoner_openai.wrap(guard(overlap=False), CLIENT, allow=names)


def test_allowing_one_string_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"\('audio',\)"):
        guardreasoner_openai.wrap(guard(overlap=False), CLIENT, allow="audio")


class Special(OpenAI):
    """A client of the application's own."""

    def help(self) -> str:
        return "mine"


def test_what_a_derived_client_adds_is_refused_until_it_is_allowed() -> None:
    with Special(api_key="k") as client:
        with pytest.raises(UnguardedSurface, match="help is not guarded"):
            guard(overlap=False).wrap(client).help()
        allowing = guardreasoner_openai.wrap(guard(overlap=False), client, allow=("help",))
        assert isinstance(allowing, Special)
        assert allowing.help() == "mine"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: type(client).__name__)
def test_a_guarded_client_is_of_the_clients_type(client: OpenAI | AsyncOpenAI) -> None:
    wrapped = guard(overlap=False).wrap(client)
    assert isinstance(wrapped, type(client))
    assert isinstance(wrapped.chat, type(client.chat))
    assert wrapped.chat is wrapped.chat


def test_its_settings_are_those_of_the_client() -> None:
    with OpenAI(api_key="k", base_url="http://localhost/v1", timeout=7) as client:
        wrapped = guard(overlap=False).wrap(client)
        assert wrapped.api_key == "k"
        assert wrapped.base_url == client.base_url
        assert wrapped.timeout == 7
        wrapped.timeout = 8
        assert client.timeout == 8


def test_a_resource_of_a_guarded_client_cannot_be_replaced() -> None:
    wrapped = guard(overlap=False).wrap(CLIENT)
    with pytest.raises(ConfigError, match="chat of a guarded client cannot be set"):
        wrapped.__setattr__("chat", CLIENT.chat)


def test_an_attribute_that_no_client_has_is_missing() -> None:
    assert not hasattr(guard(overlap=False).wrap(CLIENT), "nothing")


def test_copies_stay_guarded_and_allow_the_same(upstream: Upstream) -> None:
    with OpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
        allowing = guardreasoner_openai.wrap(guard(overlap=False), client, allow=("models",))
        for copied in (allowing.copy(timeout=5), allowing.with_options(timeout=5)):
            assert copied.timeout == 5
            assert [model.id for model in copied.models.list()] == ["m"]
            with pytest.raises(Blocked):
                copied.chat.completions.create(model="m", messages=says("HARM"))


def test_a_guarded_client_closes_the_client(upstream: Upstream) -> None:
    client = OpenAI(base_url=upstream.url, api_key="k")
    with guard(overlap=False).wrap(client) as wrapped:
        assert not wrapped.is_closed()
    assert client.is_closed()


def test_a_guarded_async_client_closes_the_client(upstream: Upstream) -> None:
    async def use() -> AsyncOpenAI:
        client = AsyncOpenAI(base_url=upstream.url, api_key="k")
        async with guard(overlap=False).wrap(client) as wrapped:
            assert not wrapped.is_closed()
        return client

    assert asyncio.run(use()).is_closed()


def test_a_client_that_is_guarded_already_is_an_error() -> None:
    with pytest.raises(ConfigError, match="guarded already"):
        guard(overlap=False).wrap(guard(overlap=False).wrap(CLIENT))


def test_what_is_no_client_is_an_error() -> None:
    with pytest.raises(ConfigError, match="cannot wrap a module"):
        guardreasoner_openai.wrap(guard(overlap=False), openai)  # type: ignore[type-var]
