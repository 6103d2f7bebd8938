"""What a call of the Responses API asks: its parameters as a conversation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from guardreasoner_openai.responses_items import ITEM_KINDS, content_parts, fields_of, item_parts
from guardreasoner_sdk.conversation import Conversation, Message, Part, PartKind, Role, checked_text
from guardreasoner_sdk.errors import UnsupportedContentError

_ROLES: Final[Mapping[object, Role]] = {
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "tool": Role.TOOL,
}

# Left out of every judgement and listed in its coverage as what its place makes it, an earlier turn or step:
# no rule takes back a tool result, and none refuses it.
_HIDDEN: Final = PartKind.TOOL_RESULT


def conversation_of(parameters: Mapping[str, object], *, history: Sequence[object] = ()) -> Conversation:
    """The conversation that a call of `responses.create` continues.

    What the provider keeps and the call only names (``previous_response_id``, ``conversation``, a prompt's
    template, an item by reference) stands in it as an empty part, so that the coverage lists it as left out.

    Args:
        parameters: the body of the request, or what of it there is.
        history: items that were said before, oldest first, where they were fetched.

    Raises:
        InvalidTextError: text that is not valid.
        UnsupportedContentError: an item, role or value of unknown form.
    """
    return Conversation(tuple(_messages(parameters, history)))


def has_request(conversation: Conversation) -> bool:
    """Whether a user says something in it."""
    return any(message.role is Role.USER for message in conversation.messages)


def _messages(parameters: Mapping[str, object], history: Sequence[object]) -> Iterator[Message]:
    instructions = parameters.get("instructions")
    if instructions is not None:
        yield Message(Role.SYSTEM, tuple(content_parts(instructions, "instructions")))
    previous = parameters.get("previous_response_id")
    if previous is not None:
        yield _hidden(f"previous_response_id[{previous}]")
    stored = parameters.get("conversation")
    if stored is not None:
        name = stored if isinstance(stored, str) else fields_of(stored, "conversation").get("id")
        yield _hidden(f"conversation[{name}]")
    for n, item in enumerate(history):
        yield _message(item, f"history[{n}]")
    prompt = parameters.get("prompt")
    if prompt is not None:
        yield from _prompt(fields_of(prompt, "prompt"))
    asked = parameters.get("input")
    if isinstance(asked, str):
        yield Message(Role.USER, (Part("input", PartKind.TEXT, checked_text(asked, "input")),))
    elif isinstance(asked, Sequence) and not isinstance(asked, (bytes, bytearray)):
        for n, item in enumerate(asked):
            yield _message(item, f"input[{n}]")
    elif asked is not None:
        raise UnsupportedContentError(
            f"input is a {type(asked).__name__}: it must be text or a list of items, which can be read twice"
        )


def _prompt(prompt: Mapping[str, object]) -> Iterator[Message]:
    """A stored prompt: its template is the application's, what is filled in may be a user's."""
    yield Message(Role.SYSTEM, (Part(f"prompt[{prompt.get('id')}]", _HIDDEN, ""),))
    variables = prompt.get("variables")
    if variables:
        filled = fields_of(variables, "prompt.variables")
        parts = [
            part
            for name, value in filled.items()
            for part in content_parts(value, f"prompt.variables.{name}")
        ]
        yield Message(Role.USER, tuple(parts))


def _hidden(path: str) -> Message:
    return Message(Role.ASSISTANT, (Part(path, _HIDDEN, ""),))


def _message(item: object, path: str) -> Message:
    fields = fields_of(item, path)
    type_ = fields.get("type")
    if type_ == "item_reference" or (type_ is None and fields.keys() == {"id"}):
        return _hidden(f"{path}[{fields.get('id')}]")
    parts = tuple(item_parts(fields, path))
    if type_ in (None, "message"):
        role = _ROLES.get(fields.get("role"))
        if role is None:
            raise UnsupportedContentError(
                f"{path} has the role {fields.get('role')!r}; known roles are {', '.join(map(str, _ROLES))}"
            )
        return Message(role, parts)
    if type_ == "mcp_approval_response" or type_ not in ITEM_KINDS:
        return Message(Role.USER, parts)  # of unknown type: nobody's words go unjudged
    results = any(part.kind is PartKind.TOOL_RESULT for part in parts)
    return Message(Role.TOOL if results else Role.ASSISTANT, parts)
