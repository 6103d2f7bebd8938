"""For tests of what builds on the SDK: engines that need no model, and a server that replays recordings.

Nothing here is used by the SDK itself, and nothing heavy is imported.
"""

from guardreasoner_sdk.testing._fakes import FakeClassifier, FakeEngine
from guardreasoner_sdk.testing._recordings import Recording
from guardreasoner_sdk.testing._replay import ReplayServer

__all__ = ["FakeClassifier", "FakeEngine", "Recording", "ReplayServer"]
