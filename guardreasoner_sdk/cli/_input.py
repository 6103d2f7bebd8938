"""The rows of a JSON Lines file, read as they are needed."""

import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from shutil import copyfileobj
from typing import IO

from guardreasoner_sdk.cli._common import fail
from guardreasoner_sdk.errors import InputError

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a prompt, a prompt with its response, or why neither can be had from it."""

    source: str | tuple[str, str] | InputError

    @property
    def has_response(self) -> bool:
        """Whether there is a response to the prompt."""
        return isinstance(self.source, tuple)


class RowFile:
    """A file of rows, one on each line that is not blank.

    Attributes:
        name: what the user calls it.
        count: how many rows there are.
        digest: of all of them, in hexadecimal.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self.name = name
        self.count = 0
        digest = hashlib.sha256()
        for _, line in self._lines():
            self.count += 1
            digest.update(line + b"\n")
        self.digest = digest.hexdigest()

    def __iter__(self) -> Iterator[Row]:
        """Read the rows from the first on."""
        for number, line in self._lines():
            try:
                yield Row(_read(line))
            except InputError as error:
                yield Row(InputError(f"line {number} of {self.name} {error}"))

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """What is on each line, without the white space around it, and its number."""
        self._file.seek(0)
        for number, line in enumerate(self._file, 1):
            if stripped := line.removeprefix(_BOM if number == 1 else b"").strip():
                yield number, stripped


@contextlib.contextmanager
def opened_rows(source: str) -> Iterator[RowFile]:
    """Open a file, or standard input for ``-``; exit with status 2 if it cannot be read or has no rows."""
    with contextlib.ExitStack() as stack:
        try:
            if source == "-":
                # A pipe is read once, and the rows are gone through twice: to count them, and to judge them.
                file: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
                copyfileobj(sys.stdin.buffer, file)
            else:
                file = stack.enter_context(Path(source).open("rb"))
            rows = RowFile(file, "standard input" if source == "-" else source)
        except OSError as error:
            fail(f"{source} cannot be read: {error.strerror}")
        if not rows.count:
            fail(f"{rows.name} has no rows")
        yield rows


def _read(line: bytes) -> str | tuple[str, str]:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise InputError(f'is not an object: write {{"prompt": …}}, not {type(row).__name__}')
    for name in row:
        # Anything else may stand beside them, such as an id or a label. A misspelt response is another
        # matter: left out, the row would be judged without it.
        if name not in ("prompt", "response"):
            for meant in get_close_matches(name, [n for n in ("prompt", "response") if n not in row], 1, 0.8):
                raise InputError(f"has the field {name!r}: is {meant!r} meant?")
    prompt, response = row.get("prompt"), row.get("response")
    if prompt is None:
        raise InputError("has no 'prompt'")
    for name, value in (("prompt", prompt), ("response", response)):
        if value is not None and not isinstance(value, str):
            raise InputError(f"has a {name!r} that is no text but {type(value).__name__}")
    return prompt if response is None else (prompt, response)
