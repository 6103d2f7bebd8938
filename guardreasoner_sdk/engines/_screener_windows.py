"""From texts to the windows of token ids that the screener's network reads.

A long text is read in chunks and cut into overlapping windows as it goes, so that memory does not grow with
it. Every token of a request, and every token of a response, is in some window; only the request shown
*beside* a response is cut, to its first tokens.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING

from guardreasoner_sdk.engines._screener_files import ScreenerConfig
from guardreasoner_sdk.labels import REQUEST_TASKS, RESPONSE_TASKS, Task
from guardreasoner_sdk.ports import ClassificationRequest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHUNK_CHARS = 8_192
"""How much text is tokenized at once: some 2,000 tokens, a few milliseconds."""

WORD_CHARS = 96
"""BERT tokenizers give up on longer words (at 100 characters)."""


@dataclass(frozen=True, slots=True)
class TokenWindow:
    """What the network reads at once.

    Attributes:
        request: index of the request it belongs to.
        tasks: what it is judged for.
        ids: token ids, special tokens included.
        second: where the response's segment starts; the length where there is none.
        first: whether it is the first window of its text.
    """

    request: int
    tasks: frozenset[Task]
    ids: list[int]
    second: int
    first: bool


class WindowReader:
    """Cuts requests into windows. Holds no state of a request, so any thread may use it.

    Args:
        tokenizer: a BERT word-piece tokenizer, which must neither cut nor pad.
        config: sizes.

    Raises:
        ValueError: the tokenizer lacks ``[CLS]``, ``[SEP]`` or ``[UNK]``.
    """

    def __init__(self, tokenizer: "Tokenizer", config: ScreenerConfig) -> None:
        self._tokenizer = tokenizer
        self._size = config.max_tokens
        self._overlap = config.overlap_tokens
        self._head = config.max_prompt_tokens_in_pair
        self._cls, self._sep, self._unknown = self._id("[CLS]"), self._id("[SEP]"), self._id("[UNK]")

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"it has no {token} token; the screener needs a BERT tokenizer")
        return found

    def windows(self, index: int, request: ClassificationRequest) -> Iterator[TokenWindow]:
        """The windows that answer a request: over its prompt, then over its response."""
        if tasks := request.tasks & REQUEST_TASKS:
            first = True
            for ids in self._cut(self._ids(request.prompt), self._size - 2):
                row = [self._cls, *ids, self._sep]
                yield TokenWindow(index, tasks, row, len(row), first)
                first = False
        if request.response is not None and (tasks := request.tasks & RESPONSE_TASKS):
            head = list(islice(chain.from_iterable(self._ids(request.prompt)), self._head))
            start = [self._cls, *head, self._sep]
            first = True
            for ids in self._cut(self._ids(request.response), self._size - len(start) - 1):
                yield TokenWindow(index, tasks, [*start, *ids, self._sep], len(start), first)
                first = False

    def _cut(self, chunks: Iterable[list[int]], room: int) -> Iterator[list[int]]:
        """Runs of at most `room` tokens, neighbours sharing the overlap; one, if empty, for an empty text."""
        step = room - self._overlap
        held: list[int] = []
        for chunk in chunks:
            held += chunk
            done = 0
            while len(held) - done > room:
                yield held[done : done + room]
                done += step
            del held[:done]
        yield held

    def _ids(self, text: str) -> Iterator[list[int]]:
        """Token ids, chunk by chunk."""
        for chunk in chunks(text, CHUNK_CHARS):
            encoding = self._tokenizer.encode(chunk, add_special_tokens=False)
            ids = encoding.ids
            if self._unknown in ids:
                ids = []
                for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
                    ids += self._inside(chunk[start:end]) if token == self._unknown else [token]
            yield ids

    def _inside(self, word: str) -> list[int]:
        """What can be read of an unknown word.

        To a word-piece tokenizer a whole word is unknown when one character of it is (an emoji, say), or when
        it is very long. Words joined by such characters would go unread: ``how🙂to🙂…`` is one "word".
        """
        unreadable = {character for character in set(word) if self._plain(character) == [self._unknown]}
        ids: list[int] = []
        for unknown, run in groupby(word, key=unreadable.__contains__):
            if unknown:
                ids.append(self._unknown)
            else:
                text = "".join(run)
                for start in range(0, len(text), WORD_CHARS):
                    ids += self._piece(text[start : start + WORD_CHARS])
        return ids

    def _piece(self, text: str) -> list[int]:
        ids = self._plain(text)
        if ids != [self._unknown] or len(text) == 1:
            return ids
        half = len(text) // 2
        return self._piece(text[:half]) + self._piece(text[half:])

    def _plain(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids


_BREAKS = (
    # White space and punctuation, which BERT tokenizers never join to a word: to cut here changes no token.
    re.compile(r"(?s).*([ \t\n\r\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000!-/:-@\[-`{-~])"),
    # Where there is none, at least no letters are parted.
    re.compile(r"(?s).*(\W)"),
)


def chunks(text: str, size: int) -> Iterator[str]:
    """Cut a text into pieces of at most `size` characters, between words if there is any way to."""
    start = 0
    while len(text) - start > size:
        found = (cut.match(text, start + 1, start + size + 1) for cut in _BREAKS)
        end = next((match.start(1) for match in found if match), start + size)
        yield text[start:end]
        start = end
    yield text[start:]
