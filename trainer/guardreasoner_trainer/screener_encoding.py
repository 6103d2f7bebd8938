"""From texts to token ids: one rule for training, for the report and for the runtime.

A text longer than the window is split into overlapping windows. A pair keeps the head of the prompt in
every window and moves along the response.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Windowing:
    """Sizes in tokens; `max_tokens` includes the special tokens."""

    max_tokens: int = 256
    overlap_tokens: int = 64
    max_prompt_tokens_in_pair: int = 64


@dataclass(frozen=True, slots=True)
class Encoded:
    """One window, ready for the network."""

    input_ids: tuple[int, ...]
    token_type_ids: tuple[int, ...]


def plain_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer that neither cuts nor pads: windows are made here, and a cut would hide the rest of the
    text."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["truncation"] = None
    content["padding"] = None
    return Tokenizer.from_str(json.dumps(content))


class WindowEncoder:
    """Encodes prompts and pairs into windows with a BERT-style tokenizer."""

    def __init__(self, tokenizer: Tokenizer, windowing: Windowing) -> None:
        self._tokenizer = tokenizer
        self.windowing = windowing
        self._cls = self._id("[CLS]")
        self._sep = self._id("[SEP]")

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"the tokenizer has no {token} token; the screener needs a BERT-style tokenizer")
        return found

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids without special tokens."""
        return [e.ids for e in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def prompt(self, ids: Sequence[int]) -> Encoded:
        """One window that holds a prompt (cut, if need be, by the caller)."""
        row = (self._cls, *ids, self._sep)
        return Encoded(row, (0,) * len(row))

    def pair(self, prompt: Sequence[int], response: Sequence[int]) -> Encoded:
        """One window that holds a prompt and a response."""
        first = (self._cls, *prompt, self._sep)
        second = (*response, self._sep)
        return Encoded(first + second, (0,) * len(first) + (1,) * len(second))

    def prompt_windows(self, ids: Sequence[int]) -> list[Encoded]:
        """All windows over a prompt; at least one, also for an empty text."""
        return [
            self.prompt(ids[a:b]) for a, b in spans(len(ids), self.windowing.max_tokens - 2, self.windowing)
        ]

    def pair_windows(self, prompt: Sequence[int], response: Sequence[int]) -> list[Encoded]:
        """All windows over a response, each with the head of the prompt before it."""
        head = prompt[: self.windowing.max_prompt_tokens_in_pair]
        room = self.windowing.max_tokens - 3 - len(head)
        return [self.pair(head, response[a:b]) for a, b in spans(len(response), room, self.windowing)]


def spans(length: int, room: int, windowing: Windowing) -> list[tuple[int, int]]:
    """Spans of at most `room` tokens that cover `length` tokens, neighbours sharing `overlap_tokens`."""
    step = room - windowing.overlap_tokens
    if step <= 0:
        raise ValueError(
            f"a window of {room} tokens cannot overlap by {windowing.overlap_tokens}; lower the overlap"
        )
    starts = range(0, max(1, length - windowing.overlap_tokens), step)
    return [(start, min(start + room, length)) for start in starts]
