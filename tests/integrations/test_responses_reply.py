"""Whatever a response shows is judged before anybody sees it."""

import pytest

pytest.importorskip("openai")

from guardreasoner_openai import outcomes_of
from pydantic import BaseModel

from guardreasoner_sdk import Blocked
from guardreasoner_sdk.errors import UnsupportedContentError
from tests.integrations.replies import Json
from tests.integrations.upstream import Reply, Upstream
from tests.integrations.upstream_responses import HARMFUL, REPLACING, Scripted, guarded, message, response
from tests.sdk.guards import classifier


@pytest.mark.parametrize("where", HARMFUL)
def test_harm_in_a_response_blocks_wherever_it_stands(scripted: Scripted, where: str) -> None:
    scripted.serve("POST /responses", response(message("Fine."), HARMFUL[where]))
    with guarded(scripted) as client, pytest.raises(Blocked) as caught:
        client.responses.create(model="m", input="hello")
    verdict = caught.value.verdict
    assert verdict is not None
    assert verdict.response_harm is not None
    assert verdict.response_harm.positive


@pytest.mark.parametrize(
    "fields",
    [
        {"error": {"code": "server_error", "message": "HARM"}, "status": "failed"},
        {"of_tomorrow": ["HARM"]},
        {"reasoning": "HARM"},
    ],
    ids=["error", "unknown field", "text in place of a setting"],
)
def test_harm_beside_the_output_blocks(scripted: Scripted, fields: dict[str, Json]) -> None:
    scripted.serve("POST /responses", response(message("Fine."), **fields))
    with guarded(scripted) as client, pytest.raises(Blocked):
        client.responses.create(model="m", input="hello")


def test_what_the_caller_said_and_is_given_back_is_not_the_models(
    scripted: Scripted,
) -> None:
    echoed = response(message("Fine."), instructions="HARM", metadata={"note": "HARM"}, user="HARM")
    scripted.serve("POST /responses", echoed)
    with guarded(scripted) as client:
        assert client.responses.create(model="m", input="hello").output_text == "Fine."


def test_all_of_the_output_is_judged_as_one_reply(scripted: Scripted) -> None:
    judge = classifier()
    call = {"type": "function_call", "call_id": "c", "name": "look_up", "arguments": '{"topic": "bread"}'}
    scripted.serve("POST /responses", response(message("Let me see."), call))
    with guarded(scripted, judge) as client:
        client.responses.create(model="m", input="hello")
    assert judge.requests[-1].response == 'Let me see.\nlook_up({"topic": "bread"})'


def test_a_response_without_output_passes(scripted: Scripted) -> None:
    scripted.serve("POST /responses", response(status="queued"))
    with guarded(scripted) as client:
        assert client.responses.create(model="m", input="hello", background=True).status == "queued"


@pytest.mark.parametrize("output", ["Fine.", {"text": "Fine."}])
def test_an_output_that_is_no_list_is_an_error_and_not_handed_over(scripted: Scripted, output: Json) -> None:
    scripted.serve("POST /responses", response() | {"output": output})
    with guarded(scripted) as client, pytest.raises(UnsupportedContentError):
        client.responses.create(model="m", input="hello")


def test_a_picture_is_refused(scripted: Scripted) -> None:
    picture = {"type": "image_generation_call", "id": "i", "status": "completed", "result": "AAAA"}
    scripted.serve("POST /responses", response(picture))
    with guarded(scripted) as client, pytest.raises(UnsupportedContentError):
        client.responses.create(model="m", input="draw a loaf")


def test_a_picture_may_be_listed_as_left_out_instead(scripted: Scripted) -> None:
    picture = {"type": "image_generation_call", "id": "i", "status": "completed", "result": "AAAA"}
    scripted.serve("POST /responses", response(message("There."), picture))
    with guarded(scripted, unscreenable="record") as client:
        result = client.responses.create(model="m", input="draw a loaf")
    verdict = outcomes_of(result)[-1].verdict
    assert verdict is not None
    assert [left.first for left in verdict.coverage.left_out] == ["output[1].result"]


def test_a_replaced_response_is_incomplete_and_says_the_message_alone(upstream: Upstream) -> None:
    upstream.reply(Reply("HARM"))
    with guarded(upstream, policy=REPLACING) as client:
        result = client.responses.create(model="m", input="hello")
    assert result.output_text == "Not that."
    assert result.status == "incomplete"
    assert result.incomplete_details is not None
    assert result.incomplete_details.reason == "content_filter"
    assert "HARM" not in result.to_json()


def test_a_replaced_response_keeps_its_id_and_its_usage(upstream: Upstream) -> None:
    upstream.reply(Reply("HARM"))
    with guarded(upstream, policy=REPLACING) as client:
        result = client.responses.create(model="m", input="hello")
    assert result.id == "resp_1"
    assert result.usage is not None
    assert result.usage.total_tokens == 12


def test_a_replaced_prompt_gives_the_message_and_its_verdict(upstream: Upstream) -> None:
    with guarded(upstream, policy=REPLACING) as client:
        result = client.responses.create(model="m", input="HARM")
    assert result.output_text == "Not that."
    (outcome,) = outcomes_of(result)
    assert outcome.verdict is not None


class Loaf(BaseModel):
    """A structured reply."""

    flour: str


def test_a_reply_that_does_not_parse_is_judged_before_the_error_could_quote_it(upstream: Upstream) -> None:
    upstream.reply(Reply("HARM, and no JSON"))
    with guarded(upstream) as client, pytest.raises(Blocked):
        client.responses.parse(model="m", input="hello", text_format=Loaf)


def test_a_structured_reply_that_is_allowed_is_parsed(upstream: Upstream) -> None:
    upstream.reply(Reply.of_json({"flour": "rye"}))
    with guarded(upstream) as client:
        assert client.responses.parse(model="m", input="hello", text_format=Loaf).output_parsed == Loaf(
            flour="rye"
        )


def test_a_structured_reply_that_is_replaced_is_the_message_and_nothing_parsed(upstream: Upstream) -> None:
    upstream.reply(Reply.of_json({"flour": "HARM"}))
    with guarded(upstream, policy=REPLACING) as client:
        result = client.responses.parse(model="m", input="hello", text_format=Loaf)
    assert (result.output_text, result.output_parsed) == ("Not that.", None)
