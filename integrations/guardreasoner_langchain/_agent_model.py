"""The model of an agent under guard."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, ClassVar

from langchain.agents.middleware import ModelRequest
from langchain_core.language_models import BaseChatModel

from guardreasoner_langchain._exits import unscreenable
from guardreasoner_langchain.chat_model import GuardedChatModel
from guardreasoner_sdk import Guard, Policy
from guardreasoner_sdk.conversation import ConversationLike
from guardreasoner_sdk.errors import InputError
from guardreasoner_sdk.outcomes import Outcome
from guardreasoner_sdk.policy import Stage


class RepliesOnly(Guard):
    """A guard for the calls of a model whose request was judged before: it judges the replies.

    It decides by the policy of the guard it is made of, and raises `Blocked` for what that does not allow, be
    it to be blocked or to be replaced.
    """

    def __init__(self, guard: Guard) -> None:
        vars(self).update(vars(guard))
        self._asked = guard
        self._shown_policy = replace(guard.policy, check_input=False)

    @property
    def policy(self) -> Policy:
        """The guard's, without the check of the request."""
        return self._shown_policy

    def check(
        self,
        source: ConversationLike,
        *,
        response: object = None,
        stage: Stage | None = None,
        deadline: float | None = None,
    ) -> Outcome:
        """See `Guard.check`.

        Raises:
            Blocked: the outcome is not allowed, or the text cannot be screened.
        """
        try:
            outcome = self._asked.check(source, response=response, stage=stage, deadline=deadline)
        except InputError as error:
            outcome = unscreenable(error, stage or Stage.RESPONSE)
        return _allowed(outcome)

    async def acheck(
        self,
        source: ConversationLike,
        *,
        response: object = None,
        stage: Stage | None = None,
        deadline: float | None = None,
    ) -> Outcome:
        """`check` without blocking the event loop."""
        try:
            outcome = await self._asked.acheck(source, response=response, stage=stage, deadline=deadline)
        except InputError as error:
            outcome = unscreenable(error, stage or Stage.RESPONSE)
        return _allowed(outcome)


def _allowed(outcome: Outcome) -> Outcome:
    if not outcome.allowed:
        raise outcome.blocked()
    return outcome


class GuardedRequest(ModelRequest[Any]):
    """A request whose model is guarded, and so is every model that is put in its place.

    Middleware that chooses a model further inside gives the agent an overridden copy of the request. All
    ways to make one lead through the assignment of its fields.
    """

    guarded: ClassVar[Callable[[BaseChatModel], BaseChatModel]]

    def __setattr__(self, name: str, value: object) -> None:
        if name == "model" and isinstance(value, BaseChatModel):
            value = type(self).guarded(value)
        super().__setattr__(name, value)


class AgentModel:
    """Guards the models of an agent's requests."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._replies = RepliesOnly(guard)
        members = {"guarded": staticmethod(self._guarded)}
        self._request: type[GuardedRequest] = type("GuardedRequest", (GuardedRequest,), members)

    def requested(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """The request with its model guarded. It is a copy."""
        return self._request(**{each.name: getattr(request, each.name) for each in fields(request)})

    def _guarded(self, model: BaseChatModel) -> BaseChatModel:
        if isinstance(model, GuardedChatModel):
            if model.guard is self._replies:
                return model
            if model.guard is self._guard:  # it would judge the request again
                return model.model_copy(update={"guard": self._replies})
        return GuardedChatModel(guard=self._replies, inner=model)
