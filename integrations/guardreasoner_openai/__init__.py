"""Guarded OpenAI clients: ``guard.wrap(OpenAI())``, also async and Azure.

::

    from openai import OpenAI
    from guardreasoner_sdk import Guard

    client = Guard().wrap(OpenAI())
    completion = client.chat.completions.create(model="...", messages=[{"role": "user", "content": "..."}])

How it is built: `client` is the object that is handed out, `surfaces` decides what of it may be used,
`channel` judges every request of a guarded resource (the logic is in `exchange`), `answers` makes HTTP
responses of judged text (from which the client library makes completions, raw responses and streams), and an
`Endpoint` (`endpoints`; those of chat completions in `chat`) says where the texts are in its JSON.
"""

from guardreasoner_sdk.errors import MissingDependencyError

try:
    import openai as _openai
except ImportError as error:
    raise MissingDependencyError("openai", "openai", purpose="guardreasoner_openai") from error
del _openai

from guardreasoner_openai.client import wrap  # noqa: E402
from guardreasoner_openai.outcomes import outcomes_of  # noqa: E402

__all__ = ["outcomes_of", "wrap"]
