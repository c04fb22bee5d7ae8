"""Continue texts with a causal language model: a GPT2 of ours, or any of the hub that `transformers` can run.

Input: a checkpoint folder, a run's folder or an id of the hub; prompts; settings of sampling. Output: continuations, in
the prompts' order. `transformers` draws the tokens, with its cache of keys and values.

1. A prompt becomes ids as in pretraining: behind [CLS] or what the model's tokenizer begins with, and without its end.
2. Prompts of equally many tokens share a batch, so that nothing is padded, and no prompt changes another's logits.
3. Tokens that no text holds are never drawn: [UNK], [PAD] and other special tokens, [unused…], rows without a token.
4. A continuation ends at the end token, at the number of tokens asked for, or where the model's positions end.
5. WordPiece writes a blank between any two tokens: of those, only the ones between Latin words are kept.

The same prompts, settings and seed give the same texts on the same machine.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import models

from clue_bench.doors.checkpoint import base_name, learned_positions, read_provenance
from clue_bench.doors.model_folders import find_folder
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.tokenisers import load_tokenizer
from clue_bench.training import hardware
from clue_bench.vocab import CONTINUATION
from clue_bench.weights import CONFIG
from clue_bench.weights.configuration import read_config
from clue_bench.weights.hf_classes import explained
from clue_bench.weights.hf_config import claimed_class
from clue_bench.weights.read import open_weights

BATCH = 32  # continuations at a time
_CAUSAL = ("ForCausalLM", "LMHeadModel")
_NO_TEXT = re.compile(r"\[unused[^\]]*\]|<unused\d+>|<extra_id_\d+>")


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. `tokens` and `samples` are at most as many, and of each prompt.

    `temperature` 0 takes the most probable token each time. `top_k` 0 and `top_p` 1 leave every token in; a
    `repetition_penalty` above 1 makes tokens that are there already less probable.
    """

    tokens: int = 100
    samples: int = 1
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 0.95
    repetition_penalty: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise ClueBenchError for a value that cannot be meant."""
        limits = {
            "tokens": (self.tokens >= 1, "1 or more"),
            "samples": (self.samples >= 1, "1 or more"),
            "temperature": (0 <= self.temperature <= 100, "0 to 100, 0 for the most probable token each time"),
            "top_k": (self.top_k >= 0, "0 or more, 0 for every token"),
            "top_p": (0 < self.top_p <= 1, "above 0 and up to 1, 1 for every token"),
            "repetition_penalty": (0 < self.repetition_penalty <= 100, "above 0, 1 for none"),
            "seed": (0 <= self.seed < 2**63, "a whole number from 0"),
        }
        for name, (is_right, expected) in limits.items():
            if not is_right:
                option = name.replace("_", "-")
                raise ClueBenchError(f"{name}: found {getattr(self, name)}, expected {expected}", f"change --{option}")
        if self.samples > 1 and not self.temperature:
            raise ClueBenchError(
                f"{self.samples} samples at temperature 0, which gives the same text each time",
                "leave out --samples, or give --temperature 1",
            )

    @property
    def text(self) -> str:
        """Return the settings as the options that they are."""
        if not self.temperature:
            return f"tokens {self.tokens}, the most probable token each time, repetition penalty {self._penalty}"
        return (
            f"tokens {self.tokens}, samples {self.samples}, temperature {self.temperature:g}, top-k {self.top_k}, "
            f"top-p {self.top_p:g}, repetition penalty {self._penalty}, seed {self.seed}"
        )

    @property
    def _penalty(self) -> str:
        return f"{self.repetition_penalty:g}"


class Continuation(NamedTuple):
    """What follows a prompt: its text, its number of tokens, and whether the model ended it."""

    text: str
    tokens: int
    is_ended: bool


class Drawn(NamedTuple):
    """Every prompt's continuations, and counts of tokens: of the prompts, of unknown ones in them, of the longest text.

    `shortened` counts the prompts whose texts cannot be as long as asked for, since the model has no more positions.
    """

    continuations: list[list[Continuation]]
    prompt_tokens: int
    unknown_tokens: int
    longest: int
    shortened: int


class Generator:
    """A causal language model in memory."""

    def __init__(self, folder: Path, model: Any, tokenizer: Any) -> None:
        self.folder, self._tokenizer = folder, tokenizer
        self._device = hardware.pick_device()
        self._model = model.to(self._device).eval()
        provenance = read_provenance(folder)
        self.name = base_name(folder, provenance)
        self.max_positions = int(getattr(model.config, "max_position_embeddings", 0) or 2**20)
        self.learned_positions = learned_positions(provenance, self.max_positions)
        self._rows = int(model.get_input_embeddings().weight.shape[0])
        self._is_wordpiece = isinstance(_rust_model(tokenizer), models.WordPiece)
        self._ends = self._find_ends()
        self._never = sorted(self._find_unwritten() - self._ends)

    @classmethod
    def open(cls, path: Path | str) -> "Generator":
        """Load a model from a folder or the hub. Raises ClueBenchError if it continues no texts, or is not complete."""
        from transformers import AutoModelForCausalLM

        hardware.keep_freed_memory()
        folder = find_folder(path)
        config = _causal_config(folder)
        open_weights(folder)  # is there anything to load, and can it be read safely?
        # What is stored in half of the precision is slow on a CPU, and wanted so on a GPU.
        dtype = "auto" if hardware.pick_device().type == "cuda" else torch.float32
        with explained(f"{folder}: transformers cannot load the model", f"run clue-bench doctor {folder}"):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder, config=config, dtype=dtype, output_loading_info=True, trust_remote_code=False
            )
        model, faults = loaded
        if missing := sorted(faults["missing_keys"]):
            raise ClueBenchError(
                f"{folder}: {len(missing)} parameters are missing, e.g. {missing[0]}", "copy the whole checkpoint"
            )
        return cls(folder, model, load_tokenizer(folder, str(config.model_type)))

    def ids(self, prompt: str, where: str) -> list[int]:
        """Return a prompt's ids. Raises ClueBenchError that names the prompt by `where` if it has none, or too many."""
        with explained(f"{self.folder}: its tokenizer fails", "copy the tokenizer's files again"):
            ids: list[int] = self._tokenizer(prompt, verbose=False)["input_ids"]
        while len(ids) > 1 and ids[-1] in self._ends and ids[-1] != self._tokenizer.bos_token_id:
            ids.pop()
        if len(ids) > 1 and ids[0] == ids[1] and ids[0] in self._tokenizer.all_special_ids:
            ids = ids[1:]  # "[CLS]" was written, and added
        if not ids:
            raise ClueBenchError(f"{where}: no text, and the model has no token to begin with", "give a word or more")
        if max(ids) >= self._rows:
            raise ClueBenchError(
                f"{self.folder}: the tokenizer gives id {max(ids):,}, the model has {self._rows:,}",
                "copy the tokenizer that belongs to the weights",
            )
        if len(ids) >= self.max_positions:
            raise ClueBenchError(
                f"{where}: {len(ids):,} tokens, the model takes {self.max_positions:,} with what it writes",
                "shorten the prompt",
            )
        return ids

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, *, on_done: Callable[[int], None] = lambda done: None
    ) -> Drawn:
        """Continue each prompt `sampling.samples` times; `on_done` is called with the number of texts so far.

        Raises ClueBenchError that names the prompt (from 1) which the model cannot continue.
        """
        ids = [self.ids(prompt, f"prompt {number}") for number, prompt in enumerate(prompts, 1)]
        drawn: list[list[Continuation]] = [[] for _ in prompts]
        done = longest = 0
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(sampling.seed)
            for places in _batches(list(map(len, ids)), sampling.samples):
                for place, new in zip(places, self._continued([ids[n] for n in places], sampling), strict=True):
                    drawn[place].append(self._written(prompts[place], ids[place], new))
                    longest = max(longest, len(ids[place]) + len(new))
                done += len(places)
                on_done(done)
        unknown = self._tokenizer.unk_token_id
        return Drawn(
            drawn,
            prompt_tokens=sum(map(len, ids)),
            unknown_tokens=0 if unknown in self._ends else sum(each.count(unknown) for each in ids),
            longest=longest,
            shortened=sum(len(each) + sampling.tokens > self.max_positions for each in ids),
        )

    @torch.no_grad()
    def _continued(self, prompts_BS: list[list[int]], sampling: Sampling) -> list[list[int]]:
        """Return the new ids behind prompts of one length, the end token included."""
        from transformers import GenerationConfig

        length = len(prompts_BS[0])
        drawn = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
        self._model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=min(sampling.tokens, self.max_positions - length),
            do_sample=sampling.temperature > 0,
            **(drawn if sampling.temperature else {}),
            repetition_penalty=sampling.repetition_penalty,
            suppress_tokens=self._never or None,
            eos_token_id=sorted(self._ends) or None,
            pad_token_id=min(self._ends, default=0),  # behind the end, where it is cut off
            use_cache=True,
        )
        ids_BS = torch.tensor(prompts_BS, device=self._device)
        with explained(f"{self.folder}: it cannot continue texts", f"run clue-bench doctor {self.folder}"):
            all_BS = self._model.generate(input_ids=ids_BS, attention_mask=torch.ones_like(ids_BS))
        return [self._until_end(row) for row in all_BS[:, length:].tolist()]

    def _until_end(self, ids: list[int]) -> list[int]:
        end = next((place for place, index in enumerate(ids, 1) if index in self._ends), len(ids))
        return ids[:end]

    def _written(self, prompt: str, before: list[int], new: list[int]) -> Continuation:
        is_ended = bool(new) and new[-1] in self._ends
        ids = new[:-1] if is_ended else new
        if self._is_wordpiece:
            return Continuation(joined(self._tokenizer.convert_ids_to_tokens(ids), prompt), len(ids), is_ended)
        base, whole = (self._tokenizer.decode(each, skip_special_tokens=True) for each in (before, [*before, *ids]))
        # A blank, or the rest of a character, may show only behind the prompt's own tokens.
        text = whole[len(base) :] if whole.startswith(base) else self._tokenizer.decode(ids, skip_special_tokens=True)
        return Continuation(text, len(ids), is_ended)

    def _find_ends(self) -> set[int]:
        """Return the tokens that end a text: those that the model names, else its tokenizer's end or separator."""
        tokenizer, named = self._tokenizer, getattr(self._model.generation_config, "eos_token_id", None)
        ends = set(named if isinstance(named, list) else [named]) | {tokenizer.eos_token_id}
        known = {index for index in ends if index is not None and 0 <= index < len(tokenizer)}
        return known or ({tokenizer.sep_token_id} - {None})

    def _find_unwritten(self) -> set[int]:
        """Return the ids that stand for no text."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        special = {index for index, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        unused = {index for token, index in vocabulary.items() if _NO_TEXT.fullmatch(token)}
        nameless = set(range(self._rows)) - set(vocabulary.values())
        return {
            index for index in {*special, *self._tokenizer.all_special_ids, *unused} if index < self._rows
        } | nameless


def joined(tokens: Sequence[str], before: str = "") -> str:
    """Return the text of WordPiece tokens behind the text `before`, without the blanks that only part tokens."""
    text = before
    for token in tokens:
        is_rest = token.startswith(CONTINUATION) and len(token) > len(CONTINUATION)
        piece = token.removeprefix(CONTINUATION) if is_rest else token
        text += piece if is_rest or not _wants_blank(text, piece) else f" {piece}"
    return text[len(before) :]


def _wants_blank(text: str, piece: str) -> bool:
    """Return whether a blank stands between a text and the word or sign that follows: Latin on both sides, no more."""
    if not text or not piece or not (_is_latin(text[-1]) and _is_latin(piece[0])):
        return False
    left, right = text[-1], piece[0]
    if right in ",.!?:;%)]}" or left in "([{" or {left, right} & set("-/_@#&+=~'^|\\<>*$`"):
        return False
    is_in_number = left in ".,:" and right.isdigit() and text[-2:-1].isdigit()  # 3.14, 10:30, 1,000
    return not is_in_number


def _is_latin(character: str) -> bool:
    """Return whether a character belongs to a script that parts words by blanks, or is ASCII."""
    if character.isascii():
        return not character.isspace()
    return character.isalnum() and unicodedata.east_asian_width(character) not in "WF"


def _batches(lengths: list[int], samples: int) -> Iterator[list[int]]:
    """Yield the places of prompts of one length, each as often as it is to be continued, at most BATCH at a time."""
    by_length: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        by_length.setdefault(length, []).extend([place] * samples)
    for places in by_length.values():
        yield from (places[start : start + BATCH] for start in range(0, len(places), BATCH))


def _causal_config(folder: Path) -> Any:
    """Return the configuration. Raises ClueBenchError for a model that continues no texts."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    claimed = claimed_class(read_config(folder / CONFIG))
    if "Classification" in claimed:
        raise ClueBenchError(
            f"{folder}: a {claimed}, which gives labels and writes no text",
            f"run clue-bench predict --model {folder} --text TEXT, or give the model before fine-tuning",
        )
    with explained(f"{folder}: transformers cannot read its {CONFIG}", f"run clue-bench doctor {folder}"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    kind, is_causal = str(config.model_type), claimed.endswith(_CAUSAL)
    if getattr(config, "is_encoder_decoder", False) or (kind in MASKED and not is_causal) or kind not in CAUSAL:
        raise ClueBenchError(
            f"{folder}: {claimed or kind} is no causal language model, so it continues no text",
            f"give a GPT2 or the like; run clue-bench doctor {folder} --text 'a text with [MASK]' to fill masks",
        )
    return config


def _rust_model(tokenizer: Any) -> Any:
    return getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
