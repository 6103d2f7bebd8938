"""The messages of an agent's turn. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from guardreasoner_langchain.messages import noted, outcomes_of
from guardreasoner_sdk.conversation import Conversation, Message, PartKind, Role
from guardreasoner_sdk.outcomes import Outcome

CALLS_KEY = "guardreasoner_tool_calls"
"""Where in a reply's ``response_metadata`` digests of the tool calls stand that were judged with it."""


def prompt_of(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The last user turn: all user messages since anybody else spoke, and what came after them."""
    last = max((n for n, message in enumerate(messages) if isinstance(message, HumanMessage)), default=None)
    if last is None:
        return []
    first = last
    for n in range(last - 1, -1, -1):
        if isinstance(messages[n], HumanMessage):
            first = n
        elif not isinstance(messages[n], SystemMessage):
            break
    return list(messages[first:])


def since(messages: Sequence[BaseMessage], first: str | None) -> list[BaseMessage]:
    """The messages from the one with this id on; the last user turn where it is gone."""
    at = next((n for n, message in enumerate(messages) if message.id == first), None)
    return prompt_of(messages) if at is None or first is None else list(messages[at:])


def step_of(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The last reply of the model, and what came after it; empty where it has not spoken."""
    at = max((n for n, message in enumerate(messages) if isinstance(message, AIMessage)), default=None)
    return [] if at is None else list(messages[at:])


def removed(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """What takes these messages out of the history."""
    return [RemoveMessage(id=message.id) for message in messages if message.id is not None]


def stopped_in(messages: Sequence[BaseMessage]) -> Outcome | None:
    """The first outcome told by one of these messages that is not allowed."""
    told = (outcome for message in messages for outcome in outcomes_of(message))
    return next((outcome for outcome in told if not outcome.allowed), None)


# -- what is judged


def result_of(message: BaseMessage) -> Conversation | None:
    """What a tool's result says, as the request that it is to the model; ``None`` where it says nothing.

    Raises:
        InputError: it is not text.
    """
    (said,) = Conversation.of([message]).messages
    parts = tuple(
        part if part.kind is PartKind.OPAQUE else replace(part, kind=PartKind.TEXT) for part in said.parts
    )
    if not any(part.kind is PartKind.OPAQUE or part.text.strip() for part in parts):
        return None
    return Conversation((Message(Role.USER, parts),))


def call_of(call: ToolCall) -> dict[str, object]:
    """A tool call as a reply of its own."""
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def before_call(messages: Sequence[BaseMessage], call: ToolCall) -> list[BaseMessage]:
    """What had been said when the model made a tool call."""
    for n in range(len(messages) - 1, -1, -1):
        message = messages[n]
        if isinstance(message, AIMessage) and any(each["id"] == call["id"] for each in message.tool_calls):
            return list(messages[:n])
    return list(messages)


def with_judged_calls(message: AIMessage) -> AIMessage:
    """A copy of a judged reply that tells which tool calls were judged with it."""
    if not message.tool_calls:
        return message
    metadata = {**message.response_metadata, CALLS_KEY: [_digest(call) for call in message.tool_calls]}
    return message.model_copy(update={"response_metadata": metadata})


def was_judged(messages: Sequence[BaseMessage], call: ToolCall) -> bool:
    """Whether this call, as it is about to run, was judged with the last reply of the model."""
    step = step_of(messages)
    return bool(step) and _digest(call) in step[0].response_metadata.get(CALLS_KEY, ())


def _digest(call: ToolCall) -> str:
    said = json.dumps([call["id"], call["name"], call["args"]], sort_keys=True, default=repr)
    return hashlib.sha256(said.encode()).hexdigest()


# -- what stands in the place of what is not allowed


def violation(outcome: Outcome) -> AIMessage:
    """The agent's answer."""
    metadata: Mapping[str, str] = {"finish_reason": "content_filter"}
    answer = AIMessage(content=outcome.decision.message or "", response_metadata=dict(metadata))
    return noted(answer, [outcome])


def refused(call_id: str, name: str | None, outcome: Outcome, *, id: str | None = None) -> ToolMessage:
    """The result of a tool call that did not run, or whose result nobody is to see."""
    message = ToolMessage(
        content=outcome.decision.message or "", tool_call_id=call_id, name=name, status="error", id=id
    )
    return noted(message, [outcome])


def in_place_of(message: BaseMessage, outcome: Outcome) -> BaseMessage:
    """The violation message in the place, and with the id, of another message."""
    if isinstance(message, ToolMessage):
        return refused(message.tool_call_id, message.name, outcome, id=message.id)
    empty = type(message)(content=outcome.decision.message or "", id=message.id)
    return noted(empty, [outcome])
