"""One window's way from its prompt to a reading: which requests, in which order, and what they gave. Pure."""

import math
from collections.abc import Generator, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

from guardreasoner_sdk.errors import BadEngineResponseError, EngineRequestError, UnreadableAnswerError
from guardreasoner_sdk.formats._answers import STEM, AnswerForm
from guardreasoner_sdk.formats._parsing import parse, reasoning_part
from guardreasoner_sdk.labels import NEGATIVE, POSITIVE, Depth, Label, Task
from guardreasoner_sdk.ports import (
    Generation,
    GenerationRequest,
    PlanOptions,
    Reading,
    ScoreRequest,
    Scores,
    TextRequest,
    TextResult,
)
from guardreasoner_sdk.verdict import Finding, Reasoning, Usage

MAX_NEW_TOKENS: Final = 2048
"""What the released script lets the model write. Its outputs take 254-260 tokens on average."""

CONSTRAINED_ANSWER_TOKENS: Final = 64
"""For an answers block that a grammar ends: the 53 bytes of the longest, since a grammar lets a model spell
words in any tokens, down to single bytes. What is not needed costs nothing."""

PLAIN_ANSWER_TOKENS: Final = 32
"""For an answers block that no grammar ends. A block takes about 20 tokens."""

_RUN_ON: Final = ("\nHuman user:",)
"""Ends an output that goes on to invent another example. No recorded output holds it."""

_REASONED: Final = ("\n---", "\nAnswers:", "\n# Answers", "\nThe ground truth is")
"""What follows the reasoning in the recorded outputs."""


T = TypeVar("T")
_Requests: TypeAlias = Generator[tuple[TextRequest, ...], Sequence[TextResult], T]
"""Yields rounds of requests, is sent their results, returns something."""

_Score: TypeAlias = tuple[float, str]
"""A probability, and how it was had."""


class Asking:
    """One window's way from prompt to reading."""

    def __init__(
        self,
        *,
        prompt: str,
        prefill: str,
        retry: bool,
        forged: bool,
        tasks: frozenset[Task],
        has_response: bool,
        options: PlanOptions,
    ) -> None:
        self._prompt = prompt
        self._prefill = prefill
        self._retry = retry
        self._forged = forged
        self._tasks = tasks
        self._has_response = has_response
        self._options = options
        self._usage = Usage()
        self._written = ""
        self._cut_short: str | None = None

    def reason(self) -> _Requests[Reading | None]:
        """The free completion. Gives a reading where it holds the answer."""
        options = self._options
        if options.max_reasoning_tokens == 0:
            self._cut_short = "max_reasoning_tokens"
            return None
        request = GenerationRequest(
            prompt=self._prompt + self._prefill,
            max_tokens=options.max_reasoning_tokens or MAX_NEW_TOKENS,
            stop=self._stops(),
            stop_at=options.reasoning_until,
        )
        generation = yield from self._generate(request, answering=False)
        self._written = self._prefill + generation.text
        if options.depth is Depth.FULL:
            found = parse(self._written, tasks=self._tasks, has_response=self._has_response)
            labels = {task: label for task, label in found.labels.items() if label is not None}
            if found.complete:
                slots = {task: self._prompt + self._written[:at] for task, at in found.slots.items()}
                scores = (yield from self._score(slots)) if options.scores else {}
                return self._reading(labels, scores, found.reasoning, self._written, constrained=False)
        if generation.finish_reason == "deadline":
            self._cut_short = "deadline"
        elif generation.finish_reason == "length":
            own_limit = options.max_reasoning_tokens is None
            self._cut_short = "max_tokens" if own_limit else "max_reasoning_tokens"
        callers_budget = self._cut_short in ("deadline", "max_reasoning_tokens")
        if options.depth is Depth.FULL and not (self._retry or callers_budget):
            raise UnreadableAnswerError(
                "the guard model wrote no readable answers block, and Hardening(constrained_retry=False) "
                "keeps the format from asking for one",
                raw=self._written,
            )
        return None

    def answer(self) -> _Requests[Reading]:
        """The short completion of an answers block, after whatever reasoning there is.

        Where the engine refuses a grammar it is a plain one, read by the same form.
        """
        lead = reasoning_part(self._written, whole=self._cut_short is None)
        stem = f"{lead}\n\n{STEM}" if lead else STEM
        form = AnswerForm(self._tasks)
        prompt = self._prompt + stem
        request = GenerationRequest(prompt=prompt, max_tokens=CONSTRAINED_ANSWER_TOKENS, regex=form.regex)
        first = {Task.PROMPT_HARM: prompt}
        scores: dict[Task, _Score] | None = None
        text: str | None = None
        if self._options.scores and self._tasks == set(first):
            # The only slot stands where the completion begins: both are asked for in one round.
            try:
                completed, scored = yield (request, *self._score_requests(first))
            except EngineRequestError:
                pass  # either was refused: each is tried by itself below
            else:
                text = self._spent(completed, answering=True).text
                scores = self._read_scores(first, (scored,))
        if text is None:
            try:
                text = (yield from self._generate(request, answering=True)).text
            except EngineRequestError:
                plain = GenerationRequest(prompt=prompt, max_tokens=PLAIN_ANSWER_TOKENS, stop=("\n\n",))
                text = (yield from self._generate(plain, answering=True)).text
        raw = f"{self._written.rstrip()}\n\n{STEM}{text}" if self._written else STEM + text
        answer = form.read(text)
        if answer is None:
            raise UnreadableAnswerError(
                f"the guard model answered neither freely nor when asked for the labels alone: it wrote "
                f"{text[:80]!r} after {STEM!r}. Check that the model served is a GuardReasoner",
                raw=raw,
            )
        if scores is None:
            slots = {task: prompt + text[:at] for task, at in answer.slots.items()}
            scores = (yield from self._score(slots)) if self._options.scores else {}
        reasoning = parse(self._written, tasks=self._tasks, has_response=self._has_response).reasoning
        return self._reading(answer.labels, scores, reasoning, raw, constrained=True)

    def _stops(self) -> tuple[str, ...]:
        if self._options.depth is not Depth.TASK:
            return _RUN_ON
        if Task.RESPONSE_HARM in self._tasks:
            return (*_REASONED, *_RUN_ON)
        following = "\n# Task 3" if Task.REFUSAL in self._tasks else "\n# Task 2"
        return (following, *_REASONED, *_RUN_ON)

    def _generate(self, request: GenerationRequest, *, answering: bool) -> _Requests[Generation]:
        (result,) = yield (request,)
        return self._spent(result, answering=answering)

    def _spent(self, result: TextResult, *, answering: bool) -> Generation:
        if not isinstance(result, Generation):
            raise BadEngineResponseError(f"a generation request was answered with {type(result).__name__}")
        self._usage += Usage(
            prompt_tokens=result.prompt_tokens,
            cached_tokens=result.cached_tokens,
            reasoning_tokens=None if answering else result.completion_tokens,
            answer_tokens=result.completion_tokens if answering else None,
            requests=1,
        )
        return result

    @staticmethod
    def _score_requests(slots: Mapping[Task, str]) -> tuple[ScoreRequest, ...]:
        return tuple(
            ScoreRequest(prompt=prompt, continuations=(f" {POSITIVE[task]}", f" {NEGATIVE[task]}"))
            for task, prompt in slots.items()
        )

    def _score(self, slots: Mapping[Task, str]) -> _Requests[dict[Task, _Score]]:
        """The scores of the slots, by the text before each; none where the engine cannot score."""
        try:
            results = yield self._score_requests(slots)
        except EngineRequestError:
            return {}
        return self._read_scores(slots, results)

    def _read_scores(self, slots: Mapping[Task, str], results: Sequence[TextResult]) -> dict[Task, _Score]:
        scores: dict[Task, _Score] = {}
        for task, result in zip(slots, results, strict=True):
            if not isinstance(result, Scores):
                raise BadEngineResponseError(f"a score request was answered with {type(result).__name__}")
            self._usage += Usage(
                prompt_tokens=result.prompt_tokens,
                cached_tokens=result.cached_tokens,
                answer_tokens=result.completion_tokens,
                requests=result.requests,
            )
            share = positive_share(*result.logprobs)
            if share is not None:
                scores[task] = share, result.method
        return scores

    def _reading(
        self,
        labels: Mapping[Task, Label],
        scores: Mapping[Task, _Score],
        reasoning: Reasoning,
        raw: str,
        *,
        constrained: bool,
    ) -> Reading:
        return Reading(
            findings={
                task: Finding(label=label, score=scores[task][0] if task in scores else None)
                for task, label in labels.items()
            },
            reasoning=reasoning,
            raw=raw,
            cut_short=self._cut_short,
            constrained=constrained,
            score_method=next((method for _, method in scores.values()), None),
            forged_structure=self._forged,
            usage=self._usage,
        )


def positive_share(positive: float, negative: float) -> float | None:
    """The first of two log-probabilities, renormalised over both; ``None`` if neither is possible."""
    difference = negative - positive
    if math.isnan(difference):  # both are -inf, or an engine gave nan
        return None
    return 1.0 / (1.0 + math.exp(difference)) if difference < 700 else 0.0
