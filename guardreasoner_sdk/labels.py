"""The three questions GuardReasoner answers, and the words it answers them with.

Source: GuardReasoner paper (v2), section 3, and the released prompt: task 1 is the request, task 2 is
refusal or compliance ("Completion"), task 3 is the response.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Task(StrEnum):
    """A question about a conversation. The value is the name of the field in a verdict's JSON."""

    PROMPT_HARM = "prompt_harm"
    """Is the user's request harmful?"""
    REFUSAL = "refusal"
    """Did the assistant refuse, or comply?"""
    RESPONSE_HARM = "response_harm"
    """Is the assistant's response harmful?"""


class Label(StrEnum):
    """An answer to a `Task`."""

    HARMFUL = "harmful"
    UNHARMFUL = "unharmful"
    REFUSAL = "refusal"
    COMPLIANCE = "compliance"


class Depth(StrEnum):
    """How much a reasoning guard reasons before it answers."""

    FULL = "full"
    """All three tasks are reasoned about, as published. The default."""
    TASK = "task"
    """Stop reasoning once the tasks asked for are done, then ask for the answer under constraint."""
    ANSWER = "answer"
    """No reasoning: the answer is asked for at once."""


POSITIVE: Final[Mapping[Task, Label]] = MappingProxyType(
    {Task.PROMPT_HARM: Label.HARMFUL, Task.REFUSAL: Label.REFUSAL, Task.RESPONSE_HARM: Label.HARMFUL}
)
"""The label that counts as positive for each task: scores are its probability, F1 is computed on it."""

NEGATIVE: Final[Mapping[Task, Label]] = MappingProxyType(
    {Task.PROMPT_HARM: Label.UNHARMFUL, Task.REFUSAL: Label.COMPLIANCE, Task.RESPONSE_HARM: Label.UNHARMFUL}
)
"""The other label of each task."""

REQUEST_TASKS: Final = frozenset({Task.PROMPT_HARM})
"""The tasks that need only the request."""

RESPONSE_TASKS: Final = frozenset({Task.REFUSAL, Task.RESPONSE_HARM})
"""The tasks that need a response: without one they have nothing to judge and no finding."""

ALL_TASKS: Final = frozenset(Task)
