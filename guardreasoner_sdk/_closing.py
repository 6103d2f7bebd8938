"""What holds resources and is a context manager, sync and async, that releases them."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closing(ABC):
    """Closes itself at the end of a ``with`` or ``async with`` block."""

    @abstractmethod
    def close(self) -> None:
        """Release what it holds. Idempotent."""

    @abstractmethod
    async def aclose(self) -> None:
        """`close` without blocking the event loop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
