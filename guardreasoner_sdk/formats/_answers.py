"""The answers block that is asked for: its grammar, and the reader of what was filled in. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from guardreasoner_sdk.formats._parsing import SLOTS
from guardreasoner_sdk.labels import NEGATIVE, POSITIVE, Label, Task

STEM: Final = "Answers: \nRequest:"
"""How an answers block begins, up to the first label: the form of 98% of the recorded outputs."""


@dataclass(frozen=True, slots=True)
class FilledIn:
    """The labels that were filled in, and where: offsets right after each key."""

    labels: dict[Task, Label]
    slots: dict[Task, int]


class AnswerForm:
    """What may follow `STEM`, down to the last task asked.

    A task that was asked gets one of its labels. The completion slot before an asked response slot may also
    hold ``None``, which the model writes where it sees neither a refusal nor compliance: forbidding the word
    would force it into an answer nobody asked for, and the following one would build on that.
    """

    def __init__(self, tasks: frozenset[Task]) -> None:
        order = tuple(SLOTS)
        shown = order[: max(order.index(task) for task in tasks) + 1]
        self._tasks = tasks
        choices = {task: self._choices(task, tasks) for task in shown}
        self.regex: Final = "".join(
            (rf"\n{SLOTS[task]}: " if n else " ") + f"({'|'.join(choices[task])})"
            for n, task in enumerate(shown)
        )
        """The grammar of the rest of the block."""
        self._reader = re.compile(
            "".join(
                (rf"\s*{SLOTS[task]}\s*:" if n else "")
                + rf"(?P<{task.value}>\s*(?:{'|'.join(choices[task])})\b)"
                for n, task in enumerate(shown)
            ),
            re.IGNORECASE,
        )

    @staticmethod
    def _choices(task: Task, tasks: frozenset[Task]) -> tuple[str, ...]:
        labels = (POSITIVE[task].value, NEGATIVE[task].value)
        return labels if task in tasks or task is Task.PROMPT_HARM else (*labels, "None")

    def read(self, text: str) -> FilledIn | None:
        """Read a completion of `STEM`, constrained or not; ``None`` unless every asked label is there."""
        match = self._reader.match(text)
        if match is None:
            return None
        asked: Mapping[Task, str] = {
            task: match[task.value].strip().casefold() for task in SLOTS if task in self._tasks
        }
        return FilledIn(
            {task: Label(word) for task, word in asked.items()},
            {task: match.start(task.value) for task in asked},
        )
