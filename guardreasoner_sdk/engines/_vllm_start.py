"""Starting vLLM, and saying in plain words why it cannot be started."""

import os
from typing import TYPE_CHECKING, Any, Final

from guardreasoner_sdk.engines._pretrained import Pretrained, explained, read_adapter, short
from guardreasoner_sdk.engines._vllm_host import VLLMHost
from guardreasoner_sdk.errors import ConfigError, MissingDependencyError
from guardreasoner_sdk.ports import EngineInfo

if TYPE_CHECKING:
    from vllm.config import ModelConfig
    from vllm.lora.request import LoRARequest
    from vllm.v1.engine.async_llm import AsyncLLM

NO_MAIN_GUARD: Final = (
    "vLLM starts a process of its own, which runs this script's top level again. Make the guard inside a "
    'function, called under `if __name__ == "__main__":`'
)


def check_installed() -> None:
    """Import vLLM.

    Raises:
        MissingDependencyError: it is not installed.
        ConfigError: it is broken.
    """
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        if (error.name or "").split(".")[0] == "vllm":
            raise MissingDependencyError("vllm", "vllm", purpose="Running a model with vLLM") from error
        raise ConfigError(f"vLLM is installed and cannot be imported: {error}. Reinstall it") from error


def adapter_settings(adapter: str | os.PathLike[str] | None) -> "tuple[LoRARequest | None, dict[str, Any]]":
    """vLLM's LoRA request for an adapter, and the settings that go with it."""
    if adapter is None:
        return None, {}
    from vllm.lora.request import LoRARequest

    folder, rank = read_adapter(adapter)
    return LoRARequest("guard", 1, folder), {"enable_lora": True, "max_lora_rank": _allowed_rank(rank)}


def _allowed_rank(rank: int) -> int:
    """The smallest rank vLLM has room for that holds an adapter's."""
    allowed = (8, 16, 32, 64, 128, 256, 320, 512)
    found = next((size for size in allowed if size >= rank), None)
    if found is None:
        raise ConfigError(f"the adapter's rank is {rank}; vLLM takes at most {allowed[-1]}")
    return found


def start(pretrained: Pretrained, options: dict[str, Any]) -> VLLMHost:
    """Start vLLM, or say why it cannot be started."""

    def build() -> "AsyncLLM":
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        return AsyncLLM.from_engine_args(AsyncEngineArgs(**options))

    try:
        with explained(pretrained.name, pretrained.revision):
            return VLLMHost(build)
    except RuntimeError as error:
        raise ConfigError(
            f"vLLM could not start {pretrained.name}: {short(error)}. The cause stands on stderr, above. "
            "Out of memory: lower max_model_len or gpu_memory_utilization. "
            f"A bootstrapping error: {NO_MAIN_GUARD[0].lower()}{NO_MAIN_GUARD[1:]}"
        ) from error


def runs_on_cpu() -> bool:
    """Whether this vLLM is one for CPUs."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def describe(
    config: "ModelConfig", pretrained: Pretrained, adapter: str | os.PathLike[str] | None, max_model_len: int
) -> EngineInfo:
    """What runs."""
    from vllm.platforms import current_platform

    return EngineInfo(
        engine="vllm",
        model=pretrained.name,
        revision=pretrained.revision,
        dtype=str(config.dtype).removeprefix("torch."),
        device=str(current_platform.device_type),
        quantization=None if config.quantization is None else str(config.quantization),
        adapter=None if adapter is None else os.fspath(adapter),
        max_model_len=max_model_len,
    )
