"""Compare tensors with what the class wants: names and shapes, numbers, and the rows of positions and segments.

Input: `Weights`, an `Architecture` and a `Reading`. Output: findings. What is said of training is read from values
alone, and says "look": a row that was never used keeps its random start.
"""

# R rows, H hidden

import re

import torch
from torch import Tensor

from clue_bench.diagnosis.claims import Architecture, Reading
from clue_bench.diagnosis.family import Family
from clue_bench.diagnosis.result import Finding, shortened
from clue_bench.diagnosis.tokens import TokenizerFiles
from clue_bench.numbers import counted
from clue_bench.weights.names import todays, why_dead
from clue_bench.weights.positions import MIN_UNUSED, trained_rows
from clue_bench.weights.read import Entry, Weights

# In the file, wanted by no class or by another one, besides what no model uses; by pattern, tried in order.
_UNUSED: tuple[tuple[str, str], ...] = (
    (r"(seq_relationship|sop_classifier)", "the sentence-pair head"),
    (r"(^|\.)pooler\.", "the pooler"),
    (r"predictions\.decoder\.|lm_head\.(decoder\.)?(weight|bias)$", "the tied decoder"),
    (r"^(cls\.predictions|predictions|lm_head|generator_|discriminator_)", "a head that this class lacks"),
    (r"embed_positions\.weight$", "sinusoids, computed anew anyway"),
)
# Wanted by the class, and no loss where they are missing: what happens then.
_OPTIONAL: tuple[tuple[str, str], ...] = (
    (r"position_ids$", "computed"),
    (r"embed_positions\.weight$", "sinusoids, computed"),
    (r"(^|\.)pooler\.", "the pooler starts afresh; classifiers train it"),
    (r"(seq_relationship|sop_classifier)", "the sentence-pair head starts afresh"),
)
_HEAD = re.compile(r"^(cls\.predictions|predictions|lm_head|generator_|vocab_)")
_SEGMENTS = "type_vocab_size"
_POSITIONS = "max_position_embeddings"


def plain_name(name: str, prefix: str) -> str:
    """Return `name` without the encoder's prefix, gamma and beta in today's words, as transformers loads it."""
    return todays(name, "").removeprefix(f"{prefix}.")


def check_tensors(weights: Weights, architecture: Architecture) -> list[Finding]:
    """Compare names and shapes: missing, unexpected, of the wrong shape; what is dead is a note with its size."""
    found = {plain_name(name, architecture.prefix): entry for name, entry in weights.entries.items()}
    wanted = {plain_name(name, architecture.prefix): shape for name, shape in architecture.shapes.items()}
    findings = [
        *_missing(found, wanted, architecture),
        *_unexpected(found, wanted),
        *_misshapen(found, wanted, architecture),
        *_untied(weights, architecture),
    ]
    if not any(finding.severity == "wrong" for finding in findings):
        shared = len(found.keys() & wanted.keys())
        findings.insert(0, Finding("tensors", "ok", f"{shared} tensors have {architecture.name}'s names and shapes"))
    return findings


def _missing(found: dict[str, Entry], wanted: dict[str, tuple[int, ...]], architecture: Architecture) -> list[Finding]:
    pairs = [{plain_name(name, architecture.prefix) for name in pair} for pair in architecture.tied.items()]
    shared = {name for pair in pairs if pair & found.keys() for name in pair}  # one name of a tied pair will do
    absent = [name for name in wanted if name not in found and name not in shared]
    findings = []
    for pattern, why in _OPTIONAL:
        names = [name for name in absent if re.search(pattern, name)]
        if names:
            findings.append(Finding("tensors", "note", f"not in the file: {shortened(names)}: {why}"))
        absent = [name for name in absent if name not in names]
    head = [name for name in absent if _HEAD.match(name)]
    absent = [name for name in absent if name not in head]
    if head and any(_HEAD.match(name) for name in found):  # a head that is wholly missing is check_head's
        absent += head
    if absent:
        text = f"{architecture.name} wants {counted(len(absent), 'tensor')} that the file lacks: {shortened(absent)}"
        findings.append(Finding("tensors", "wrong", text, "copy the file again: they would start from fresh weights"))
    return findings


def _unexpected(found: dict[str, Entry], wanted: dict[str, tuple[int, ...]]) -> list[Finding]:
    groups: dict[str, list[Entry]] = {}
    unknown = []
    for name, entry in found.items():
        if name in wanted:
            continue
        what = why_dead(name) or next((what for pattern, what in _UNUSED if re.search(pattern, name)), None)
        if what is None:
            unknown.append(name)
        else:
            groups.setdefault(what, []).append(entry)
    findings = []
    for what, entries in groups.items():
        size, mib = sum(entry.size for entry in entries), sum(entry.bytes for entry in entries) / 2**20
        unused = counted(len(entries), "tensor that is", "tensors that are")
        text = f"{what}: {unused} not used, {size:,} parameters, {mib:.1f} MiB"
        findings.append(Finding("tensors", "note", text))
    if unknown:
        text = f"{counted(len(unknown), 'tensor')} that the class does not know: {shortened(unknown)}"
        hint = "check that config.json belongs to this model: they would be ignored"
        findings.append(Finding("tensors", "wrong", text, hint))
    return findings


def _misshapen(
    found: dict[str, Entry], wanted: dict[str, tuple[int, ...]], architecture: Architecture
) -> list[Finding]:
    wrong = [
        f"{name} {list(entry.shape)} instead of {list(wanted[name])}"
        for name, entry in found.items()
        if name in wanted and entry.shape != wanted[name]
    ]
    if not wrong:
        return []
    have = counted(len(wrong), "tensor has", "tensors have")
    text = f"{have} another shape than {architecture.name} wants: {shortened(wrong)}"
    return [Finding("tensors", "wrong", text, "change the numbers of config.json to those of the file")]


def _untied(weights: Weights, architecture: Architecture) -> list[Finding]:
    """Find a decoder that config.json calls tied, but that differs from the embedding."""
    by_plain = {plain_name(name, architecture.prefix): name for name in weights.entries}
    for one, other in architecture.tied.items():
        names = [by_plain.get(plain_name(name, architecture.prefix)) for name in (one, other)]
        if names[0] is None or names[1] is None or weights.entries[names[0]].shape != weights.entries[names[1]].shape:
            continue
        if not torch.equal(weights.tensor(names[0]), weights.tensor(names[1])):
            text = f"config.json ties {names[0]} to {names[1]}, but the file has two different tensors"
            return [Finding("tensors", "wrong", text, 'set "tie_word_embeddings": false in config.json')]
    return []


def check_head(family: Family, claimed: str) -> Finding:
    """Say whether the head that predicts tokens is there, and whether `claimed` promises it."""
    what = "language-model head" if family.kind == "gpt2" else "masked-language-model head"
    promised = claimed.endswith(("ForMaskedLM", "ForPreTraining", "LMHeadModel"))
    if family.kind == "electra" and claimed.endswith("ForPreTraining"):
        return Finding("head", "note", "a discriminator: it tells replaced tokens, and fills no masks")
    if family.kind in ("uer", "unknown"):
        return Finding("head", "note", "whether there is a head cannot be told from these names")
    if family.has_head:
        return Finding("head", "ok", f"the {what} is there")
    hint = "get the file that has cls.predictions, or pretrain a head; the encoder can be fine-tuned as it is"
    if promised:
        text = f"config.json promises {claimed}, but the {what} is missing: fill-mask would use random weights"
        return Finding("head", "wrong", text, hint)
    return Finding("head", "note", f"no {what}: fill-mask would use random weights, so no masks are filled")


def check_numbers(weights: Weights) -> list[Finding]:
    """Check every number: NaN, infinity, tensors of zeros, and norms and biases that were never trained."""
    broken, zeros = [], []
    initial, examined = 0, 0
    for name, stored in weights.tensors():
        tensor = stored.float()
        bad = int(tensor.numel() - tensor.isfinite().sum())
        if bad:
            broken.append(f"{name} ({bad:,} of {tensor.numel():,})")
            continue
        is_norm = bool(re.search(r"(norm\w*|ln_\w+|ln)\.(weight|gamma)$", name, re.IGNORECASE))
        is_zero = tensor.numel() > 0 and not bool(tensor.any())
        if is_zero and (tensor.dim() > 1 or is_norm) and not re.search(r"token_type|attn\.bias|position_ids", name):
            zeros.append(name)
        if is_norm or name.endswith(("bias", "beta")):
            examined += 1
            initial += bool((tensor == 1).all()) if is_norm else is_zero
    findings = []
    if broken:
        text = f"NaN or infinity in {counted(len(broken), 'tensor')}: {shortened(broken)}"
        findings.append(
            Finding("numbers", "wrong", text, "take an earlier checkpoint: training diverged, or a bad copy")
        )
    if zeros:
        text = f"{counted(len(zeros), 'tensor is', 'tensors are')} all zeros: {shortened(zeros)}"
        findings.append(Finding("numbers", "wrong", text, "copy or convert the file again"))
    if examined and initial == examined:
        text = f"all {examined} norms and biases have their initial values, 1 and 0: never trained, or made anew"
        findings.append(Finding("numbers", "note", text))
    if not broken and not zeros:
        findings.insert(0, Finding("numbers", "ok", "every number is finite, no matrix is all zeros"))
    return findings


def capacity(family: Family, reading: Reading) -> int | None:
    """Return how many tokens the positions hold."""
    rows = family.sizes.get(_POSITIONS)
    if rows is None or family.positions is None:
        return None
    # RoBERTa's positions start behind its padding index.
    return rows - (reading.config.pad_token_id or 0) - 1 if reading.kind == "roberta" else rows


def check_positions(
    family: Family, reading: Reading, positions_RH: Tensor | None, *, stated_length: int | None
) -> list[Finding]:
    """Compare the rows with config.json; say how many were trained, as `stated_length` has it, or look so.

    `positions_RH` is None for computed positions.
    """
    rows, stated = family.sizes.get(_POSITIONS), reading.claimed_sizes.get(_POSITIONS)
    if rows is None:
        computed = "positions are computed" if reading.kind == "roformer" else "there is no position embedding"
        return [Finding("positions", "note" if reading.kind != "roformer" else "ok", computed)]
    if stated != rows:
        text = f"config.json says {_POSITIONS} {stated:,}, the weights have {rows:,} rows"
        return [Finding("positions", "wrong", text, f'set "{_POSITIONS}": {rows} in config.json')]
    findings = []
    if reading.kind == "roberta" and rows % 64 == 0:
        text = f"{rows:,} rows hold {capacity(family, reading):,} tokens: RoBERTa's first positions are for padding"
        findings.append(Finding("positions", "note", text, "check whether this is a BERT that is called RoBERTa"))
    if positions_RH is None:
        return [*findings, Finding("positions", "ok", f"{rows:,} rows of sinusoids")]
    if stated_length is not None and stated_length < rows:
        text = f"pretrained on rows of {stated_length:,} tokens, as provenance.json says, of {rows:,} positions"
        return [*findings, Finding("positions", "note", text, _shorter(stated_length))]
    trained = trained_rows(positions_RH)
    if trained is not None and rows - trained >= MIN_UNUSED:
        which = f"only the first {trained:,} of {rows:,} rows look" if trained else f"none of the {rows:,} rows looks"
        others = "the others" if trained else "they"
        text = f"{which} pretrained: {others} are unrelated to their neighbours and equally long"
        hint = _shorter(trained) if trained else "pretrain the model"
        return [*findings, Finding("positions", "note", text, hint)]
    return [*findings, Finding("positions", "ok", f"{rows:,} rows, as config.json says")]


def _shorter(length: int) -> str:
    return f"keep texts within {length:,} tokens (--set max_length={length}), or train on longer ones"


def unused_length(positions_RH: Tensor | None) -> float | None:
    """Return the usual length of position rows that were never used; None if all look used."""
    trained = None if positions_RH is None else trained_rows(positions_RH)
    if positions_RH is None or trained is None or trained == len(positions_RH):
        return None
    return float(positions_RH[trained:].norm(dim=1).median())


def check_segments(
    family: Family, reading: Reading, segments_RH: Tensor | None, *, files: TokenizerFiles, unused: float | None
) -> list[Finding]:
    """Compare the rows with config.json; say whether segments mean anything. `unused`: see `unused_length`."""
    rows, stated = family.sizes.get(_SEGMENTS), reading.claimed_sizes.get(_SEGMENTS)
    if rows is None or segments_RH is None:
        return [Finding("segments", "ok", "no segments: pairs are told apart by [SEP] alone")]
    if stated is not None and stated != rows:
        text = f"config.json says {_SEGMENTS} {stated:,}, the weights have {rows:,} rows"
        return [Finding("segments", "wrong", text, f'set "{_SEGMENTS}": {rows} in config.json')]
    findings = [_meaning(segments_RH, unused)]
    if rows == 1 and files.style == "wordpiece":
        text = "one segment, but BertTokenizer numbers the second text of a pair 1: pairs would crash"
        hint = 'set "model_input_names": ["input_ids", "attention_mask"] in tokenizer_config.json'
        findings.append(Finding("segments", "note", text, hint))
    if reading.kind == "roformer":
        text = "RoFormer's authors give pairs segment 0 throughout; a tokenizer numbers the second text 1"
        findings.append(Finding("segments", "note", text, "call tokenizer(a, b, return_token_type_ids=False)"))
    return findings


def _meaning(segments_RH: Tensor, unused: float | None) -> Finding:
    rows, hidden = segments_RH.shape
    if not bool(segments_RH.any()):
        return Finding("segments", "note", f"all {rows} segment rows are zero: segments mean nothing to the model")
    if rows > 1 and bool((segments_RH[1:] == segments_RH[0]).all()):
        text = f"all {rows} segment rows are identical: segments mean nothing, so the model was not trained with pairs"
        return Finding("segments", "note", text)
    # Unused rows of both tables start alike and decay alike.
    if rows > 1 and unused and abs(float(segments_RH[1].norm()) - unused) < 6 * unused / (2 * hidden) ** 0.5:
        text = "segment row 1 is as long as unused position rows: pretraining saw no pairs, as it looks"
        return Finding("segments", "note", text, "fine-tune on pairs, which trains it")
    return Finding("segments", "ok", f"{rows} segment row{'s' if rows > 1 else ''}, as config.json says")
