"""Text and tokens of a model in this process: user text stays text, and scores follow the tokenizer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from guardreasoner_sdk.engines._completions import TokenId
from guardreasoner_sdk.engines._scoring import PathMemory, Paths, last_line, paths_of
from guardreasoner_sdk.errors import EngineRequestError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONTEXT_TOKENS: Final = 8


class TokenCodec:
    """Encodes prompts and decodes continuations, with a Hugging Face tokenizer that nobody else uses.

    A tokenizer as it comes turns ``<|end_of_text|>`` and its like, typed by a user, into the special token of
    that name: the user could end the prompt or begin a turn. Here such text is encoded as the plain text that
    it is; the only special tokens are those that the tokenizer puts around a text (Llama 3: one at the
    beginning). All other text gives the same tokens as ever.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer: Any = tokenizer
        # The Rust tokenizer works on many texts at once and without the wrapper's bookkeeping.
        self._fast: Any = getattr(tokenizer, "backend_tokenizer", None)
        if self._fast is not None:
            self._fast.encode_special_tokens = True
            self._fast.no_truncation()
            self._fast.no_padding()
        self._memory = PathMemory()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text.

        Raises:
            EngineRequestError: a text is not valid Unicode.
        """
        try:
            if self._fast is None:
                ids: list[list[int]] = self._tokenizer(
                    list(texts), split_special_tokens=True, return_attention_mask=False, verbose=False
                ).input_ids
                return ids
            return [encoding.ids for encoding in self._fast.encode_batch_fast(list(texts))]
        except (TypeError, UnicodeError) as error:
            raise EngineRequestError(f"the prompt cannot be encoded as text: {error}") from error

    def text_after(self, prompt: Sequence[int], new: Sequence[int]) -> str:
        """The text of new tokens, as it stands after the prompt: some decoders drop a leading space."""
        tail = list(prompt[-_CONTEXT_TOKENS:])
        before, whole = self.decode(tail), self.decode([*tail, *new])
        return whole[len(before) :] if whole.startswith(before) else self.decode(new)

    def paths(self, prompt: str, continuations: tuple[str, ...]) -> Paths:
        """Where the continuations' token paths begin, and the paths: see `_scoring`.

        How a continuation is split is fixed by the text just before it, so the paths after a prompt's last
        line are remembered. Where the prompt's own tokens do not end as that line's do, all is encoded anew.
        """
        tail = last_line(prompt)
        known = self._memory.get(tail, continuations)
        if known is None:
            known = self._paths(tail, continuations)
            self._memory.keep(tail, continuations, known)
        (ids,) = self.encode([prompt])
        if known.clean and len(known.base) >= 3 and tuple(ids[-2:]) == known.base[-2:]:
            return Paths(tuple(map(TokenId, ids)), known.paths)
        return self._paths(prompt, continuations)

    def _paths(self, text: str, continuations: tuple[str, ...]) -> Paths:
        prompt, *whole = (
            tuple(map(TokenId, ids))
            for ids in self.encode([text, *(text + continuation for continuation in continuations)])
        )
        return paths_of(prompt, whole)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones left out."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
