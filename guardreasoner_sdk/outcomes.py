"""What a guarded call comes to."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from guardreasoner_sdk.errors import Blocked, CannotJudgeError
from guardreasoner_sdk.policy import Action, Decision
from guardreasoner_sdk.verdict import Verdict

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One stage, judged and decided.

    Attributes:
        decision: what the policy decided.
        verdict: what it decided on; ``None`` when the guard could not judge.
        error: why it could not.
    """

    decision: Decision
    verdict: Verdict | None = None
    error: CannotJudgeError | None = None

    @property
    def allowed(self) -> bool:
        """Whether the text may pass as it is."""
        return self.decision.allowed

    def stand_in(self) -> str:
        """The violation message that stands in for a text which was not allowed.

        Raises:
            Blocked: the policy replaces nothing here.
        """
        if self.decision.action is Action.REPLACE and self.decision.message is not None:
            return self.decision.message
        raise self.blocked()

    def blocked(self) -> Blocked:
        """The exception that says so, its cause set; for the caller to raise."""
        why = ", ".join(self.decision.reasons) or "policy"
        text = f"the {self.decision.stage.value} was blocked ({why})"
        if self.error is not None:
            text += f": {self.error}"
        blocked = Blocked(text, decision=self.decision, verdict=self.verdict)
        blocked.__cause__ = self.error
        return blocked


@dataclass(frozen=True, slots=True)
class Guarded(Generic[T]):
    """The result of `Guard.call`: the value, and why it was or was not let through.

    Attributes:
        value: what the model call returned; ``None`` when a stage did not allow it.
        outcomes: each stage that was judged, in order; several for the response when there were several
            replies.
    """

    value: T | None
    outcomes: tuple[Outcome, ...] = ()

    @property
    def stopped_by(self) -> Outcome | None:
        """The outcome that did not allow the call, ``None`` when all did."""
        return next((outcome for outcome in self.outcomes if not outcome.allowed), None)

    @property
    def decision(self) -> Decision | None:
        """The decision that counts: the one that stopped the call, else the last.

        ``None`` when nothing was judged: a stream whose request the policy does not check is judged as it is
        read.
        """
        counts = self.stopped_by or next(reversed(self.outcomes), None)
        return counts.decision if counts is not None else None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Every verdict, in order."""
        return tuple(outcome.verdict for outcome in self.outcomes if outcome.verdict is not None)

    @property
    def allowed(self) -> bool:
        """Whether the value was let through."""
        return self.stopped_by is None
