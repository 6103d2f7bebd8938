"""Nothing that a guarded model says is seen before a verdict over a prefix that holds it, on any way out."""

import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from guardreasoner_langchain import GuardedChatModel
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from guardreasoner_sdk.errors import Blocked
from guardreasoner_sdk.testing import FakeClassifier
from tests.integrations.langchain.models import Ear, chat
from tests.integrations.langchain.ways import WAYS, Way
from tests.integrations.upstream import Reply, Upstream
from tests.sdk.guards import classifier, guard

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore:astream_events version='v1':DeprecationWarning"),
]

WORDS = 90
SAFE = "".join(f"w{n:04}{'.' if n % 10 == 9 else ' '}" for n in range(WORDS))
HARMFUL = SAFE[:360] + "HARM. " + SAFE[360:]

every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


def said(text: str) -> Reply:
    return Reply(text, chunk=6)  # a word in each chunk


class Witness(Ear):
    """Sees what comes out and hears what handlers are told, and holds each word against what was judged."""

    def __init__(self, judged_by: FakeClassifier) -> None:
        super().__init__()
        self._judged_by = judged_by
        self._lock = threading.Lock()
        self._judged: set[str] = set()
        self.words: set[str] = set()
        self.unjudged: set[str] = set()
        self.harm = False

    def see(self, thing: object) -> None:
        with self._lock:
            shown = repr(thing)
            words = set(re.findall(r"w\d{4}", shown))
            self.words |= words
            if not words <= self._judged:
                judged = "".join(request.response or "" for request in self._judged_by.requests)
                self._judged |= set(re.findall(r"w\d{4}", judged))
            self.unjudged |= words - self._judged
            self.harm = self.harm or "HARM" in shown

    def on_llm_new_token(self, token: object, *, chunk: object = None, **kwargs: object) -> None:
        self.see((token, chunk))

    def on_llm_end(self, response: object, **kwargs: object) -> None:
        self.see(response)

    def on_llm_error(self, error: BaseException, **kwargs: object) -> None:
        self.see((error, kwargs.get("response")))

    def on_stream_event(self, event: object, **kwargs: object) -> None:
        self.see(event)

    def on_chain_end(self, outputs: object, **kwargs: object) -> None:
        self.see(outputs)


class Composed(BaseChatModel):
    """A model that asks another as an application would, so that the context hands down its callbacks."""

    other: BaseChatModel

    @property
    def _llm_type(self) -> str:
        return "composed"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.other.invoke(messages))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=await self.other.ainvoke(messages))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self.other.stream(messages):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for chunk in self.other.astream(messages):
            yield ChatGenerationChunk(message=chunk)


Make = Callable[[Upstream, Witness], BaseChatModel]

MODELS: dict[str, Make] = {
    "chat": lambda upstream, _: chat(upstream),
    "chat in v1": lambda upstream, _: chat(upstream, output_version="v1"),
    "responses": lambda upstream, _: chat(upstream, use_responses_api=True),
    "responses in v1": lambda upstream, _: chat(upstream, use_responses_api=True, output_version="v1"),
    "streaming=True": lambda upstream, _: chat(upstream, streaming=True),
    "with handlers of its own": lambda upstream, witness: chat(upstream, callbacks=[witness]),
    "composed": lambda upstream, _: Composed(other=chat(upstream)),
    "guarded twice": lambda upstream, _: GuardedChatModel(guard=guard(), inner=chat(upstream)),
}
FEW = ("invoke", "stream", "stream_events_v3", "graph_messages", "ainvoke", "astream_events_v2")
"""Ways that call a model each in another manner."""

every_case = pytest.mark.parametrize(
    ("way", "make"),
    [
        pytest.param(way, make, id=f"{name}, {kind}")
        for name, way in WAYS.items()
        for kind, make in MODELS.items()
        if kind == "chat" or name in FEW
    ],
)


@every_case
def test_no_word_of_a_harmful_reply_is_seen_before_a_verdict_that_allowed_it(
    upstream: Upstream, way: Way, make: Make
) -> None:
    upstream.reply(said(HARMFUL))
    judged_by = classifier()
    witness = Witness(judged_by)
    model = GuardedChatModel(guard=guard(judged_by, chunk_size=60), inner=make(upstream, witness))
    with pytest.raises(Blocked):
        way(model, witness.see, {"callbacks": [witness]})
    assert (witness.unjudged, witness.harm) == (set(), False)
    assert len(witness.words) < WORDS


@every_case
def test_every_word_of_a_reply_that_is_allowed_is_seen_and_none_before_its_verdict(
    upstream: Upstream, way: Way, make: Make
) -> None:
    upstream.reply(said(SAFE))
    judged_by = classifier()
    witness = Witness(judged_by)
    model = GuardedChatModel(guard=guard(judged_by, chunk_size=60), inner=make(upstream, witness))
    way(model, witness.see, {"callbacks": [witness]})
    assert witness.unjudged == set()
    assert len(witness.words) == WORDS


@every_way
def test_the_same_ways_show_the_words_of_a_model_without_a_guard(upstream: Upstream, way: Way) -> None:
    upstream.reply(said(HARMFUL))
    witness = Witness(classifier())
    way(chat(upstream), witness.see, {"callbacks": [witness]})
    assert witness.harm
    assert len(witness.unjudged) == WORDS
