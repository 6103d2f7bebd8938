"""How an agent goes on, or does not, after a text that is not allowed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from guardreasoner_sdk.errors import Blocked, CannotJudgeError, InputError
from guardreasoner_sdk.outcomes import Outcome
from guardreasoner_sdk.policy import Action, Decision, Stage, ViolationMessage

ExitBehavior: TypeAlias = Literal["error", "end", "replace"]


@dataclass(frozen=True, slots=True)
class Exits:
    """What a middleware was told about it.

    Attributes:
        behavior: what becomes of what the policy blocks.
        message: what stands in for a text; ``None``: the message of the decision.
        default: the policy's message, for what never came before the policy.
    """

    behavior: ExitBehavior
    message: ViolationMessage | None
    default: ViolationMessage

    def of(self, outcome: Outcome) -> ExitBehavior:
        """How to go on after this outcome; what the policy replaces is replaced."""
        return "replace" if outcome.decision.action is Action.REPLACE else self.behavior

    def worded(self, outcome: Outcome) -> Outcome:
        """The outcome with the message of this middleware, if it is not allowed."""
        if outcome.allowed:
            return outcome
        said = self.message
        if said is None:
            said = outcome.decision.message
        if said is None:
            said = self.default
        text = said if isinstance(said, str) else _call(said, outcome.decision)
        decision = outcome.decision.model_copy(update={"message": text})
        return Outcome(decision, outcome.verdict, outcome.error)


def _call(message: Callable[[Decision], str], decision: Decision) -> str:
    return message(decision.model_copy(update={"message": None}))


def unscreenable(error: InputError, stage: Stage) -> Outcome:
    """The outcome for what cannot be screened: not allowed, whatever the policy does on errors."""
    reasons = (type(error).__name__,)
    return Outcome(
        Decision(action=Action.BLOCK, stage=stage, reasons=reasons, judged=False),
        error=CannotJudgeError(str(error)),
    )


def outcome_of(error: Blocked | InputError, stage: Stage) -> Outcome:
    """The outcome that an exception stands for."""
    if isinstance(error, InputError):
        return unscreenable(error, stage)
    cause = error.__cause__
    return Outcome(error.decision, error.verdict, cause if isinstance(cause, CannotJudgeError) else None)
