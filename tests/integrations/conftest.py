"""Fixtures of the adapters' tests."""

from collections.abc import Iterator

import pytest

from tests.integrations.upstream import Upstream


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
