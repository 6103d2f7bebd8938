"""Fixtures of the adapters' tests."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.integrations.upstream import Upstream

if TYPE_CHECKING:
    from tests.integrations.upstream_responses import Scripted


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A model provider that says what the test tells it to."""
    with Upstream() as started:
        yield started


@pytest.fixture
def down() -> str:
    """The URL of a provider that is not there."""
    with Upstream() as started:
        url = started.url
    return url


@pytest.fixture
def scripted() -> Iterator["Scripted"]:
    """A provider whose responses and events the test writes out."""
    from tests.integrations.upstream_responses import Scripted  # needs the client library

    with Scripted() as started:
        yield started
