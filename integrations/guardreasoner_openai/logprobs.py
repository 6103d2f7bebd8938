"""Log-probabilities show text, too: the tokens of a reply, one by one."""

from collections.abc import Mapping

from guardreasoner_openai.endpoints import JsonObject, objects, strings


def unspoken(logprobs: object, said: Mapping[str, object]) -> str:
    """What log-probabilities spell that is not the text of their reply; empty where they spell that.

    The alternatives to a token are not looked at: they are single tokens that were not said.

    Args:
        logprobs: of a choice, by the field of the message that they spell; some servers put the tokens of
            their reasoning under ``content``, too.
        said: the message, or the part of it that came with them.
    """
    if not isinstance(logprobs, Mapping):
        return ""
    found: list[str] = []
    for name, entries in logprobs.items():
        if name not in ("content", "refusal"):
            found += strings(entries)
            continue
        tokens = objects(entries, f"logprobs.{name}")
        if tokens and not any(_spell(tokens, text) for text in said.values() if isinstance(text, str)):
            found.append("".join(str(token.get("token", "")) for token in tokens))
    return "\n".join(filter(None, found))


def cut(tokens: list[JsonObject], at: int) -> tuple[list[JsonObject], list[JsonObject]]:
    """The entries of tokens that lie wholly within the first `at` characters, and all the others."""
    kept = length = 0
    for token in tokens:
        length += len(_bytes(token).decode(errors="replace"))
        if length > at:
            break
        kept += 1
    return tokens[:kept], tokens[kept:]


def _spell(tokens: list[JsonObject], text: str) -> bool:
    return b"".join(map(_bytes, tokens)) == text.encode(errors="surrogatepass")


def _bytes(token: JsonObject) -> bytes:
    """The bytes of a token, which need not be whole characters."""
    given = token.get("bytes")
    if isinstance(given, list) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in given):
        return bytes(given)
    return str(token.get("token", "")).encode(errors="surrogatepass")
