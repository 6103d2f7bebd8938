"""From settings to the parts of a guard."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from guardreasoner_sdk.audit import AuditSink
from guardreasoner_sdk.caches import Cache
from guardreasoner_sdk.errors import ConfigError, MissingDependencyError
from guardreasoner_sdk.judging import Cascade, Judge, Reasoner, Screener
from guardreasoner_sdk.options import GuardOptions, HardeningPart
from guardreasoner_sdk.policy import Policy
from guardreasoner_sdk.ports import TextEngine

if TYPE_CHECKING:
    from guardreasoner_sdk.formats.hardening import Hardening
    from guardreasoner_sdk.settings import GuardSettings

_POLICY_OPTIONS = (
    "check_input",
    "check_output",
    "harmful_request",
    "complied_with_harmful_request",
    "harmful_response",
    "refusal",
    "forged_structure",
    "thresholds",
    "on_error",
    "violation_message",
)


_ENGINE_OPTIONS = {
    "device": ("transformers",),
    "dtype": ("vllm", "transformers"),
    "quantization": ("vllm",),
    "adapter": ("vllm", "transformers"),
    "max_model_len": ("vllm",),
    "gpu_memory_utilization": ("vllm",),
}
"""Settings of engines in the process, and the engines that heed them."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a guard is made of."""

    settings: "GuardSettings"
    judge: Judge
    policy: Policy
    cache: Cache | None
    audit: AuditSink | None


def build(
    model: str | os.PathLike[str] | None,
    *,
    judge: Judge | str | None,
    policy: Policy | None,
    cache: Cache | str | os.PathLike[str] | None,
    audit: AuditSink | str | os.PathLike[str] | None,
    config: str | os.PathLike[str] | None,
    options: GuardOptions,
) -> Parts:
    """Read the settings and make the parts. Whatever cannot work is an error here, not at the first call."""
    from guardreasoner_sdk.settings import GuardSettings

    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if model is not None:
        given["model"] = os.fspath(model)
    for name, value in (("judge", judge), ("cache", cache), ("audit", audit)):
        if isinstance(value, (str, os.PathLike)):
            given[name] = os.fspath(value)
    if policy is not None:
        both = [name for name in _POLICY_OPTIONS if name in given]
        if both:
            raise ConfigError(f"policy= and {', '.join(both)} were both given: put {both[0]} into the Policy")
    settings = GuardSettings(config=None if config is None else Path(config), **given)
    own_judge = judge if isinstance(judge, Judge) else None
    if own_judge is not None and (settings.model or settings.url):
        raise ConfigError("judge= is a Judge of its own, so model and url have no meaning: leave them out")
    judged_by = own_judge or build_judge(settings)
    policy = policy or _policy(settings)
    policy.check_fits(judged_by.tasks, judged_by.name)
    return Parts(
        settings,
        judged_by,
        policy,
        cache if isinstance(cache, Cache) else _cache(settings),
        audit if isinstance(audit, AuditSink) else _audit(settings),
    )


def build_judge(settings: "GuardSettings") -> Judge:
    """The judge that the settings name; ``auto`` is the reasoner if there is a model, else the screener."""
    kind = settings.judge
    named = bool(settings.model or settings.url)
    if kind == "auto":
        kind = "reasoner" if named else "screener"
    if kind == "screener":
        if named:
            raise ConfigError(
                "judge='screener' is the embedded classifier, which takes neither model nor url: "
                "leave them out, or use judge='cascade' to ask the model where the screener is unsure"
            )
        return build_screener()
    if not named:
        raise ConfigError(
            f"judge={kind!r} needs a guard model: give model= (hub id or folder), url=, or both"
        )
    reasoner = build_reasoner(settings)
    return reasoner if kind == "reasoner" else Cascade(build_screener(), reasoner, settings.cascade_band)


def build_screener() -> Screener:
    """The embedded screener."""
    from guardreasoner_sdk.engines.onnx import OnnxClassifier

    return Screener(OnnxClassifier())


def build_reasoner(settings: "GuardSettings") -> Reasoner:
    """A guard model behind a format."""
    from guardreasoner_sdk.formats import make_format

    return Reasoner(
        make_format(settings.format, hardening=_hardening(settings)),
        _text_engine(settings),
        window_chars=settings.window_chars,
        window_overlap=settings.window_overlap,
    )


def _text_engine(settings: "GuardSettings") -> TextEngine:
    kind = settings.engine
    if kind == "auto":
        kind = "http" if settings.url else "vllm" if find_spec("vllm") else "transformers"
    for name, engines in _ENGINE_OPTIONS.items():
        if getattr(settings, name) is not None and kind not in engines:
            raise ConfigError(f"{name} has no effect on engine={kind!r}, only on {' and '.join(engines)}")
    if kind == "http":
        if not settings.url:
            raise ConfigError("engine='http' needs url=, such as http://localhost:8000/v1")
        from guardreasoner_sdk.engines.vllm_http import VLLMServer

        return VLLMServer(
            settings.url,
            model=settings.model,
            revision=settings.revision,
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            max_connections=settings.concurrency,
            max_retries=settings.max_retries,
        )
    if settings.url:
        raise ConfigError(f"engine={kind!r} runs in this process, and url= names a server: leave one out")
    if settings.model is None:
        raise ConfigError(f"engine={kind!r} needs model=, a hub id or a folder")
    if kind == "vllm":
        from guardreasoner_sdk.engines.vllm import VLLMEngine

        return VLLMEngine(
            settings.model,
            revision=settings.revision,
            dtype=settings.dtype or "auto",
            quantization=settings.quantization,
            adapter=settings.adapter,
            max_model_len=settings.max_model_len,
            gpu_memory_utilization=settings.gpu_memory_utilization,
        )
    if find_spec("transformers") is None or find_spec("torch") is None:
        raise MissingDependencyError(
            "transformers", "transformers", purpose=f"running {settings.model} in this process"
        )
    from guardreasoner_sdk.engines.transformers import TransformersEngine

    return TransformersEngine(
        settings.model,
        revision=settings.revision,
        dtype=settings.dtype or "auto",
        device=settings.device or "auto",
        adapter=settings.adapter,
    )


def _hardening(settings: "GuardSettings") -> "Hardening":
    from guardreasoner_sdk.formats.hardening import Hardening

    return Hardening(**{part: part in settings.hardening for part in get_args(HardeningPart)})


def _policy(settings: "GuardSettings") -> Policy:
    return Policy(
        check_input=settings.check_input,
        check_output=settings.check_output,
        harmful_request=settings.harmful_request,
        complied_with_harmful_request=settings.complied_with_harmful_request,
        harmful_response=settings.harmful_response,
        refusal=settings.refusal,
        forged_structure=settings.forged_structure,
        thresholds=settings.thresholds,
        on_error=settings.on_error,
        violation_message=settings.violation_message,
    )


def _cache(settings: "GuardSettings") -> Cache | None:
    if settings.cache == "off":
        return None
    limits: dict[str, Any] = {}
    if settings.cache_ttl is not None:
        limits["ttl"] = settings.cache_ttl
    if settings.cache_entries is not None:
        limits["max_entries"] = settings.cache_entries
    if settings.cache == "memory":
        from guardreasoner_sdk.caches.memory import MemoryCache

        return MemoryCache(**limits)
    from guardreasoner_sdk.caches.sqlite import SQLiteCache

    return SQLiteCache(Path(settings.cache), **limits)


def _audit(settings: "GuardSettings") -> AuditSink | None:
    if settings.audit is None:
        return None
    from guardreasoner_sdk.audit import JSONLAudit

    return JSONLAudit(
        settings.audit,
        texts=settings.audit_texts,
        key=settings.audit_key.get_secret_value() if settings.audit_key else None,
        on_failure=settings.audit_on_failure,
    )


def described(judge: Judge) -> str:
    """One line on who judges, for people."""
    parts = []
    for engine in judge.engines:
        info = getattr(engine, "info", None)
        if info is not None:
            at = f" at {info.endpoint}" if info.endpoint else f" on {info.device}" if info.device else ""
            revision = f"@{info.revision}" if info.revision else ""
            parts.append(f"{info.engine}: {info.model}{revision}{at}")
    note = " (the embedded classifier: it does not reason)" if isinstance(judge, Screener) else ""
    return f"judge={judge.name}{note}, " + ", ".join(parts)
