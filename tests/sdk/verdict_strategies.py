"""Arbitrary verdicts, for property tests."""

from hypothesis import strategies as st

from guardreasoner_sdk.labels import NEGATIVE, POSITIVE, Depth, Task
from guardreasoner_sdk.verdict import (
    Coverage,
    Finding,
    LeftOut,
    PartCoverage,
    Reasoning,
    Usage,
    Verdict,
)

_COUNTS = st.integers(0, 2**40)
_NAMES = st.text(max_size=20)
_STEPS = st.lists(st.text(max_size=40), max_size=3).map(tuple)


def findings(task: Task) -> st.SearchStrategy[Finding | None]:
    labels = st.sampled_from([POSITIVE[task], NEGATIVE[task]])
    return st.none() | st.builds(Finding, label=labels, score=st.none() | st.floats(0, 1))


usages = st.builds(
    Usage,
    prompt_tokens=st.none() | _COUNTS,
    cached_tokens=st.none() | _COUNTS,
    reasoning_tokens=st.none() | _COUNTS,
    answer_tokens=st.none() | _COUNTS,
    requests=_COUNTS,
)

_PARTS = st.builds(
    PartCoverage,
    path=_NAMES,
    role=_NAMES,
    kind=_NAMES,
    length=_COUNTS,
    spans=st.lists(st.tuples(_COUNTS, _COUNTS), max_size=3).map(tuple),
)

coverages = st.builds(
    Coverage,
    parts=st.lists(_PARTS, max_size=2).map(tuple),
    left_out=st.lists(
        st.builds(LeftOut, first=_NAMES, last=_NAMES, parts=_COUNTS, reason=_NAMES), max_size=2
    ).map(tuple),
)

verdicts = st.builds(
    Verdict,
    prompt_harm=findings(Task.PROMPT_HARM),
    refusal=findings(Task.REFUSAL),
    response_harm=findings(Task.RESPONSE_HARM),
    reasoning=st.builds(Reasoning, prompt_harm=_STEPS, refusal=_STEPS, response_harm=_STEPS),
    raw=st.text(),
    judge=_NAMES,
    consulted=st.lists(_NAMES, max_size=3).map(tuple),
    engine=_NAMES,
    model=_NAMES,
    revision=st.none() | _NAMES,
    depth=st.none() | st.sampled_from(Depth),
    cut_short=st.none() | _NAMES,
    constrained=st.booleans(),
    score_method=st.none() | _NAMES,
    windows=st.integers(1, 10**6),
    forged_structure=st.booleans(),
    usage=usages,
    latency=st.floats(0, allow_infinity=False),
    cached=st.booleans(),
    coverage=coverages,
)
