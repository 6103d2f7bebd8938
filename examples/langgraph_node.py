"""A guard as a node of a LangGraph graph, and an edge that depends on what it decides.

    pip install 'guardreasoner-sdk[langchain]' langgraph langchain-openai
    python examples/langgraph_node.py "How do I keep bread fresh?"

OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL tell which model answers. The graph goes on to the model only
where the guard allows the prompt. The model is guarded, too, for its replies: no node after it could judge
them before they are streamed. What it asks about the prompt again comes from the guard's cache.
"""

import os
import sys

from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph

from guardreasoner_sdk import Blocked, Guard

guard = Guard()
model = guard.wrap(ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-5-mini")))


class State(MessagesState):
    """The messages, and what to say instead of an answer, where the last of them is not allowed."""

    refusal: str | None


def judge(state: State) -> dict[str, object]:
    """Judge what the user said. What is not allowed does not stay in the history."""
    outcome = guard.check(state["messages"])
    if outcome.allowed:
        return {"refusal": None}
    prompt = RemoveMessage(id=str(state["messages"][-1].id))
    return {"refusal": outcome.decision.message, "messages": [prompt]}


def answer(state: State) -> dict[str, object]:
    """Ask the model."""
    try:
        return {"messages": [model.invoke(state["messages"])]}
    except Blocked as blocked:
        return {"messages": [AIMessage(blocked.decision.message or "")]}


def refuse(state: State) -> dict[str, object]:
    """Say what is to be said instead."""
    return {"messages": [AIMessage(state["refusal"] or "")]}


def where(state: State) -> str:
    """The node after the guard's."""
    return "answer" if state["refusal"] is None else "refuse"


def graph() -> CompiledStateGraph[State]:
    """The graph; compile it with a checkpointer to have it remember."""
    builder = StateGraph(State)
    builder.add_node("judge", judge)
    builder.add_node("answer", answer)
    builder.add_node("refuse", refuse)
    builder.add_edge(START, "judge")
    builder.add_conditional_edges("judge", where, ["answer", "refuse"])
    builder.add_edge("answer", END)
    builder.add_edge("refuse", END)
    return builder.compile()


def main(prompt: str) -> None:
    """Answer one prompt, as the answer comes."""
    turn = State(messages=[HumanMessage(prompt)], refusal=None)
    for part in graph().stream(turn, stream_mode="messages", version="v2"):
        if part["type"] == "messages":
            message, _ = part["data"]
            print(message.text, end="", flush=True)
    print()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "How do I keep bread fresh?")
