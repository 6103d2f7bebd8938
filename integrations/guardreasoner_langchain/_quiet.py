"""Calls of a model that nobody listens to.

LangChain hands callbacks down through context variables: whatever runs inside a run reports to its handlers,
token by token. A guarded model is called where there are none; what it says is reported by the model that
guards it, once it was judged.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers.context import _configure_hooks, tracing_v2_callback_var
from langsmith import tracing_context


@contextmanager
def without_callbacks() -> Iterator[None]:
    """Hide all that LangChain would inherit from the context: the run's config, the registered handlers
    (such as those that count usage, which would count twice) and tracing."""
    inherited: list[ContextVar[Any]] = [var_child_runnable_config, tracing_v2_callback_var]
    inherited += (hook[0] for hook in _configure_hooks)
    with ExitStack() as stack:
        for variable in inherited:
            stack.callback(variable.reset, variable.set(None))
        stack.enter_context(tracing_context(enabled=False))
        yield
