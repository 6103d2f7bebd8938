"""The requests that an agent makes of its model and its tools, under guard."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, ClassVar, Self, TypedDict, Unpack

from langchain.agents.middleware import ModelRequest, ToolCallRequest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import ToolCall
from langchain_core.tools import BaseTool

from guardreasoner_langchain._exits import unscreenable
from guardreasoner_langchain.chat_model import GuardedChatModel
from guardreasoner_sdk import Guard, Policy
from guardreasoner_sdk.conversation import ConversationLike
from guardreasoner_sdk.errors import InputError, UnguardedSurface
from guardreasoner_sdk.outcomes import Outcome
from guardreasoner_sdk.policy import Stage


class _Overrides(TypedDict, total=False):
    """What `ToolCallRequest.override` takes."""

    tool_call: ToolCall
    tool: BaseTool
    state: Any


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


class JudgedCall(ToolCallRequest):
    """A request to run a tool call that was judged: no other call can be put into it."""

    @classmethod
    def of(cls, request: ToolCallRequest) -> Self:
        """A copy of the request."""
        return cls(**{each.name: getattr(request, each.name) for each in fields(request)})

    def override(self, **overrides: Unpack[_Overrides]) -> ToolCallRequest:
        """See `ToolCallRequest.override`.

        Raises:
            UnguardedSurface: the call would be another one.
        """
        call = overrides.get("tool_call", self.tool_call)
        if (call["name"], call["args"]) != (self.tool_call["name"], self.tool_call["args"]):
            raise UnguardedSurface(
                f"a middleware changed the call of {self.tool_call['name']!r} after it was judged: put "
                "GuardMiddleware after it in the list, so that it judges the call that will run",
                surface="wrap_tool_call",
            )
        return super().override(**overrides)


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
