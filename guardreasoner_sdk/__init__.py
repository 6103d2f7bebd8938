"""A safety guard that reasons, in front of and behind any chat model.

::

    from guardreasoner_sdk import Guard

    guard = Guard()

    @guard.protect
    def chat(prompt: str) -> str: ...

Names are loaded when they are first used, so that importing the package costs little.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guardreasoner_sdk.conversation import Conversation
    from guardreasoner_sdk.errors import Blocked, CannotJudgeError, ConfigError, GuardError, InputError
    from guardreasoner_sdk.guard import Guard
    from guardreasoner_sdk.judging import Cascade, Judge, Reasoner, Screener
    from guardreasoner_sdk.labels import Depth, Label, Task
    from guardreasoner_sdk.outcomes import Guarded, Outcome
    from guardreasoner_sdk.policy import Action, Decision, Policy, Stage
    from guardreasoner_sdk.verdict import Coverage, Finding, Reasoning, Usage, Verdict

__version__ = "0.1.0"

__all__ = [
    "Action",
    "Blocked",
    "CannotJudgeError",
    "Cascade",
    "ConfigError",
    "Conversation",
    "Coverage",
    "Decision",
    "Depth",
    "Finding",
    "Guard",
    "GuardError",
    "Guarded",
    "InputError",
    "Judge",
    "Label",
    "Outcome",
    "Policy",
    "Reasoner",
    "Reasoning",
    "Screener",
    "Stage",
    "Task",
    "Usage",
    "Verdict",
]

_HOME = {
    "conversation": ("Conversation",),
    "errors": ("Blocked", "CannotJudgeError", "ConfigError", "GuardError", "InputError"),
    "guard": ("Guard",),
    "judging": ("Cascade", "Judge", "Reasoner", "Screener"),
    "labels": ("Depth", "Label", "Task"),
    "outcomes": ("Guarded", "Outcome"),
    "policy": ("Action", "Decision", "Policy", "Stage"),
    "verdict": ("Coverage", "Finding", "Reasoning", "Usage", "Verdict"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
