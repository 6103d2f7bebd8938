"""What the HTTP engine can say of a server before it judges: whether it is up, and what it serves."""

import pytest

from guardreasoner_sdk.engines.vllm_http import VLLMServer
from guardreasoner_sdk.errors import EngineAuthError, EngineUnavailableError, GuardClosedError
from guardreasoner_sdk.testing import Recording, ReplayServer

RECORDING = Recording("a prompt", "an answer")
NOBODY = "http://127.0.0.1:9/v1"


def test_a_server_that_is_up_is_healthy() -> None:
    with ReplayServer({"guard": [RECORDING]}) as server, VLLMServer(server.url) as engine:
        assert engine.healthy()


def test_health_needs_no_key() -> None:
    with ReplayServer({"guard": [RECORDING]}, api_key="sesame") as server, VLLMServer(server.url) as engine:
        assert engine.healthy()


def test_a_server_that_is_not_there_is_not_healthy() -> None:
    with VLLMServer(NOBODY, max_retries=0) as engine:
        assert not engine.healthy()


def test_a_closed_engine_does_not_ask() -> None:
    engine = VLLMServer(NOBODY)
    engine.close()
    with pytest.raises(GuardClosedError):
        engine.healthy()


def test_all_served_models_are_listed() -> None:
    with ReplayServer({"one": [RECORDING], "two": [RECORDING]}) as server, VLLMServer(server.url) as engine:
        assert engine.models() == ("one", "two")


def test_the_only_model_becomes_the_engines_own() -> None:
    with ReplayServer({"guard": [RECORDING]}) as server, VLLMServer(server.url) as engine:
        engine.models()
        assert engine.info.model == "guard"


def test_a_model_that_was_named_stays() -> None:
    with ReplayServer({"guard": [RECORDING]}) as server, VLLMServer(server.url, model="other") as engine:
        engine.models()
        assert engine.info.model == "other"


def test_a_wrong_key_is_an_error_and_no_empty_list() -> None:
    server = ReplayServer({"guard": [RECORDING]}, api_key="sesame")
    with server, VLLMServer(server.url) as engine, pytest.raises(EngineAuthError):
        engine.models()


def test_a_server_that_is_not_there_is_an_error_and_no_empty_list() -> None:
    with VLLMServer(NOBODY, max_retries=0) as engine, pytest.raises(EngineUnavailableError):
        engine.models()
