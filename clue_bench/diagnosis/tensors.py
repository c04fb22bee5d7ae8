"""Names, shapes and values of tensors against what the class wants.

Input: the header of the weights and an `Architecture`. Output: findings about the head, the tensors and the numbers.
"""

import re

import torch

from clue_bench.diagnosis.architecture import Architecture
from clue_bench.diagnosis.family import Family
from clue_bench.diagnosis.read import Entry, Weights
from clue_bench.diagnosis.report import Finding, some

_MIB = 2**20
# In the file, wanted by no class or by another one; what they are, by pattern, tried in order.
_DEAD: tuple[tuple[str, str], ...] = (
    (r"(^|[./_])(adam_[mv]|adam[mv]|exp_avg(_sq)?|global_step|optimizer)", "optimizer slots"),
    (r"(position_ids|token_type_ids)$", "buffers of older versions"),
    (r"attn\.(masked_)?bias$", "attention masks of older versions"),
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


def plain_name(name: str, prefix: str) -> str:
    """Return `name` without the encoder's prefix, gamma and beta in today's words, as transformers loads it."""
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))
    return name.removeprefix(f"{prefix}.")


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
            findings.append(Finding("tensors", "note", f"not in the file: {some(names)}: {why}"))
        absent = [name for name in absent if name not in names]
    head = [name for name in absent if _HEAD.match(name)]
    absent = [name for name in absent if name not in head]
    if head and any(_HEAD.match(name) for name in found):  # a head that is wholly missing is check_head's
        absent += head
    if absent:
        text = f"{architecture.name} wants {len(absent):,} tensors that the file lacks: {some(absent)}"
        findings.append(Finding("tensors", "wrong", text, "they would start from fresh weights: copy the file again"))
    return findings


def _unexpected(found: dict[str, Entry], wanted: dict[str, tuple[int, ...]]) -> list[Finding]:
    left = {name: entry for name, entry in found.items() if name not in wanted}
    findings = []
    for pattern, what in _DEAD:
        group = {name: entry for name, entry in left.items() if re.search(pattern, name)}
        if group:
            size = sum(entry.size for entry in group.values())
            mib = sum(entry.bytes for entry in group.values()) / _MIB
            text = f"{what}: {len(group)} tensors that are not used, {size:,} parameters, {mib:.1f} MiB"
            findings.append(Finding("tensors", "note", text))
        left = {name: entry for name, entry in left.items() if name not in group}
    if left:
        text = f"{len(left):,} tensors that the class does not know: {some(list(left))}"
        findings.append(Finding("tensors", "wrong", text, "they would be left aside: is config.json another model's?"))
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
    text = f"{len(wrong)} tensors have another shape than {architecture.name} wants: {some(wrong)}"
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
    """Look at every number: NaN, infinity, tensors of zeros, and norms and biases that were never trained."""
    broken, zeros = [], []
    initial, looked = 0, 0
    for name, tensor in weights.tensors():
        bad = int(tensor.numel() - tensor.isfinite().sum())
        if bad:
            broken.append(f"{name} ({bad:,} of {tensor.numel():,})")
            continue
        is_norm = bool(re.search(r"(norm\w*|ln_\w+|ln)\.(weight|gamma)$", name, re.IGNORECASE))
        is_zero = tensor.numel() > 0 and not bool(tensor.any())
        if is_zero and (tensor.dim() > 1 or is_norm) and not re.search(r"token_type|attn\.bias|position_ids", name):
            zeros.append(name)
        if is_norm or name.endswith(("bias", "beta")):
            looked += 1
            initial += bool((tensor == 1).all()) if is_norm else is_zero
    findings = []
    if broken:
        text = f"NaN or infinity in {len(broken)} tensors: {some(broken)}"
        findings.append(
            Finding("numbers", "wrong", text, "take an earlier checkpoint: training diverged, or a bad copy")
        )
    if zeros:
        text = f"{len(zeros)} tensors are all zeros: {some(zeros)}"
        findings.append(Finding("numbers", "wrong", text, "copy or convert the file again"))
    if looked and initial == looked:
        text = (
            f"all {looked} norms and biases have their initial values, 1 and 0: never trained, or another model's part"
        )
        findings.append(Finding("numbers", "note", text))
    if not broken and not zeros:
        findings.insert(0, Finding("numbers", "ok", "every number is finite, no matrix is all zeros"))
    return findings
