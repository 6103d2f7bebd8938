"""Other models in the places of those that a runnable is built of."""

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableSerializable

T = TypeVar("T")


def with_models(runnable: T, instead: Callable[[BaseChatModel], BaseChatModel]) -> T:
    """A copy of a runnable in which every chat model is replaced by what `instead` gives for it.

    Found are the models in LangChain's own compositions: sequences, parallels, bindings, retries, fallbacks.
    What a function calls cannot be seen. Where nothing changes, the runnable itself is given back.
    """
    return cast(T, _replaced(runnable, instead))


def _replaced(value: object, instead: Callable[[BaseChatModel], BaseChatModel]) -> object:
    if isinstance(value, BaseChatModel):
        return instead(value)
    if isinstance(value, RunnableSerializable):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        changed = _changed(fields, instead)
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, Mapping):
        changed = _changed(value, instead)
        return {**value, **changed} if changed else value
    if isinstance(value, (list, tuple)):
        changed = _changed(dict(enumerate(value)), instead)
        parts = [changed.get(n, part) for n, part in enumerate(value)]
        return (tuple(parts) if isinstance(value, tuple) else parts) if changed else value
    return value


def _changed(
    parts: Mapping[object, object], instead: Callable[[BaseChatModel], BaseChatModel]
) -> dict[object, object]:
    replaced = {key: _replaced(part, instead) for key, part in parts.items()}
    return {key: part for key, part in replaced.items() if part is not parts[key]}
