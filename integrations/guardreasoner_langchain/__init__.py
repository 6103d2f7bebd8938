"""LangChain under guard: chat models, chains and agents.

::

    from guardreasoner_sdk import Guard

    model = Guard().wrap(ChatOpenAI(model="..."))

`wrap` and `GuardedChatModel` guard a chat model on every way out of it; `GuardRunnable` guards any steps of a
chain.
"""

try:
    import langchain_core as _  # noqa: F401
except ImportError as error:
    from guardreasoner_sdk.errors import MissingDependencyError

    raise MissingDependencyError("langchain-core", "langchain", purpose="guardreasoner_langchain") from error

from guardreasoner_langchain.chat_model import GuardedChatModel
from guardreasoner_langchain.messages import outcomes_of
from guardreasoner_langchain.runnable import GuardOutput, GuardRunnable
from guardreasoner_langchain.wrapping import wrap

__all__ = ["GuardOutput", "GuardRunnable", "GuardedChatModel", "outcomes_of", "wrap"]
