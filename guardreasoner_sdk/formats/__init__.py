"""One guard system a file: how it is asked, and how its answers are read. Pure, no I/O."""

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from guardreasoner_sdk.errors import ConfigError
from guardreasoner_sdk.formats.guardreasoner import GuardReasonerFormat
from guardreasoner_sdk.formats.hardening import RELEASED, Escaped, Hardening, escape
from guardreasoner_sdk.ports import Format

FORMATS: Final[Mapping[str, Callable[[Hardening], Format]]] = MappingProxyType(
    {"guardreasoner": lambda hardening: GuardReasonerFormat(hardening=hardening)}
)
"""Every format by name, as the function that makes it."""


def make_format(name: str, *, hardening: Hardening | None = None) -> Format:
    """Make a format by its registered name.

    Args:
        name: such as ``guardreasoner``.
        hardening: what is done beyond the released protocol; everything by default.

    Raises:
        ConfigError: no such format.
    """
    try:
        factory = FORMATS[name]
    except KeyError:
        near = difflib.get_close_matches(name.casefold(), FORMATS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"unknown format {name!r}: {hint}Known formats: {', '.join(sorted(FORMATS))}"
        ) from None
    return factory(Hardening() if hardening is None else hardening)


__all__ = [
    "FORMATS",
    "RELEASED",
    "Escaped",
    "Format",
    "GuardReasonerFormat",
    "Hardening",
    "escape",
    "make_format",
]
