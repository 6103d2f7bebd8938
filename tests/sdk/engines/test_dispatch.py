"""Retries and failover as decisions: a wire that does what a script says, and pauses that do not sleep."""

from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardreasoner_sdk._drive import run_flow
from guardreasoner_sdk.engines._dispatch import (
    MAX_BACKOFF_SECONDS,
    Call,
    Dispatch,
    Endpoint,
    Endpoints,
    Reply,
    backoff_seconds,
    redact,
    refusal,
)
from guardreasoner_sdk.errors import (
    BadEngineResponseError,
    CannotJudgeError,
    ConfigError,
    EngineAuthError,
    EngineTimeoutError,
    EngineUnavailableError,
    PromptTooLongError,
    RateLimitedError,
)

T = TypeVar("T")
FAR = 1e12
FINE = Reply(200, {}, b"fine")


@dataclass
class ScriptedEffect:
    result: object

    def run(self) -> object:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    async def arun(self) -> object:
        return self.run()


@dataclass
class ScriptedWire:
    script: list[Reply | CannotJudgeError]
    asked: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def send(self, call: Call[T], endpoint: Endpoint, *, deadline: float) -> ScriptedEffect:
        self.asked.append(endpoint.name)
        return ScriptedEffect(self.script.pop(0))

    def pause(self, seconds: float) -> ScriptedEffect:
        self.pauses.append(seconds)
        return ScriptedEffect(None)


def send(
    wire: ScriptedWire, *, endpoints: Endpoints | None = None, max_retries: int = 3, deadline: float = FAR
) -> bytes:
    dispatch = Dispatch(
        wire=wire,  # type: ignore[arg-type]
        endpoints=endpoints or Endpoints(["http://one"]),
        max_retries=max_retries,
        deadline=deadline,
    )
    return run_flow(dispatch.call(Call(path="/x", decode=lambda reply: reply.body)))


def down() -> EngineUnavailableError:
    return EngineUnavailableError("down")


def silent() -> EngineTimeoutError:
    return EngineTimeoutError("silent")


def test_a_server_that_recovers_is_asked_again_after_growing_pauses() -> None:
    wire = ScriptedWire([down(), Reply(503, {}, b""), down(), FINE])
    assert send(wire) == b"fine"
    assert len(wire.pauses) == 3
    assert wire.pauses[0] < wire.pauses[2]


def test_patience_ends_after_max_retries_and_says_how_often_it_was_tried() -> None:
    wire = ScriptedWire([down() for _ in range(9)])
    with pytest.raises(EngineUnavailableError, match="3 attempts"):
        send(wire, max_retries=2)
    assert len(wire.asked) == 3


def test_a_refusal_is_not_tried_again_nor_elsewhere() -> None:
    wire = ScriptedWire([Reply(401, {}, b""), FINE])
    with pytest.raises(EngineAuthError):
        send(wire, endpoints=Endpoints(["http://one", "http://two"]))
    assert len(wire.asked) == 1


def test_retry_after_is_waited_for() -> None:
    wire = ScriptedWire([Reply(429, {"retry-after": "42"}, b""), FINE])
    assert send(wire) == b"fine"
    assert wire.pauses == [42.0]


def test_no_pause_reaches_beyond_the_deadline() -> None:
    import time

    wire = ScriptedWire([Reply(503, {"retry-after": "42"}, b""), FINE])
    with pytest.raises(EngineUnavailableError):
        send(wire, deadline=time.monotonic() + 41)
    assert wire.pauses == []


def test_the_next_server_is_asked_without_a_pause_and_stays_in_use() -> None:
    endpoints = Endpoints(["http://one", "http://two"])
    wire = ScriptedWire([down(), FINE, FINE])
    send(wire, endpoints=endpoints)
    send(wire, endpoints=endpoints)
    assert wire.asked == ["http://one/v1", "http://two/v1", "http://two/v1"]
    assert wire.pauses == []


def test_the_first_server_is_used_again_when_its_time_aside_is_over() -> None:
    endpoints = Endpoints(["http://one", "http://two"])
    one, _ = endpoints.choose(0.0)
    endpoints.failed(one, 0.0)
    assert endpoints.choose(0.5)[0].name == "http://two/v1"
    assert endpoints.choose(1.5)[0].name == "http://one/v1"
    endpoints.failed(one, 1.5)
    assert endpoints.choose(3.0)[0].name == "http://two/v1"
    endpoints.succeeded(one)
    assert endpoints.choose(3.0)[0].name == "http://one/v1"


def test_when_all_are_aside_the_one_that_returns_first_is_asked() -> None:
    endpoints = Endpoints(["http://one", "http://two"])
    one, _ = endpoints.choose(0.0)
    endpoints.failed(one, 0.0)
    two, fit = endpoints.choose(0.5)
    endpoints.failed(two, 0.5)
    assert fit
    assert endpoints.choose(0.6) == (one, False)


def test_a_silent_server_is_replaced_but_not_asked_again() -> None:
    wire = ScriptedWire([silent(), FINE])
    assert send(wire, endpoints=Endpoints(["http://one", "http://two"])) == b"fine"
    alone = ScriptedWire([silent(), FINE])
    with pytest.raises(EngineTimeoutError):
        send(alone)


def test_all_silent_servers_are_asked_once_each() -> None:
    wire = ScriptedWire([silent(), silent(), silent(), FINE])
    with pytest.raises(EngineTimeoutError):
        send(wire, endpoints=Endpoints(["http://one", "http://two", "http://three"]))
    assert wire.asked == ["http://one/v1", "http://two/v1", "http://three/v1"]


def test_a_reply_that_is_not_the_protocol_is_tried_again_and_located() -> None:
    def decode(reply: Reply) -> bytes:
        raise BadEngineResponseError("the reply is not JSON")

    wire = ScriptedWire([FINE, FINE])
    dispatch = Dispatch(wire=wire, endpoints=Endpoints(["http://one"]), max_retries=1, deadline=FAR)  # type: ignore[arg-type]
    with pytest.raises(BadEngineResponseError, match="http://one/v1: the reply is not JSON"):
        run_flow(dispatch.call(Call(path="/x", decode=decode)))
    assert len(wire.asked) == 2


@given(waits=st.integers(0, 10_000), retry_after=st.none() | st.floats(0, 1e6))
def test_a_pause_is_positive_bounded_and_no_shorter_than_asked(waits: int, retry_after: float | None) -> None:
    seconds = backoff_seconds(waits, retry_after=retry_after)
    assert 0 < seconds <= max(MAX_BACKOFF_SECONDS, retry_after or 0)
    assert seconds >= (retry_after or 0)


@given(status=st.integers(100, 599).filter(lambda status: status != 200), body=st.binary(max_size=200))
def test_any_refusal_is_an_error_that_names_the_endpoint(status: int, body: bytes) -> None:
    failure = refusal(Reply(status, {"retry-after": "soon"}, body), endpoint="http://one/v1")
    assert isinstance(failure, CannotJudgeError)
    assert "http://one/v1" in str(failure)
    assert str(status) in str(failure)
    assert failure.retryable == (status in (408, 425, 429) or status >= 500)


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_retry_after_that_is_no_number_of_seconds_is_left_aside(value: str) -> None:
    failure = refusal(Reply(429, {"retry-after": value}, b""), endpoint="e")
    assert isinstance(failure, RateLimitedError)
    assert failure.retry_after is None


def test_the_length_is_told_by_the_parameter_too() -> None:
    body = b'{"error": {"message": "no", "param": "input_tokens", "code": 400}}'
    assert isinstance(refusal(Reply(400, {}, body), endpoint="e"), PromptTooLongError)


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://gpu-1:8000/v1", "http://gpu-1:8000"),
        ("http://gpu-1:8000/v1/", "http://gpu-1:8000"),
        ("http://gpu-1:8000", "http://gpu-1:8000"),
        ("gpu-1:8000", "http://gpu-1:8000"),
        ("https://host/guard/v1", "https://host/guard"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
    ],
)
def test_an_url_may_end_in_v1_or_not(url: str, root: str) -> None:
    assert Endpoint(url).root == root
    assert Endpoint(url).name == f"{root}/v1"


@pytest.mark.parametrize("url", ["", "http://", "ftp://host", "file:///etc/passwd"])
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        Endpoint(url)


def test_credentials_and_queries_are_redacted() -> None:
    assert redact("http://user:secret@host:1/v1?key=secret#secret") == "http://host:1/v1"
