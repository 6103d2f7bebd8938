"""Find the assistant's replies in whatever a model call returns, by shape."""

from collections.abc import Sequence

from guardreasoner_sdk.conversation import field_of
from guardreasoner_sdk.errors import UnsupportedContentError


def replies_of(value: object) -> tuple[object, ...]:
    """Every reply in the value of a model call, each a string or an assistant message.

    Understands a string; a message (mapping or object with ``role`` or LangChain's ``type``, which
    Anthropic's responses are, too); a completion with ``choices``, each with a ``message`` or ``text``
    (OpenAI, LiteLLM); a ``message`` or, beside ``done``, a ``response`` (Ollama); and one result or a list of
    them with ``outputs``, each with ``text`` (vLLM). Every choice and every output counts.

    Raises:
        UnsupportedContentError: anything else. A reply that cannot be found is not passed on unjudged.
    """
    if isinstance(value, str):
        return (value,)
    choices = field_of(value, "choices")
    if isinstance(choices, Sequence) and not isinstance(choices, (str, bytes)) and choices:
        return tuple(reply for choice in choices for reply in _choice(choice))
    message = field_of(value, "message")
    if message is not None and not isinstance(message, str):
        return (message,)
    response, done = field_of(value, "response"), field_of(value, "done")
    if isinstance(response, str) and isinstance(done, bool):
        return ({"role": "assistant", "content": response, "thinking": field_of(value, "thinking")},)
    results = value if isinstance(value, list) else [value]
    if results and all(_outputs(result) for result in results):
        return tuple(reply for result in results for output in _outputs(result) for reply in _choice(output))
    if isinstance(field_of(value, "role"), str) or (
        field_of(value, "content") is not None and isinstance(field_of(value, "type"), str)
    ):
        return (value,)
    raise UnsupportedContentError(
        f"the call returned a {type(value).__name__}, in which no reply to judge was recognised: return text "
        "or a message, or tell the guard where the reply is with response=lambda value: ..."
    )


def _outputs(result: object) -> Sequence[object]:
    outputs = field_of(result, "outputs")
    return outputs if isinstance(outputs, Sequence) and not isinstance(outputs, (str, bytes)) else ()


def _choice(choice: object) -> Sequence[object]:
    message = field_of(choice, "message")
    if message is not None:
        return (message,)
    text = field_of(choice, "text")
    if isinstance(text, str):
        return (text,)
    raise UnsupportedContentError(
        "a choice or output of the completion has neither a message nor text: nothing to judge"
    )
