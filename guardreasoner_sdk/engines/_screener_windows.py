"""From texts to the windows of token ids that the screener's network reads.

A long text is read in chunks and cut into overlapping windows as it goes, so that memory does not grow with
it. Every token of a request, and every token of a response, is in some window; only the request shown
*beside* a response is cut, to its first tokens.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from guardreasoner_sdk.engines._screener_files import ScreenerConfig
from guardreasoner_sdk.labels import REQUEST_TASKS, RESPONSE_TASKS, Task
from guardreasoner_sdk.ports import ClassificationRequest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHUNK_CHARS = 8_192
"""How much text is tokenized at once: some 2,000 tokens, a few milliseconds."""


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
        ValueError: the tokenizer has no ``[CLS]`` or ``[SEP]``.
    """

    def __init__(self, tokenizer: "Tokenizer", config: ScreenerConfig) -> None:
        self._tokenizer = tokenizer
        self._size = config.max_tokens
        self._overlap = config.overlap_tokens
        self._head = config.max_prompt_tokens_in_pair
        self._cls, self._sep = self._id("[CLS]"), self._id("[SEP]")

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
            yield self._tokenizer.encode(chunk, add_special_tokens=False).ids


def chunks(text: str, size: int) -> Iterator[str]:
    """Cut a text into pieces of at most `size` characters, before white space wherever there is any.

    BERT tokenizers never join what white space parts, so such a cut changes no token.
    """
    start = 0
    while len(text) - start > size:
        end = max(text.rfind(space, start + 1, start + size + 1) for space in " \n\t\r")
        end = end if end > start else start + size
        yield text[start:end]
        start = end
    yield text[start:]
