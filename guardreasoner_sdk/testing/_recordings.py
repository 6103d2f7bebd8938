"""What a recorded model would write next. Pure."""

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guardreasoner_sdk.errors import ConfigError

HEADING: Final = "# Task 1"
"""What a hardened prompt ends in."""

FALLBACK: Final = ("harmful", "compliance", "harmful")
"""The labels in a constrained answer where the recording holds none: the ones that raise an alarm."""

_QUOTE: Final = "| "
_CHOICES: Final = (
    ("harmful", "unharmful"),
    ("refusal", "compliance", "None"),
    ("harmful", "unharmful", "None"),
)
_KEYS: Final = ("Request", "Completion", "Response")

_BLOCK: Final = re.compile(
    r"Request:\s*(harmful|unharmful)\s*\n\s*Completion:\s*(refusal|compliance|none)\s*\n"
    r"\s*Response:\s*(harmful|unharmful|none)",
    re.IGNORECASE,
)
_OPEN_BLOCK: Final = re.compile(
    r"Request:(?:\s*(\w+)\s*\n\s*Completion:(?:\s*(\w+)\s*\n\s*Response:)?)?\Z", re.IGNORECASE
)


class NotRecorded(LookupError):
    """The recordings do not tell what would come next."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A prompt as the released format renders it, and what the model wrote."""

    prompt: str
    output: str

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels of the last complete answers block, in the grammar's spelling."""
        blocks = _BLOCK.findall(self.output)
        if not blocks:
            return None
        return tuple("None" if label.casefold() == "none" else label.casefold() for label in blocks[-1])


def read_predictions(file: Path) -> list[Recording]:
    """The rows of a ``generated_predictions.jsonl``: objects with ``prompt`` and ``predict``.

    Raises:
        ConfigError: a row has another form.
    """
    recordings = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                recordings.append(Recording(row["prompt"], row["predict"]))
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(f"{file}, line {number}: not a recorded prediction") from error
    return recordings


class Recordings:
    """The recordings of one served model, by prompt.

    The prompt alone selects the recording, so two rows with the same prompt must have the same output, as is
    the case within each published file; another output to the same prompt belongs under another name.
    """

    def __init__(self, recordings: Iterable[Recording]) -> None:
        self._by_prompt: dict[str, Recording] = {}
        for recording in recordings:
            known = self._by_prompt.setdefault(_unquoted(recording.prompt), recording)
            if known.output != recording.output:
                raise ConfigError(
                    "one prompt has two different recorded outputs: serve them under different model names"
                )

    def __len__(self) -> int:
        return len(self._by_prompt)

    def find(self, prompt: str) -> tuple[Recording, str]:
        """The recording whose prompt this one begins with, and what has been written since.

        Quote marks that hardening puts before lines that imitate structure are overlooked.

        Raises:
            NotRecorded: there is none.
        """
        at = len(prompt)
        while at > 0:
            recording = self._by_prompt.get(_unquoted(prompt[:at]))
            if recording is not None:
                return recording, prompt[at:]
            at = prompt.rfind("\n\n", 0, at - 1) + 2
            if at == 1:
                break
        raise NotRecorded("no recorded prompt begins this one")


def next_text(recording: Recording, written: str, *, regex: str | None) -> str:
    """What the recorded model writes after its prompt and `written`.

    - After a beginning of the recording: the rest of it.
    - After the first heading, where the recording does not begin with that: the recording as it is, and the
      rest of it after a beginning of that.
    - After the beginning of an answers block, or with a grammar: the recorded labels, `FALLBACK` where the
      recording holds none, changed as little as the grammar wants.

    Raises:
        NotRecorded: anything else.
    """
    block = _OPEN_BLOCK.search(written)
    if regex is not None:
        return _constrained(recording, block, regex)
    for beginning in (written, written.removeprefix(HEADING)):
        if recording.output.startswith(beginning):
            return recording.output[len(beginning) :]
    if block is None:
        raise NotRecorded("the recording does not tell what comes after this text")
    return next(_answers(recording, block))


def _constrained(recording: Recording, block: re.Match[str] | None, regex: str) -> str:
    grammar = re.compile(regex)
    for answer in _answers(recording, block):
        if grammar.fullmatch(answer):
            return answer
    raise NotRecorded(f"no answers block fits the grammar {regex!r}")


def _answers(recording: Recording, block: re.Match[str] | None) -> Iterator[str]:
    """Every way to fill in the rest of an answers block, the recorded one first; each whole and cut short."""
    filled = 0 if block is None else sum(label is not None for label in block.groups())
    recorded = recording.labels or FALLBACK
    ways = sorted(
        itertools.product(*_CHOICES[filled:]),
        key=lambda way: sum(a != b for a, b in zip(way, recorded[filled:], strict=True)),
    )
    lead = " " if block is not None else "Answers: \nRequest: "
    for way in ways:
        lines = [lead + way[0]]
        lines += [f"{key}: {label}" for key, label in zip(_KEYS[filled + 1 :], way[1:], strict=True)]
        for size in range(len(lines), 0, -1):
            yield "\n".join(lines[:size])


def _unquoted(prompt: str) -> str:
    return prompt.replace(_QUOTE, "")


class Words:
    """A tokenizer for the replay: runs of letters with a space before them, and single other characters."""

    _TOKEN: Final = re.compile(r" ?[A-Za-z]+|[\s\S]")

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._words: list[str] = []

    def split(self, text: str) -> list[str]:
        """The tokens of a text."""
        return self._TOKEN.findall(text)

    def encode(self, text: str) -> list[int]:
        """Their numbers, given as they are met."""
        return [self._number(word) for word in self.split(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens; `IndexError` for one that was never given out."""
        return "".join(self._words[number] for number in ids)

    def _number(self, word: str) -> int:
        number = self._ids.get(word)
        if number is None:
            number = self._ids[word] = len(self._words)
            self._words.append(word)
        return number


def pieces_of(text: str) -> list[str]:
    """What counts as one new token: a word with the white space before it.

    No published output, each at most 2,048 real tokens long, is longer than that in words.
    """
    return re.findall(r"\s*\S+|\s+\Z", text)


LIKELY: Final = math.log(0.9)
"""Log-probability of the token that the recorded model writes next."""

UNLIKELY: Final = math.log(0.05)
"""Log-probability of any other token that is asked about."""


def next_logprobs(words: Words, text: str, wanted: Sequence[int]) -> Mapping[int, float]:
    """Made-up log-probabilities of the next token, given what is written next."""
    first = words.encode(text)[:1]
    return {token: LIKELY if [token] == first else UNLIKELY for token in wanted}
