"""Every way in which a chat model's words come out of LangChain, each a function that shows what it sees.

A way gets something that runs a model and shows each thing that comes out, whole, to `see`: chunks, events,
messages, states of a graph.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import END, START, MessagesState, StateGraph

See: TypeAlias = Callable[[object], None]
Way: TypeAlias = Callable[[BaseChatModel, See, RunnableConfig], None]

PROMPT = "How is bread kept?"


def chain_of(model: BaseChatModel) -> Runnable[Any, BaseMessage]:
    return ChatPromptTemplate.from_messages([("human", "{question}")]) | model


def graph_of(model: BaseChatModel, call: str) -> Runnable[Any, Any]:
    """A graph with one node, which calls the model in one of the ways that a node might."""

    def node(state: MessagesState) -> dict[str, object]:
        if call == "stream":
            return {"messages": [_sum(list(model.stream(state["messages"])))]}
        return {"messages": [model.invoke(state["messages"])]}

    async def anode(state: MessagesState) -> dict[str, object]:
        if call == "stream":
            return {"messages": [_sum([chunk async for chunk in model.astream(state["messages"])])]}
        return {"messages": [await model.ainvoke(state["messages"])]}

    from langchain_core.runnables import RunnableLambda

    graph = StateGraph(MessagesState)
    graph.add_node("model", RunnableLambda(node, anode))
    graph.add_edge(START, "model")
    graph.add_edge("model", END)
    return graph.compile()


def _sum(chunks: list[Any]) -> BaseMessage:
    first, *others = chunks
    whole: BaseMessage = first + others if others else first
    return whole


ASKED: Mapping[str, object] = {"messages": [("human", PROMPT)]}


def invoke(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    see(model.invoke(PROMPT, config))


def stream(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    for chunk in model.stream(PROMPT, config):
        see(chunk)


def batch(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    see(model.batch([PROMPT, PROMPT], config))


def batch_as_completed(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    for result in model.batch_as_completed([PROMPT, PROMPT], config):
        see(result)


def generate(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    see(model.generate([model._convert_input(PROMPT).to_messages()], callbacks=config["callbacks"]))


def stream_events_v3(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    events = model.stream_events(PROMPT, config, version="v3")
    for event in events:
        see(event)
    see(events.output)


def chain_stream(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    for chunk in chain_of(model).stream({"question": PROMPT}, config):
        see(chunk)


def graph_messages(model: BaseChatModel, see: See, config: RunnableConfig, call: str = "invoke") -> None:
    modes: Any = ["messages", "updates", "values", "debug"]
    for part in graph_of(model, call).stream(ASKED, config, stream_mode=modes):
        see(part)


def graph_messages_of_a_stream(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    graph_messages(model, see, config, "stream")


async def ainvoke(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    see(await model.ainvoke(PROMPT, config))


async def astream(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    async for chunk in model.astream(PROMPT, config):
        see(chunk)


async def abatch(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    see(await model.abatch([PROMPT, PROMPT], config))


async def abatch_as_completed(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    async for result in model.abatch_as_completed([PROMPT, PROMPT], config):
        see(result)


async def astream_events_v1(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    async for event in model.astream_events(PROMPT, config, version="v1"):
        see(event)


async def astream_events_v2(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    async for event in model.astream_events(PROMPT, config, version="v2"):
        see(event)


async def astream_events_v3(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    events = await model.astream_events(PROMPT, config, version="v3")
    async for event in events:
        see(event)
    see(await events.output)


async def chain_astream_events_v1(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    async for event in chain_of(model).astream_events({"question": PROMPT}, config, version="v1"):
        see(event)


async def chain_astream_events_v2(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    async for event in chain_of(model).astream_events({"question": PROMPT}, config, version="v2"):
        see(event)


async def bound_astream_events_v3(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    async for event in await model.bind(stop=["\n"]).astream_events(PROMPT, config, version="v3"):
        see(event)


async def graph_amessages(
    model: BaseChatModel, see: See, config: RunnableConfig, call: str = "invoke"
) -> None:
    modes: Any = ["messages", "updates", "values", "debug"]
    async for part in graph_of(model, call).astream(ASKED, config, stream_mode=modes):
        see(part)


async def graph_amessages_of_a_stream(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    await graph_amessages(model, see, config, "stream")


async def graph_astream_events_v1(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    async for event in graph_of(model, "invoke").astream_events(ASKED, config, version="v1"):
        see(event)


async def graph_astream_events_v2(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    async for event in graph_of(model, "invoke").astream_events(ASKED, config, version="v2"):
        see(event)


async def graph_astream_events_v3(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    run: Any = await graph_of(model, "invoke").astream_events(ASKED, config, version="v3")
    async for event in run:
        see(event)


def graph_stream_events_v3(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
    run: Any = graph_of(model, "invoke").stream_events(ASKED, config, version="v3")
    for event in run:
        see(event)


def _waited(way: Callable[..., Any]) -> Way:
    def run(model: BaseChatModel, see: See, config: RunnableConfig) -> None:
        asyncio.run(way(model, see, config))

    run.__name__ = way.__name__
    return run


_SYNC: tuple[Way, ...] = (
    invoke,
    stream,
    batch,
    batch_as_completed,
    generate,
    stream_events_v3,
    chain_stream,
    graph_messages,
    graph_messages_of_a_stream,
    graph_stream_events_v3,
)
_ASYNC = (
    ainvoke,
    astream,
    abatch,
    abatch_as_completed,
    astream_events_v1,
    astream_events_v2,
    astream_events_v3,
    chain_astream_events_v1,
    chain_astream_events_v2,
    bound_astream_events_v3,
    graph_amessages,
    graph_amessages_of_a_stream,
    graph_astream_events_v1,
    graph_astream_events_v2,
    graph_astream_events_v3,
)
WAYS: Mapping[str, Way] = {way.__name__: way for way in (*_SYNC, *map(_waited, _ASYNC))}
