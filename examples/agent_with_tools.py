"""A LangChain agent with tools under guard: what it is asked, what it says, its tool calls and their results.

    pip install 'guardreasoner-sdk[langchain]' langchain-openai
    python examples/agent_with_tools.py "Is there flour? If not, order some."

OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL tell which model answers.
"""

import os
import sys

from guardreasoner_langchain import outcomes_of
from guardreasoner_langchain.middleware import GuardMiddleware
from langchain.agents import create_agent
from langchain.agents.middleware import InputAgentState
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from guardreasoner_sdk import Guard

STOCK = {"flour": 0, "yeast": 12}


def in_stock(item: str) -> str:
    """How many bags of something there are."""
    return f"There are {STOCK.get(item, 0)} bags of {item}."


def order(item: str, bags: int) -> str:
    """Order bags of something."""
    STOCK[item] = STOCK.get(item, 0) + bags
    print(f"(ordering {bags} bags of {item})")
    return f"{bags} bags of {item} are on their way."


def main(prompt: str) -> None:
    """Run one turn, printing the answer as it comes, and then what was judged."""
    thread: RunnableConfig = {"configurable": {"thread_id": "bakery"}}
    with Guard() as guard:
        agent = create_agent(
            f"openai:{os.environ.get('OPENAI_MODEL', 'gpt-5-mini')}",
            [in_stock, order],
            middleware=[GuardMiddleware(guard)],  # other middleware stands before it
            checkpointer=InMemorySaver(),
        )
        turn: InputAgentState = {"messages": [{"role": "user", "content": prompt}]}
        for part in agent.stream(turn, thread, stream_mode="messages", version="v2"):
            if part["type"] == "messages" and part["data"][1]["langgraph_node"] != "tools":
                print(part["data"][0].text, end="", flush=True)
        print()
        for message in agent.get_state(thread).values["messages"]:
            for outcome in outcomes_of(message):
                print(f"{message.type}: {outcome.decision.action.value}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "Is there flour? If not, order some.")
