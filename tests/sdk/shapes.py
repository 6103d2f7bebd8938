"""What chat clients stream and return, in the form of their documented JSON, as mappings and as objects."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import TypeAlias

Json: TypeAlias = Mapping[str, object]
Form: TypeAlias = Callable[[Json], object]


def mapping(value: Json) -> object:
    return value


def an_object(value: Json) -> object:
    """The same as attributes, all the way down, as the clients' classes have them."""
    return SimpleNamespace(**{name: _of(item) for name, item in value.items()})


def _of(item: object) -> object:
    if isinstance(item, Mapping):
        return an_object(item)
    if isinstance(item, Sequence) and not isinstance(item, str):
        return [_of(entry) for entry in item]
    return item


FORMS: Sequence[Form] = (mapping, an_object)


def openai_chunk(
    text: str | None = None, *, index: int = 0, finish: str | None = None, **delta: object
) -> Json:
    """A chunk of OpenAI and LiteLLM."""
    choice = {"index": index, "delta": {"content": text, **delta}, "finish_reason": finish, "logprobs": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "m",
        "created": 1,
        "choices": [choice],
    }


def openai_call(arguments: str, name: str | None = None, index: int = 0) -> Json:
    """A chunk with a piece of a tool call."""
    function = {"name": name, "arguments": arguments}
    call = {"index": index, "id": "call_1" if name else None, "type": "function", "function": function}
    return openai_chunk(None, tool_calls=[call])


def ollama_chunk(text: str, *, done: bool = False, **message: object) -> Json:
    """A chunk of Ollama's chat."""
    said = {"role": "assistant", "content": text, **message}
    return {"model": "m", "created_at": "2025-01-01T00:00:00Z", "message": said, "done": done}


def anthropic_start(block: Json, index: int = 0) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": block}


def anthropic_delta(delta: Json, index: int = 0) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def anthropic_text(text: str) -> Json:
    """An event of Anthropic that adds text."""
    return anthropic_delta({"type": "text_delta", "text": text})


ANTHROPIC_MESSAGE: Json = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 1},
}


def anthropic_stream(*texts: str) -> list[Json]:
    """All events of a reply."""
    return [
        {"type": "message_start", "message": ANTHROPIC_MESSAGE},
        anthropic_start({"type": "text", "text": ""}),
        {"type": "ping"},
        *map(anthropic_text, texts),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]


def anthropic_message(text: str) -> Json:
    return {**ANTHROPIC_MESSAGE, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}


def openai_completion(*texts: str) -> Json:
    """A completion of OpenAI and LiteLLM, with a choice for each text."""
    choices = [
        {"index": n, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for n, text in enumerate(texts)
    ]
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "created": 1, "choices": choices}


def vllm_result(*texts: str) -> Json:
    """vLLM's ``RequestOutput``, with an output for each text."""
    outputs = [{"index": n, "text": text, "finish_reason": "stop"} for n, text in enumerate(texts)]
    return {"request_id": "0", "prompt": None, "outputs": outputs, "finished": True}
