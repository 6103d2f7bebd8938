"""Guarded chat completions that come whole: parsed, structured, raw, replaced, stored."""

import asyncio
import json
import pickle
import threading
from collections.abc import Callable

import guardreasoner_openai
import httpx
import httpx2
import openai
import pytest
from guardreasoner_openai import outcomes_of
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from guardreasoner_sdk.errors import Blocked, EngineUnavailableError, InputError, UnsupportedContentError
from guardreasoner_sdk.policy import Policy, Stage
from guardreasoner_sdk.testing import FakeClassifier
from tests.integrations.openai.talk import SECRET, choice, completion, everything, guarded, says, waiting
from tests.integrations.upstream import Json, Reply, ToolCall, Upstream
from tests.sdk.guards import guard

REPLACE = Policy(harmful_request="replace", harmful_response="replace", violation_message="Not that.")


class Bread(BaseModel):
    kind: str


def test_a_harmful_prompt_raises_with_decision_and_verdict(upstream: Upstream) -> None:
    with guarded(upstream) as client, pytest.raises(Blocked) as blocked:
        client.chat.completions.create(model="m", messages=says("HARM"))
    assert blocked.value.decision.stage is Stage.REQUEST
    assert blocked.value.verdict is not None


def test_without_overlap_a_blocked_prompt_never_reaches_the_model(upstream: Upstream) -> None:
    with OpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
        waiting = guardreasoner_openai.wrap(guard(overlap=False), client, overlap=False)
        with pytest.raises(Blocked):
            waiting.chat.completions.create(model="m", messages=says("HARM"))
    assert upstream.calls == ()


def test_the_model_is_asked_while_the_prompt_is_judged(upstream: Upstream) -> None:
    with guarded(upstream, guard(waiting(upstream))) as client:
        assert client.chat.completions.create(model="m", messages=says()).choices


def test_a_completion_carries_its_verdicts(upstream: Upstream) -> None:
    with guarded(upstream) as client:
        outcomes = outcomes_of(client.chat.completions.create(model="m", messages=says()))
    assert [outcome.decision.stage for outcome in outcomes] == [Stage.REQUEST, Stage.RESPONSE]
    assert all(outcome.verdict is not None for outcome in outcomes)


def test_what_no_guard_has_judged_carries_no_verdicts(upstream: Upstream) -> None:
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        assert outcomes_of(client.chat.completions.create(model="m", messages=says())) == ()


def test_a_completion_is_what_it_would_be_without_the_guard(upstream: Upstream) -> None:
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        bare = client.chat.completions.create(model="m", messages=says(), n=2, logprobs=True)
        judged = (
            guard(overlap=False)
            .wrap(client)
            .chat.completions.create(model="m", messages=says(), n=2, logprobs=True)
        )
    assert judged.to_dict() == bare.to_dict()
    assert type(judged) is type(bare)
    assert judged._request_id == bare._request_id


def test_verdicts_do_not_change_what_a_completion_equals_and_go_along_when_it_is_copied(
    upstream: Upstream,
) -> None:
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        bare = client.chat.completions.create(model="m", messages=says())
        judged = guard(overlap=False).wrap(client).chat.completions.create(model="m", messages=says())
    copied: ChatCompletion = pickle.loads(pickle.dumps(judged.model_copy()))
    assert judged == bare
    assert judged.model_dump_json() == bare.model_dump_json()
    assert outcomes_of(copied) == outcomes_of(judged) != ()


@pytest.mark.parametrize(
    "reply",
    [
        Reply("fine", others=[Reply("HARM")]),
        Reply(refusal="HARM"),
        Reply("fine", reasoning="HARM"),
        Reply(None, tool_calls=[ToolCall("HARM")]),
        Reply(None, tool_calls=[ToolCall("f"), ToolCall("f", '{"a": "HARM"}', "call_2")]),
    ],
    ids=["a later choice", "a refusal", "the reasoning", "a tool's name", "a tool's arguments"],
)
def test_every_text_of_a_completion_is_judged(upstream: Upstream, reply: Reply) -> None:
    upstream.reply(reply)
    with guarded(upstream) as client, pytest.raises(Blocked) as blocked:
        client.chat.completions.create(model="m", messages=says())
    assert blocked.value.decision.stage is Stage.RESPONSE


@pytest.mark.parametrize(
    "body",
    [
        completion(choice({"content": "fine", "thoughts": ["HARM"]})),
        completion(choice({"content": "fine"}, note={"text": "HARM"})),
        completion(choice({"content": [{"type": "text", "text": "fine", "note": "HARM"}]})),
        completion(choice({"tool_calls": [{"function": {"name": "f", "arguments": ""}, "note": "HARM"}]})),
        completion(choice({"tool_calls": [{"function": {"name": "f", "note": "HARM"}}]})),
        completion(choice({"tool_calls": [{"function": {"name": "f"}, "custom": {"input": "HARM"}}]})),
        completion(choice({"content": "fine"}), citations=[{"title": "HARM"}]),
        completion(choice({"content": "fine"}, logprobs={"content": [{"token": "HARM", "bytes": None}]})),
    ],
    ids=[
        "in a message",
        "in a choice",
        "in a part",
        "in a tool call",
        "in a function",
        "in a second function",
        "in a completion",
        "in log-probabilities",
    ],
)
def test_what_a_server_adds_to_a_completion_is_judged(upstream: Upstream, body: Json) -> None:
    upstream.reply(Reply(raw=body))
    with guarded(upstream) as client, pytest.raises(Blocked):
        client.chat.completions.create(model="m", messages=says())


def test_what_tells_of_an_answer_and_says_nothing_is_not_judged(upstream: Upstream) -> None:
    body = completion(
        choice({"content": "fine"}, content_filter_results={"hate": "HARM"}), system_fingerprint="HARM"
    )
    upstream.reply(Reply(raw=body))
    with guarded(upstream) as client:
        assert client.chat.completions.create(model="m", messages=says()).choices[0].message.content == "fine"


def test_log_probabilities_that_spell_the_text_cost_no_check(upstream: Upstream) -> None:
    upstream.reply(Reply("Wie schön 🥖", chunk=3))
    with guarded(upstream) as client:
        done = client.chat.completions.create(model="m", messages=says(), logprobs=True)
    assert len(outcomes_of(done)) == 2


@pytest.mark.parametrize(
    "body",
    [
        completion(),
        {**completion(), "choices": SECRET},
        completion(SECRET),
        completion({"index": 0}),
        SECRET,
        None,
    ],
    ids=["no choice", "text for choices", "a text for a choice", "no message", "a text", "nothing"],
)
def test_an_answer_in_which_no_reply_is_found_is_not_handed_over(upstream: Upstream, body: Json) -> None:
    upstream.reply(Reply(raw=body if body is not None else []))
    with guarded(upstream) as client, pytest.raises(UnsupportedContentError) as error:
        client.chat.completions.create(model="m", messages=says())
    assert SECRET not in everything(error.value)


@pytest.mark.parametrize(
    ("ask", "body"),
    [
        (lambda client: client.chat.completions.create(model="m", messages=says()), f'{{"{SECRET}'),
        (lambda client: client.chat.completions.retrieve("1"), f'{{"{SECRET}'),
        (lambda client: client.responses.retrieve("1"), f'{{"{SECRET}'),
        (
            lambda client: client.chat.completions.with_raw_response.create(model="m", messages=says()),
            f'{{"choices": "{SECRET}", {json.dumps(completion(choice({"content": "fine"})))[1:]}',
        ),
    ],
    ids=["broken", "broken, of a stored completion", "broken, of a stored response", "a member twice"],
)
def test_json_that_cannot_be_read_in_one_way_is_an_error_that_quotes_nothing(
    ask: Callable[[OpenAI], object], body: str
) -> None:
    answer = httpx2.Response(200, headers={"content-type": "application/json"}, content=body)
    transport = httpx2.MockTransport(lambda _: answer)
    with (
        OpenAI(base_url="http://x/v1", api_key="k", http_client=httpx2.Client(transport=transport)) as client,
        pytest.raises(UnsupportedContentError, match="cannot be read") as error,
    ):
        ask(guard(overlap=False).wrap(client))
    assert SECRET not in everything(error.value)


def test_a_stream_where_none_was_asked_for_is_not_handed_over(upstream: Upstream) -> None:
    upstream.reply(Reply("HARM"))
    with guarded(upstream) as client, pytest.raises(UnsupportedContentError, match="cannot be read") as error:
        client.chat.completions.create(model="m", messages=says(), extra_body={"stream": True})
    assert SECRET not in everything(error.value)


def test_what_extra_body_puts_in_place_of_the_messages_is_judged(upstream: Upstream) -> None:
    with guarded(upstream) as client, pytest.raises(Blocked):
        client.chat.completions.create(model="m", messages=says(), extra_body={"messages": says("HARM")})


def test_a_prompt_that_cannot_be_screened_is_an_error(upstream: Upstream) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    with guarded(upstream) as client, pytest.raises(InputError, match="not text"):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": [picture]}])  # type: ignore[list-item,misc]


@pytest.mark.parametrize("checked", [True, False])
def test_tool_results_are_judged_when_asked_for(upstream: Upstream, checked: bool) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages: list[object] = [
        *says(),
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "HARM"},
    ]
    with guarded(upstream, guard(check_tool_results=checked, overlap=False)) as client:
        if checked:
            with pytest.raises(Blocked):
                client.chat.completions.create(model="m", messages=messages)  # type: ignore[arg-type]
        else:
            client.chat.completions.create(model="m", messages=messages)  # type: ignore[arg-type]


# -- replaced


def test_a_replaced_prompt_is_a_completion_of_the_message(upstream: Upstream) -> None:
    with guarded(upstream, guard(policy=REPLACE, overlap=False)) as client:
        done = client.chat.completions.create(model="m", messages=says("HARM"), n=2)
    assert [each.message.content for each in done.choices] == ["Not that."] * 2
    assert {each.finish_reason for each in done.choices} == {"content_filter"}
    assert isinstance(done, ChatCompletion)
    assert [outcome.allowed for outcome in outcomes_of(done)] == [False]


def test_a_replaced_reply_keeps_the_usage_and_nothing_that_was_said(upstream: Upstream) -> None:
    upstream.reply(Reply("HARM", tool_calls=[ToolCall("f", '"HARM"')]))
    with guarded(upstream, guard(policy=REPLACE, overlap=False)) as client:
        raw = client.chat.completions.with_raw_response.create(model="m", messages=says(), logprobs=True)
    done = raw.parse()
    assert done.choices[0].finish_reason == "content_filter"
    assert done.choices[0].message.content == "Not that."
    assert done.usage is not None
    assert done.usage.total_tokens == 12
    assert "HARM" not in raw.text


def test_a_replaced_reply_raises_in_parse_as_filtered_ones_do_and_carries_its_verdicts(
    upstream: Upstream,
) -> None:
    upstream.reply(Reply.of_json({"kind": SECRET}))
    with (
        guarded(upstream, guard(policy=REPLACE, overlap=False)) as client,
        pytest.raises(openai.ContentFilterFinishReasonError) as filtered,
    ):
        client.chat.completions.parse(model="m", messages=says(), response_format=Bread)
    assert SECRET not in everything(filtered.value)
    assert not outcomes_of(filtered.value)[-1].allowed


# -- structured


def test_a_parsed_reply_carries_its_verdicts(upstream: Upstream) -> None:
    upstream.reply(Reply.of_json({"kind": "rye"}))
    with guarded(upstream) as client:
        done = client.chat.completions.parse(model="m", messages=says(), response_format=Bread)
    assert done.choices[0].message.parsed == Bread(kind="rye")
    assert len(outcomes_of(done)) == 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply('{"kind": "' + SECRET, finish_reason="length"),
        Reply.of_json({SECRET: 1}),
        Reply(SECRET),
    ],
    ids=["cut short", "of another form", "no JSON"],
)
def test_an_error_of_parsing_shows_nothing_that_was_not_judged(upstream: Upstream, reply: Reply) -> None:
    upstream.reply(reply)
    with guarded(upstream) as client, pytest.raises(Blocked) as blocked:
        client.chat.completions.parse(model="m", messages=says(), response_format=Bread)
    assert SECRET not in everything(blocked.value)


def test_a_reply_that_was_cut_short_raises_as_it_would_without_the_guard(upstream: Upstream) -> None:
    upstream.reply(Reply('{"kind": "r', finish_reason="length"))
    with guarded(upstream) as client, pytest.raises(openai.LengthFinishReasonError) as cut:
        client.chat.completions.parse(model="m", messages=says(), response_format=Bread)
    assert cut.value.completion.choices[0].message.content == '{"kind": "r'
    assert len(outcomes_of(cut.value)) == 2


# -- raw


def test_a_raw_response_is_judged_before_it_is_handed_over(upstream: Upstream) -> None:
    upstream.reply(Reply("HARM"))
    with guarded(upstream) as client, pytest.raises(Blocked):
        client.chat.completions.with_raw_response.create(model="m", messages=says())


def test_a_raw_response_is_as_without_the_guard_and_carries_its_verdicts(upstream: Upstream) -> None:
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        bare = client.chat.completions.with_raw_response.create(model="m", messages=says())
        raw = (
            guard(overlap=False)
            .wrap(client)
            .chat.completions.with_raw_response.create(model="m", messages=says())
        )
    assert type(raw) is type(bare)
    assert (raw.text, raw.status_code, raw.method) == (bare.text, bare.status_code, bare.method)
    assert raw.elapsed is not None
    assert outcomes_of(raw) == outcomes_of(raw.parse())
    assert len(outcomes_of(raw)) == 2


def test_a_streamed_response_is_judged_before_its_context_is_entered(upstream: Upstream) -> None:
    upstream.reply(Reply("HARM"))
    with guarded(upstream) as client:
        asking = client.chat.completions.with_streaming_response.create(model="m", messages=says())
        with pytest.raises(Blocked):
            asking.__enter__()


@pytest.mark.parametrize("value", ["true", "raw", "stream", "anything"])
def test_a_raw_form_that_is_asked_for_by_header_is_judged(upstream: Upstream, value: str) -> None:
    upstream.reply(Reply("HARM"))
    with guarded(upstream) as client, pytest.raises(Blocked):
        client.chat.completions.create(
            model="m", messages=says(), extra_headers={"x-stainless-RAW-response": value}
        )


def test_a_client_whose_headers_ask_for_another_form_hands_over_nothing(upstream: Upstream) -> None:
    headers = {"x-stainless-raw-response": "stream"}
    with OpenAI(base_url=upstream.url, api_key="k", max_retries=0, default_headers=headers) as client:
        done = guard(overlap=False).wrap(client).chat.completions.create(model="m", messages=says())
        assert isinstance(done, ChatCompletion)
        upstream.reply(Reply("HARM"))
        with pytest.raises(Blocked):
            guard(overlap=False).wrap(client).chat.completions.create(model="m", messages=says())


# -- kinds of clients


def test_the_clients_own_errors_pass(upstream: Upstream) -> None:
    upstream.reply(Reply(status=400))
    with guarded(upstream) as client, pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="m", messages=says())


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_that_quotes_the_model_is_judged(upstream: Upstream, stream: bool) -> None:
    upstream.reply(Reply(status=400, raw={"error": {"message": "no tool call", "failed_generation": SECRET}}))
    with guarded(upstream) as client, pytest.raises(Blocked) as blocked:
        client.chat.completions.create(model="m", messages=says(), stream=stream)
    assert SECRET not in everything(blocked.value)


@pytest.mark.parametrize("stream", [False, True])
def test_all_that_the_response_of_an_error_holds_is_judged(upstream: Upstream, stream: bool) -> None:
    upstream.reply(Reply(status=400, raw={"error": {"message": "no tool call"}, "failed_generation": SECRET}))
    with guarded(upstream) as client, pytest.raises(Blocked) as blocked:
        client.chat.completions.create(model="m", messages=says(), stream=stream)
    assert SECRET not in everything(blocked.value)


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_that_quotes_the_model_is_replaced_as_a_reply_is(upstream: Upstream, stream: bool) -> None:
    upstream.reply(Reply(status=500, raw={"error": {"message": SECRET}}))
    with guarded(upstream, guard(policy=REPLACE, overlap=False)) as client:
        raw = client.chat.completions.with_raw_response.create(model="m", messages=says(), stream=stream)
    assert raw.status_code == 200
    assert "Not that." in b"".join(raw.http_response.iter_bytes()).decode()


def test_an_error_of_the_account_is_not_judged(upstream: Upstream) -> None:
    upstream.reply(Reply(status=429, raw={"error": {"message": "HARM"}}))
    with guarded(upstream) as client, pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="m", messages=says())


def test_a_guard_that_cannot_judge_blocks(upstream: Upstream) -> None:
    by = guard(FakeClassifier(lambda _: EngineUnavailableError("gone")), overlap=False)
    with guarded(upstream, by) as client, pytest.raises(Blocked) as blocked:
        client.chat.completions.create(model="m", messages=says())
    assert isinstance(blocked.value.__cause__, EngineUnavailableError)


def test_an_azure_client_is_guarded(upstream: Upstream) -> None:
    with AzureOpenAI(base_url=upstream.url, api_key="k", api_version="1", max_retries=0) as client:
        wrapped = guard(overlap=False).wrap(client)
        assert wrapped.chat.completions.create(model="m", messages=says()).choices[0].message.content
        upstream.reply(Reply("HARM"))
        with pytest.raises(Blocked):
            wrapped.chat.completions.create(model="m", messages=says())
    assert upstream.calls[0].path.startswith("/v1/deployments/m/chat/completions")


def test_a_client_that_speaks_through_httpx_is_guarded(upstream: Upstream) -> None:
    with (
        httpx.Client() as http,
        OpenAI(base_url=upstream.url, api_key="k", http_client=http) as client,  # type: ignore[arg-type]
    ):
        wrapped = guard(policy=REPLACE, overlap=False).wrap(client)
        assert outcomes_of(wrapped.chat.completions.create(model="m", messages=says()))
        upstream.reply(Reply("HARM"))
        done = wrapped.chat.completions.create(model="m", messages=says())
        assert done.choices[0].message.content == "Not that."
        stream = wrapped.chat.completions.create(model="m", messages=says(), stream=True)
        assert "HARM" not in "".join(each.choices[0].delta.content or "" for each in stream)


def test_a_blocked_prompt_cancels_the_call_of_an_async_client(upstream: Upstream) -> None:
    upstream.reply(Reply(gate=threading.Event()))

    async def ask() -> None:
        async with AsyncOpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
            with pytest.raises(Blocked):
                await (
                    guard(waiting(upstream))
                    .wrap(client)
                    .chat.completions.create(model="m", messages=says("HARM"))
                )
            assert await asyncio.to_thread(upstream.calls[0].wait_until_disconnected)

    asyncio.run(ask())


# -- stored


def test_a_stored_completion_is_judged_with_what_it_answers(upstream: Upstream) -> None:
    with OpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
        stored = client.chat.completions.create(model="m", messages=says("and HARM"), store=True)
        with pytest.raises(Blocked) as blocked:
            guard(overlap=False).wrap(client).chat.completions.retrieve(stored.id)
        assert blocked.value.decision.stage is Stage.REQUEST


def test_a_stored_completion_that_is_allowed_is_given_with_its_verdicts(upstream: Upstream) -> None:
    with guarded(upstream) as client:
        stored = client.chat.completions.create(model="m", messages=says(), store=True)
        again = client.chat.completions.retrieve(stored.id)
    assert again.to_dict() == stored.to_dict()
    assert len(outcomes_of(again)) == 2


def test_a_harmful_stored_completion_is_not_given(upstream: Upstream) -> None:
    upstream.reply(Reply("HARM"))
    with OpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
        stored = client.chat.completions.create(model="m", messages=says(), store=True)
        for retrieve in _retrievals(guard(overlap=False).wrap(client)):
            with pytest.raises(Blocked):
                retrieve(stored.id)


def _retrievals(client: OpenAI) -> tuple[Callable[[str], object], ...]:
    completions = client.chat.completions
    return (
        completions.retrieve,
        completions.with_raw_response.retrieve,
        client.with_raw_response.chat.completions.retrieve,
    )


def test_a_stored_history_without_an_end_is_an_error(upstream: Upstream) -> None:
    page: Json = {"data": [{"id": "1", "role": "user", "content": "Well?"}], "has_more": True}
    upstream.reply_to_gets(Reply(raw=page))
    with guarded(upstream) as client, pytest.raises(UnsupportedContentError, match="over 5,000 messages"):
        client.chat.completions.retrieve("chatcmpl-1")


def test_an_async_client_retrieves_the_same(upstream: Upstream) -> None:
    async def ask() -> None:
        async with AsyncOpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
            stored = await client.chat.completions.create(model="m", messages=says("HARM"), store=True)
            with pytest.raises(Blocked):
                await guard(overlap=False).wrap(client).chat.completions.retrieve(stored.id)

    asyncio.run(ask())


def test_json_of_a_replaced_completion_is_valid(upstream: Upstream) -> None:
    with guarded(upstream, guard(policy=REPLACE, overlap=False)) as client:
        raw = client.chat.completions.with_raw_response.create(model="m", messages=says("HARM"))
    assert json.loads(raw.text)["choices"][0]["message"]["content"] == "Not that."
    assert raw.http_request.url.path == "/v1/chat/completions"
