"""What of a call of the Responses API is judged before the model answers, and what coverage leaves out."""

from typing import Any, Final

import pytest

pytest.importorskip("openai")

from guardreasoner_openai import outcomes_of

from guardreasoner_sdk import Blocked
from guardreasoner_sdk.errors import EmptyInputError, InputError, UnsupportedContentError
from guardreasoner_sdk.verdict import Coverage
from tests.integrations.replies import Json
from tests.integrations.upstream import Reply, Upstream
from tests.integrations.upstream_responses import Scripted, guarded, message, response
from tests.sdk.guards import classifier

# Items as they are written here are mappings; their exact types are the client library's.
Items = list[Any]

USER: Final = {"role": "user", "content": "How do I keep bread fresh?"}
CALL: Final = {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"topic": "bread"}'}
RESULT: Final = {"type": "function_call_output", "call_id": "c1", "output": "In a bag."}


def coverage_of(result: object) -> Coverage:
    verdict = outcomes_of(result)[0].verdict
    assert verdict is not None
    return verdict.coverage


def left_out(coverage: Coverage) -> list[tuple[str, str]]:
    return [(left.first, left.reason) for left in coverage.left_out]


@pytest.mark.parametrize(
    "items",
    [
        "HARM",
        [{"role": "user", "content": "HARM"}],
        [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "HARM"}]}],
        [
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "HARM"}],
            }
        ],
        [USER, {"role": "user", "content": "HARM"}],
        [
            USER,
            {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True, "reason": "HARM"},
        ],
        [USER, {"type": "of_tomorrow", "words": ["HARM"]}],
    ],
    ids=["text", "message", "parts", "second part", "second message", "approval", "unknown item"],
)
def test_whatever_a_user_says_is_judged_and_a_harmful_prompt_is_not_answered(
    upstream: Upstream, items: Items
) -> None:
    with guarded(upstream, overlap=False) as client, pytest.raises(Blocked) as caught:
        client.responses.create(model="m", input=items)
    assert caught.value.verdict is not None
    assert upstream.calls == ()


def test_what_an_extra_body_puts_in_place_of_the_input_is_judged(upstream: Upstream) -> None:
    with guarded(upstream, overlap=False) as client, pytest.raises(Blocked):
        client.responses.create(model="m", input="hello", extra_body={"input": "HARM"})


def test_instructions_are_the_applications_and_listed_as_left_out(upstream: Upstream) -> None:
    with guarded(upstream) as client:
        result = client.responses.create(model="m", input="hello", instructions="Speak of HARM.")
    assert left_out(coverage_of(result)) == [("instructions", "system message")]


def test_earlier_turns_are_left_out_by_the_rule_of_the_last_turn(upstream: Upstream) -> None:
    judge = classifier()
    items: Items = [USER, message("In a bag."), {"role": "user", "content": "And cake?"}]
    with guarded(upstream, judge) as client:
        result = client.responses.create(model="m", input=items)
    assert judge.requests[0].prompt == "And cake?"
    assert left_out(coverage_of(result)) == [("input[0].content", "earlier turn")]


def test_earlier_turns_are_judged_by_the_rule_of_the_window(upstream: Upstream) -> None:
    judge = classifier()
    items: Items = [USER, message("In a bag."), {"role": "user", "content": "And cake?"}]
    with guarded(upstream, judge, context="window") as client:
        client.responses.create(model="m", input=items)
    assert "How do I keep bread fresh?" in judge.requests[0].prompt
    assert "In a bag." in judge.requests[0].prompt


def test_the_output_of_a_response_can_be_given_back_as_it_came(upstream: Upstream) -> None:
    upstream.reply(Reply("Done.", reasoning="Hm."))
    judge = classifier()
    with guarded(upstream, judge) as client:
        first = client.responses.create(model="m", input="hello")
        items: Items = [
            {"role": "user", "content": "hello"},
            *first.output,
            {"role": "user", "content": "bye"},
        ]
        client.responses.create(model="m", input=items)
    assert judge.requests[-1].prompt == "bye"


def test_a_tool_result_is_listed_as_left_out_unless_it_is_to_be_judged(upstream: Upstream) -> None:
    items: Items = [USER, CALL, RESULT]
    with guarded(upstream) as client:
        result = client.responses.create(model="m", input=items)
    assert ("input[2].output", "tool result") in left_out(coverage_of(result))


@pytest.mark.parametrize(
    "result",
    [
        RESULT | {"output": "HARM"},
        RESULT | {"output": [{"type": "input_text", "text": "HARM"}]},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "HARM"},
        {"type": "shell_call_output", "call_id": "c1", "output": [{"stdout": "HARM", "stderr": ""}]},
        {
            "type": "mcp_call",
            "id": "m",
            "name": "n",
            "arguments": "{}",
            "server_label": "s",
            "output": "HARM",
        },
    ],
    ids=lambda item: item["type"],
)
def test_a_harmful_tool_result_blocks_where_tool_results_are_judged(
    upstream: Upstream, result: dict[str, object]
) -> None:
    items: Items = [USER, CALL, result]
    with guarded(upstream, check_tool_results=True, overlap=False) as client, pytest.raises(Blocked):
        client.responses.create(model="m", input=items)


def test_what_a_prompts_variables_are_filled_with_is_judged_as_said_by_the_user(upstream: Upstream) -> None:
    with guarded(upstream, overlap=False) as client, pytest.raises(Blocked):
        client.responses.create(model="m", prompt={"id": "p", "variables": {"topic": "HARM"}})


def test_the_template_of_a_prompt_is_listed_as_left_out(upstream: Upstream) -> None:
    with guarded(upstream) as client:
        result = client.responses.create(model="m", prompt={"id": "p", "variables": {"topic": "bread"}})
    assert left_out(coverage_of(result)) == [("prompt[p]", "system message")]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "detail": "auto", "image_url": "https://pictures.invalid/1"},
        {"type": "input_file", "file_id": "file_1"},
        {"type": "of_tomorrow", "words": "hello"},
    ],
    ids=lambda part: part["type"],
)
def test_content_that_is_not_text_is_refused(upstream: Upstream, part: dict[str, object]) -> None:
    items: Items = [{"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, part]}]
    with guarded(upstream, overlap=False) as client, pytest.raises(UnsupportedContentError):
        client.responses.create(model="m", input=items)
    assert upstream.calls == ()


def test_an_image_may_be_listed_as_left_out_instead(upstream: Upstream) -> None:
    image = {"type": "input_image", "detail": "auto", "image_url": "https://pictures.invalid/1"}
    items: Items = [{"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, image]}]
    with guarded(upstream, unscreenable="record") as client:
        result = client.responses.create(model="m", input=items)
    assert left_out(coverage_of(result)) == [("input[0].content[1]", "unscreenable content")]


@pytest.mark.parametrize(
    "items", [[], [{"role": "developer", "content": "Be kind."}], [{"role": "nobody", "content": "hi"}]]
)
def test_an_input_without_anything_of_a_user_is_an_error(upstream: Upstream, items: Items) -> None:
    with guarded(upstream) as client, pytest.raises(InputError):
        client.responses.create(model="m", input=items)


# -- what the provider keeps


def test_a_stored_history_is_listed_as_left_out(upstream: Upstream) -> None:
    judge = classifier()
    with guarded(upstream, judge) as client:
        first = client.responses.create(model="m", input="hello")
        second = client.responses.create(model="m", input="bye", previous_response_id=first.id)
    assert judge.requests[-1].prompt == "bye"
    assert left_out(coverage_of(second)) == [(f"previous_response_id[{first.id}]", "earlier turn")]


@pytest.mark.parametrize("rule", ["last", "window"])
def test_a_stored_conversation_is_listed_as_left_out_by_every_rule(upstream: Upstream, rule: Any) -> None:
    with guarded(upstream, context=rule) as client:
        result = client.responses.create(model="m", input="bye", conversation="conv_1")
    assert left_out(coverage_of(result)) == [("conversation[conv_1]", "earlier turn")]


def test_an_item_that_is_only_referred_to_is_listed_as_left_out(upstream: Upstream) -> None:
    items: Items = [USER, {"type": "item_reference", "id": "rs_1"}, RESULT]
    with guarded(upstream) as client:
        result = client.responses.create(model="m", input=items)
    assert ("input[1][rs_1]", "earlier step of the reply") in left_out(coverage_of(result))


def test_tool_results_alone_are_judged_with_what_the_user_said_before_them(upstream: Upstream) -> None:
    judge = classifier()
    upstream.reply(Reply.calling("look_up", {"topic": "bread"}), Reply("Keep it in a bag."))
    with guarded(upstream, judge) as client:
        first = client.responses.create(model="m", input="How do I keep bread fresh?")
        items: Items = [RESULT]
        client.responses.create(model="m", input=items, previous_response_id=first.id)
    last = judge.requests[-1]
    assert (last.prompt, last.response) == ("How do I keep bread fresh?", "Keep it in a bag.")


def test_what_the_model_answered_in_between_is_part_of_what_was_fetched(upstream: Upstream) -> None:
    upstream.reply(Reply.calling("look_up", {"topic": "bread"}), Reply("Keep it in a bag."))
    items: Items = [RESULT]
    with guarded(upstream) as client:
        first = client.responses.create(model="m", input="How do I keep bread fresh?")
        second = client.responses.create(model="m", input=items, previous_response_id=first.id)
    assert left_out(coverage_of(second)) == [
        ("history[1]", "earlier step of the reply"),
        ("input[0].output", "tool result"),
    ]


def test_what_the_user_said_is_looked_for_in_the_responses_before_the_last(upstream: Upstream) -> None:
    judge = classifier()
    calling = Reply.calling("look_up", {"topic": "bread"})
    upstream.reply(calling, calling, Reply("Keep it in a bag."))
    items: Items = [RESULT]
    with guarded(upstream, judge) as client:
        first = client.responses.create(model="m", input="How do I keep bread fresh?")
        second = client.responses.create(model="m", input=items, previous_response_id=first.id)
        client.responses.create(model="m", input=items, previous_response_id=second.id)
    assert judge.requests[-1].prompt == "How do I keep bread fresh?"


def test_what_the_user_said_is_looked_for_in_a_stored_conversation(scripted: Scripted) -> None:
    judge = classifier()
    newest_first = [{"id": "2", **CALL}, {"id": "1", "type": "message", **USER}]
    scripted.serve(
        "GET /conversations/conv_1/items", {"object": "list", "data": newest_first, "has_more": False}
    )
    items: Items = [RESULT]
    with guarded(scripted, judge) as client:
        client.responses.create(model="m", input=items, conversation={"id": "conv_1"})
    assert judge.requests[-1].prompt == "How do I keep bread fresh?"


def test_a_long_conversation_is_read_back_to_what_the_user_said_last(scripted: Scripted) -> None:
    judge = classifier()
    items: Items = [RESULT]
    pages: dict[str, Json] = {
        "": {"data": [{"id": "9", **CALL}], "has_more": True, "last_id": "9"},
        " after 9": {"data": [{"id": "8", **USER}], "has_more": True, "last_id": "8"},
    }
    for after, page in pages.items():
        scripted.serve(f"GET /conversations/conv_1/items{after}", page)
    with guarded(scripted, judge) as client:
        result = client.responses.create(model="m", input=items, conversation="conv_1")
    assert judge.requests[-1].prompt == "How do I keep bread fresh?"
    assert ("conversation[conv_1]", "earlier turn") in left_out(coverage_of(result))


def test_a_harmful_request_in_a_stored_history_blocks_its_tool_results(scripted: Scripted) -> None:
    asked: Json = {
        "object": "list",
        "data": [{"id": "1", "role": "user", "content": "HARM"}],
        "has_more": False,
    }
    scripted.serve("GET /responses/resp_1", response(CALL))
    scripted.serve("GET /responses/resp_1/input_items", asked)
    items: Items = [RESULT]
    with guarded(scripted, overlap=False) as client, pytest.raises(Blocked):
        client.responses.create(model="m", input=items, previous_response_id="resp_1")


def test_a_history_without_anything_of_a_user_is_an_error(scripted: Scripted) -> None:
    scripted.serve("GET /responses/resp_1", response(CALL))
    scripted.serve(
        "GET /responses/resp_1/input_items", {"object": "list", "data": [RESULT], "has_more": False}
    )
    items: Items = [RESULT]
    with guarded(scripted) as client, pytest.raises(EmptyInputError):
        client.responses.create(model="m", input=items, previous_response_id="resp_1")
