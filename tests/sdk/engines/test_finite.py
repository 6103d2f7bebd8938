"""The strings that a simple regular expression can match."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardreasoner_sdk.engines._finite import finite_language

words = st.text(alphabet="ab .\n-|()?\\é", min_size=0, max_size=4)


@st.composite
def choices(draw: st.DrawFn, depth: int = 2) -> tuple[str, set[str]]:
    """A regular expression of the understood kind, and what it matches."""
    if depth == 0:
        word = draw(words)
        return re.escape(word), {word}
    kind = draw(st.sampled_from(["word", "either", "both", "perhaps"]))
    if kind == "word":
        return draw(choices(depth=0))
    (left, some), (right, others) = draw(choices(depth=depth - 1)), draw(choices(depth=depth - 1))
    group = draw(st.sampled_from(["({})", "(?:{})"]))
    if kind == "either":
        return group.format(f"{left}|{right}"), some | others
    if kind == "both":
        return group.format(left) + right, {a + b for a in some for b in others}
    return group.format(left) + "?", some | {""}


@given(choices())
def test_it_is_every_string_that_matches_and_no_other(case: tuple[str, set[str]]) -> None:
    regex, language = case
    found = finite_language(regex)
    assert found is not None
    assert set(found) == language
    assert len(found) == len(language)
    assert all(re.fullmatch(regex, text) for text in found)


def test_the_order_is_that_of_the_alternatives() -> None:
    assert finite_language(r"(b|a)\nc( d)?") == ("b\nc d", "b\nc", "a\nc d", "a\nc")


@pytest.mark.parametrize(
    "regex",
    ["a*", "a+", "[ab]", ".", r"\d", "a{2}", "^a", "a$", "(a", "a)", "(?i:a)", "(?=a)", "?", "a\\", "a??*"],
)
def test_what_it_does_not_understand_it_refuses(regex: str) -> None:
    assert finite_language(regex) is None


def test_more_strings_than_the_limit_are_refused() -> None:
    assert finite_language("(a|b)" * 6, limit=64) is not None
    assert finite_language("(a|b)" * 7, limit=64) is None


def test_an_expression_that_would_explode_is_refused_at_once() -> None:
    assert finite_language("(a|b)" * 10_000) is None


def test_equal_alternatives_count_once() -> None:
    assert finite_language("(a|a|b)") == ("a", "b")
