"""A server that speaks vLLM's protocol and replays recorded outputs of a guard model."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self, TypeAlias

from guardreasoner_sdk.errors import ConfigError
from guardreasoner_sdk.testing._loopback import Answered, Asked, LoopbackServer
from guardreasoner_sdk.testing._recordings import (
    NotRecorded,
    Recording,
    Recordings,
    Words,
    next_logprobs,
    next_text,
    pieces_of,
    read_predictions,
)

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_FILE: Final = "generated_predictions.jsonl"
_CONTEXT: Final = 131_072
_WORDS_AN_EVENT: Final = 8


class ReplayServer(LoopbackServer):
    """Serves recordings on a loopback port, to whoever speaks vLLM's ``/v1/completions``.

    The served model's name selects a set of recordings, and the prompt selects one of them. What is answered
    to a prompt that goes on after a recorded one:

    - after a beginning of the recording: the rest of it;
    - after the first heading (a hardened prompt), where the recording does not begin with that: the recording
      as it is. What the model would have written there is not known;
    - after the beginning of an answers block, or with a grammar: the recorded labels. Where the recording
      holds none, ``harmful``, ``compliance``, ``harmful``, changed as little as the grammar wants.

    Anything else is refused with status 400. Temperature and seed change nothing. Probabilities are made up:
    0.9 for the token that comes next, 0.05 for others. For ``max_tokens`` and usage a word is a token.

    What it knows: ``/v1/completions`` (texts or tokens, one or many; ``max_tokens``, ``stop``, ``stream``,
    ``structured_outputs.regex``, ``logprob_token_ids``), ``/v1/models``, ``/tokenize``, ``/health``,
    ``/version``. It cannot do ``prompt_logprobs``.

    ::

        with ReplayServer.of_predictions(Path("predictions")) as server:
            guard = Guard("1B/AegisSafetyTest", url=server.url)

    Args:
        models: recordings by served model name.
        api_key: if given, ``/v1`` wants it as a bearer token.
        structured_outputs: whether a grammar is heeded; if not, such requests are refused with status 400.
        seconds_per_token: how long each new token takes.
    """

    def __init__(
        self,
        models: Mapping[str, Iterable[Recording]],
        *,
        api_key: str | None = None,
        structured_outputs: bool = True,
        seconds_per_token: float = 0.0,
    ) -> None:
        super().__init__(self._answer)
        if not models:
            raise ConfigError("no recordings to replay: give at least one model")
        self._models = {name: Recordings(recordings) for name, recordings in models.items()}
        self._api_key = api_key
        self._structured_outputs = structured_outputs
        self._seconds_per_token = seconds_per_token
        self._words = Words()
        self._served = 0

    @classmethod
    def of_predictions(
        cls,
        folder: Path,
        *,
        api_key: str | None = None,
        structured_outputs: bool = True,
        seconds_per_token: float = 0.0,
    ) -> Self:
        """Serve every ``generated_predictions.jsonl`` below a folder, under the name of its place in it.

        Raises:
            ConfigError: there is none, or one has another form.
        """
        files = sorted(folder.rglob(_FILE))
        if not files:
            raise ConfigError(f"no {_FILE} below {folder}")
        models = {file.parent.relative_to(folder).as_posix(): read_predictions(file) for file in files}
        return cls(
            models,
            api_key=api_key,
            structured_outputs=structured_outputs,
            seconds_per_token=seconds_per_token,
        )

    @property
    def url(self) -> str:
        """Base of the OpenAI-compatible routes, ending in ``/v1``."""
        return f"{self.root}/v1"

    @property
    def models(self) -> tuple[str, ...]:
        """The names under which recordings are served."""
        return tuple(self._models)

    @property
    def served(self) -> int:
        """How many prompts were answered so far."""
        return self._served

    def _answer(self, asked: Asked) -> Answered:
        match asked.method, asked.path:
            case "GET", "/health" | "/ping":
                return Answered(200, [])
            case "GET", "/version":
                return _json(200, {"version": "replay"})
            case "POST", "/tokenize":
                return self._tokenize(asked)
            case _, path if path.startswith("/v1/") and not self._allowed(asked):
                return _json(401, {"error": "Unauthorized"})
            case "GET", "/v1/models":
                return _json(200, {"object": "list", "data": [self._card(name) for name in self._models]})
            case "POST", "/v1/completions":
                return self._complete(asked)
        return _json(404, {"detail": "Not Found"})

    def _allowed(self, asked: Asked) -> bool:
        return self._api_key is None or asked.headers.get("authorization") == f"Bearer {self._api_key}"

    def _card(self, name: str) -> Json:
        return {"id": name, "object": "model", "owned_by": "replay", "root": name, "max_model_len": _CONTEXT}

    def _tokenize(self, asked: Asked) -> Answered:
        try:
            text = json.loads(asked.body)["prompt"]
            tokens = self._words.encode(text)
        except (ValueError, KeyError, TypeError) as error:
            return _refused(f"not a request: {error}")
        return _json(
            200, {"count": len(tokens), "max_model_len": _CONTEXT, "tokens": tokens, "token_strs": None}
        )

    def _complete(self, asked: Asked) -> Answered:
        try:
            body = json.loads(asked.body)
        except ValueError as error:
            return _refused(str(error))
        if not isinstance(body, dict):
            return _refused("the body is not an object")
        name = body.get("model") or next(iter(self._models))
        recordings = self._models.get(name)
        if recordings is None:
            message = f"The model `{name}` does not exist. Valid aliases: {', '.join(self._models)}."
            return _error(404, message, kind="NotFoundError", parameter="model")
        try:
            order = _Order(body, words=self._words, structured_outputs=self._structured_outputs)
            choices = [order.choice(n, prompt, recordings) for n, prompt in enumerate(order.prompts)]
        except NotRecorded as error:
            return _refused(f"{error} (model {name!r})")
        except (LookupError, TypeError, ValueError) as error:
            return _refused(f"not a request: {error}")
        self._served += len(choices)
        return order.reply(name, choices, seconds_per_token=self._seconds_per_token)


class _Choice:
    """The answer to one prompt."""

    def __init__(self, fields: dict[str, Json], pieces: list[str], prompt_tokens: int) -> None:
        self.fields = fields
        self.pieces = pieces
        self.prompt_tokens = prompt_tokens


class _Order:
    """One completion request."""

    def __init__(self, body: dict[str, object], *, words: Words, structured_outputs: bool) -> None:
        self._words = words
        if body.get("prompt_logprobs") is not None or body.get("echo"):
            raise NotRecorded("a replay has no log-probabilities of prompts")
        grammar = body.get("structured_outputs")
        if grammar is not None and not structured_outputs:
            raise NotRecorded("structured_outputs is not supported here")
        self._regex = None if grammar is None else _regex(grammar)
        self._wanted = _ids(body.get("logprob_token_ids") or [])
        self._with_ids = bool(body.get("return_token_ids"))
        stop = body.get("stop") or []
        self._stop = [stop] if isinstance(stop, str) else _texts(stop)
        limit = body.get("max_tokens", 16)
        if not isinstance(limit, int) or limit < 1:
            raise ValueError(f"max_tokens is {limit!r}")
        self._max_tokens = limit
        self._stream = bool(body.get("stream"))
        options = body.get("stream_options")
        self._usage_always = isinstance(options, dict) and bool(options.get("continuous_usage_stats"))
        self._usage_last = isinstance(options, dict) and bool(options.get("include_usage"))
        self.prompts = self._read_prompts(body.get("prompt"))

    def choice(self, index: int, prompt: str, recordings: Recordings) -> _Choice:
        """Complete one prompt."""
        recording, written = recordings.find(prompt)
        text = next_text(recording, written, regex=self._regex)
        pieces = pieces_of(text)
        finish, reason = "stop", None
        kept = "".join(pieces[: self._max_tokens])
        at, found = min(((kept.find(stop), stop) for stop in self._stop if stop in kept), default=(-1, None))
        if found is not None:
            kept, reason = kept[:at], found
        elif len(kept) < len(text):
            finish = "length"
        fields: dict[str, Json] = {
            "index": index,
            "text": kept,
            "logprobs": self._logprobs(text),
            "finish_reason": finish,
            "stop_reason": reason,
            "token_ids": self._words.encode(kept) if self._with_ids else None,
            "prompt_token_ids": self._words.encode(prompt) if self._with_ids else None,
            "prompt_logprobs": None,
        }
        return _Choice(fields, pieces_of(kept), prompt.count(" ") + prompt.count("\n") + 1)

    def reply(self, model: str, choices: list[_Choice], *, seconds_per_token: float) -> Answered:
        """All prompts' answers."""
        prompt_tokens = sum(choice.prompt_tokens for choice in choices)
        lengths = [len(choice.pieces) for choice in choices]
        envelope: dict[str, Json] = {
            "id": "cmpl-replay",
            "object": "text_completion",
            "created": 0,
            "model": model,
        }
        if not self._stream:
            fields = [choice.fields for choice in choices]
            content = envelope | {"choices": fields, "usage": _usage(prompt_tokens, sum(lengths))}
            return _json(200, content, seconds=max(lengths) * seconds_per_token)
        events: list[tuple[float, bytes]] = []
        for choice in choices:
            for at in range(0, max(1, len(choice.pieces)), _WORDS_AN_EVENT):
                some = choice.pieces[at : at + _WORDS_AN_EVENT]
                last = at + _WORDS_AN_EVENT >= len(choice.pieces)
                part = choice.fields | {"text": "".join(some)} | ({} if last else {"finish_reason": None})
                event = envelope | {"choices": [part]}
                if self._usage_always:
                    event["usage"] = _usage(choice.prompt_tokens, at + len(some))
                events.append((len(some) * seconds_per_token, _event(event)))
        if self._usage_last:
            usage = _usage(prompt_tokens, sum(lengths))
            events.append((0.0, _event(envelope | {"choices": [], "usage": usage})))
        return Answered(200, [*events, (0.0, b"data: [DONE]\n\n")], "text/event-stream", streamed=True)

    def _logprobs(self, text: str) -> Json:
        if not self._wanted:
            return None
        found = next_logprobs(self._words, text, self._wanted)
        return {"top_logprobs": [{f"token_id:{token}": value for token, value in found.items()}]}

    def _read_prompts(self, prompt: object) -> list[str]:
        if isinstance(prompt, str):
            return [prompt]
        if not isinstance(prompt, list) or not prompt:
            raise ValueError("prompt is neither a text nor a list")
        if isinstance(prompt[0], int):
            return [self._words.decode(_ids(prompt))]
        return [each if isinstance(each, str) else self._words.decode(_ids(each)) for each in prompt]


def _regex(grammar: object) -> str:
    regex = grammar.get("regex") if isinstance(grammar, dict) else None
    if not isinstance(regex, str):
        raise ValueError("only structured_outputs.regex is replayed")
    return regex


def _ids(value: object) -> list[int]:
    if not isinstance(value, list) or not all(isinstance(each, int) for each in value):
        raise TypeError("not a list of token ids")
    return value


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError("not a list of texts")
    return value


def _usage(prompt: int, completion: int) -> Json:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _event(content: Json) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def _json(status: int, content: Json, *, seconds: float = 0.0) -> Answered:
    return Answered(status, [(seconds, json.dumps(content).encode())])


def _refused(message: str) -> Answered:
    return _error(400, message, kind="BadRequestError", parameter=None)


def _error(status: int, message: str, *, kind: str, parameter: str | None) -> Answered:
    error: dict[str, Json] = {"message": message, "type": kind, "param": parameter, "code": status}
    return _json(status, {"error": error})
