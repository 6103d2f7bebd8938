"""The few strings that a simple regular expression can match: for engines without a grammar."""

import string
from typing import Final

_ESCAPED_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t"}
_SPECIAL: Final = frozenset(".^$*+{}[]")


def finite_language(regex: str, *, limit: int = 64) -> tuple[str, ...] | None:
    r"""Every string that `regex` matches as a whole, in the order of its alternatives, each once.

    Understood are literals, escaped literals (``\.``, ``\n``), groups, ``|`` and ``?``: what a choice between
    a few answers is written with. ``None`` for anything else, and where there are more than `limit` strings.
    """
    reader = _Reader(regex, limit)
    try:
        found = reader.alternatives()
    except _NotFiniteError:
        return None
    return found if reader.at_end else None


class _NotFiniteError(Exception):
    pass


class _Reader:
    """Reads a regular expression from left to right; each method gives the strings of what it has read."""

    def __init__(self, regex: str, limit: int) -> None:
        self._left = list(reversed(regex))
        self._limit = limit

    @property
    def at_end(self) -> bool:
        return not self._left

    def alternatives(self) -> tuple[str, ...]:
        found = self._sequence()
        while self._next_is("|"):
            self._left.pop()
            found = self._few((*found, *self._sequence()))
        return found

    def _sequence(self) -> tuple[str, ...]:
        found: tuple[str, ...] = ("",)
        while not (self.at_end or self._next_is("|") or self._next_is(")")):
            atom = self._atom()
            if self._next_is("?"):
                self._left.pop()
                atom = (*atom, "")
                if self._next_is("?"):  # lazy: the same strings
                    self._left.pop()
            found = self._few(tuple(begin + end for begin in found for end in atom))
        return found

    def _atom(self) -> tuple[str, ...]:
        character = self._left.pop()
        if character == "(":
            return self._group()
        if character == "\\":
            return (self._escaped(),)
        if character in _SPECIAL or character == "?":
            raise _NotFiniteError
        return (character,)

    def _group(self) -> tuple[str, ...]:
        if self._next_is("?"):
            self._left.pop()
            if not self._next_is(":"):
                raise _NotFiniteError
            self._left.pop()
        found = self.alternatives()
        if not self._next_is(")"):
            raise _NotFiniteError
        self._left.pop()
        return found

    def _escaped(self) -> str:
        if self.at_end:
            raise _NotFiniteError
        character = self._left.pop()
        if character in _ESCAPED_CONTROLS:
            return _ESCAPED_CONTROLS[character]
        if character in string.ascii_letters or character in string.digits:
            raise _NotFiniteError
        return character

    def _next_is(self, character: str) -> bool:
        return bool(self._left) and self._left[-1] == character

    def _few(self, found: tuple[str, ...]) -> tuple[str, ...]:
        distinct = tuple(dict.fromkeys(found))
        if len(distinct) > self._limit:
            raise _NotFiniteError
        return distinct
