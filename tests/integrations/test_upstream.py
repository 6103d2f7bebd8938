"""The fake provider, asked by the official client."""

import threading

import openai
import pytest
from openai import OpenAI
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage

from tests.integrations.upstream import Reply, ToolCall, Upstream

TEXT = "Bread keeps for two days in a bag of linen."
WEATHER = ToolCall("weather", '{"city": "Oslo", "days": 3}')


def chat(client: OpenAI, **options: object) -> openai.types.chat.ChatCompletion:
    completion = client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "How is bread kept?"}],
        **options,  # type: ignore[call-overload]
    )
    assert isinstance(completion, openai.types.chat.ChatCompletion)
    return completion


@pytest.mark.parametrize("whole", [False, True])
def test_a_chat_stream_says_what_the_plain_reply_says(upstream: Upstream, whole: bool) -> None:
    reply = Reply(TEXT, tool_calls=[WEATHER], others=[Reply("Not at all.")], whole_tool_calls=whole)
    upstream.reply(reply)
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        plain = chat(client)
        with client.chat.completions.stream(
            model="m",
            messages=[{"role": "user", "content": "How is bread kept?"}],
            stream_options={"include_usage": True},
        ) as stream:
            streamed = stream.get_final_completion()
    for one, other in zip(plain.choices, streamed.choices, strict=True):
        assert one.message.content == other.message.content
        assert one.finish_reason == other.finish_reason
    assert plain.choices[0].message.tool_calls is not None
    assert streamed.choices[0].message.tool_calls is not None
    assert (
        streamed.choices[0].message.tool_calls[0].function.arguments
        == plain.choices[0].message.tool_calls[0].function.arguments  # type: ignore[union-attr]
        == WEATHER.arguments
    )
    assert streamed.usage == plain.usage


def test_the_choices_of_a_stream_take_turns(upstream: Upstream) -> None:
    upstream.reply(Reply("one two three four"))
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        stream = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hello"}], n=2, stream=True
        )
        order = [chunk.choices[0].index for chunk in stream]
    assert order == [0, 1] * (len(order) // 2)


def test_log_probabilities_come_where_they_are_asked_for(upstream: Upstream) -> None:
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        assert chat(client).choices[0].logprobs is None
        logprobs = chat(client, logprobs=True).choices[0].logprobs
    assert logprobs is not None
    assert "".join(token.token for token in logprobs.content or []) == Reply().text


def test_a_refusal_has_no_content(upstream: Upstream) -> None:
    upstream.reply(Reply(refusal="I will not."))
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        message = chat(client).choices[0].message
    assert (message.content, message.refusal) == (None, "I will not.")


def test_a_stream_of_the_responses_api_ends_in_the_plain_response(upstream: Upstream) -> None:
    upstream.reply(Reply(TEXT, tool_calls=[WEATHER], reasoning="Think of bread."))
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        plain = client.responses.create(model="m", input="How is bread kept?")
        with client.responses.stream(model="m", input="How is bread kept?") as stream:
            types = [event.type for event in stream]
            final = stream.get_final_response()
    assert plain.output_text == final.output_text == TEXT
    assert [item.type for item in plain.output] == ["reasoning", "message", "function_call"]
    assert types[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert types[-2:] == ["response.output_item.done", "response.completed"]
    call = final.output[-1]
    assert isinstance(call, ResponseFunctionToolCall)
    assert call.arguments == WEATHER.arguments


def test_a_response_cut_by_its_length_is_incomplete(upstream: Upstream) -> None:
    upstream.reply(Reply(TEXT, finish_reason="length"))
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        *_, last = client.responses.create(model="m", input="Hello", stream=True)
    assert last.type == "response.incomplete"


def test_a_stored_response_can_be_fetched_with_what_it_was_asked(upstream: Upstream) -> None:
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        made = client.responses.create(model="m", input="How is bread kept?")
        fetched = client.responses.retrieve(made.id)
        (asked,) = client.responses.input_items.list(made.id)
        unstored = client.responses.create(model="m", input="How is bread kept?", store=False)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(unstored.id)
    assert isinstance(fetched.output[0], ResponseOutputMessage)
    assert fetched == made
    assert asked.type == "message"


def test_the_other_routes_are_there(upstream: Upstream) -> None:
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        assert [model.id for model in client.models.list()] == ["m"]
        assert len(client.embeddings.create(model="m", input=["a", "b"]).data) == 2
        assert client.completions.create(model="m", prompt="a").choices[0].text == Reply().text


def test_replies_come_in_their_order_and_calls_are_recorded(upstream: Upstream) -> None:
    upstream.reply(Reply("one"), Reply("two"))
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        assert [chat(client).choices[0].message.content for _ in range(3)] == ["one", "two", "two"]
    assert [call.last for call in upstream.calls] == ["How is bread kept?"] * 3
    assert {call.path for call in upstream.calls} == {"/v1/chat/completions"}
    for call in upstream.calls:
        call.wait_until_done()
        assert call.sent == 1
        assert not call.disconnected.is_set()


def test_a_client_that_leaves_a_stream_is_seen_at_once(upstream: Upstream) -> None:
    upstream.reply(Reply(TEXT, gate=threading.Event(), gate_after=2))
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        stream = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        next(iter(stream))
        call = upstream.wait_for_call()
        call.wait_until_sent(2)
        stream.close()
        assert call.wait_until_disconnected()
    assert call.sent == 2


def test_a_gate_holds_a_reply_until_it_is_opened(upstream: Upstream) -> None:
    gate = threading.Event()
    upstream.reply(Reply(TEXT, gate=gate))
    with OpenAI(base_url=upstream.url, api_key="k") as client:
        found: list[str | None] = []
        asking = threading.Thread(target=lambda: found.append(chat(client).choices[0].message.content))
        asking.start()
        assert upstream.wait_for_call().sent == 0
        gate.set()
        asking.join()
    assert found == [TEXT]


def test_a_client_that_gives_up_on_a_plain_reply_is_seen(upstream: Upstream) -> None:
    upstream.reply(Reply(gate=threading.Event()))
    with OpenAI(base_url=upstream.url, api_key="k", max_retries=0, timeout=0.2) as client:
        with pytest.raises(openai.APITimeoutError):
            chat(client)
        assert upstream.wait_for_call().wait_until_disconnected()


def test_faults_reach_the_client(upstream: Upstream, down: str) -> None:
    upstream.reply(Reply(status=503), Reply(cut_after=0), Reply(TEXT, cut_after=3))
    with OpenAI(base_url=upstream.url, api_key="k", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError):
            chat(client)
        with pytest.raises(openai.APIConnectionError):
            chat(client)
        stream = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hello"}], stream=True
        )
        with pytest.raises(openai.APIConnectionError):
            list(stream)
    assert not upstream.calls[-1].disconnected.is_set()
    with (
        OpenAI(base_url=down, api_key="k", max_retries=0) as client,
        pytest.raises(openai.APIConnectionError),
    ):
        chat(client)
