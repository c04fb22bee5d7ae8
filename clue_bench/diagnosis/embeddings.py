"""Positions and segments: rows of two embeddings against config.json, and whether they were ever pretrained.

Input: the two tensors and a `Reading`. Output: findings. What is said of training is read from values alone, and says
"look": a row that was never used keeps its random start.
"""

# R rows, H hidden

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from clue_bench.diagnosis.claims import Reading
from clue_bench.diagnosis.family import Family
from clue_bench.diagnosis.report import Finding
from clue_bench.diagnosis.tokens import TokenizerFiles

_FEWEST_DIMENSIONS = 64  # in fewer, random rows are not orthogonal enough to be told from trained ones
_FEWEST_UNUSED = 8  # rows; the very last ones are rarely reached even by full-length training
_SEGMENTS = "type_vocab_size"
_POSITIONS = "max_position_embeddings"


def capacity(family: Family, reading: Reading) -> int | None:
    """Return how many tokens the positions hold."""
    rows = family.sizes.get(_POSITIONS)
    if rows is None or family.positions is None:
        return None
    # RoBERTa's positions start behind its padding index.
    return rows - (reading.config.pad_token_id or 0) - 1 if reading.kind == "roberta" else rows


def check_positions(family: Family, reading: Reading, positions_RH: Tensor | None) -> list[Finding]:
    """Compare the rows with config.json; say how many look trained. `positions_RH` is None for computed positions."""
    rows, said = family.sizes.get(_POSITIONS), reading.claimed_sizes.get(_POSITIONS)
    if rows is None:
        computed = "positions are computed" if reading.kind == "roformer" else "there is no position embedding"
        return [Finding("positions", "note" if reading.kind != "roformer" else "ok", computed)]
    if said != rows:
        text = f"config.json says {_POSITIONS} {said:,}, the weights have {rows:,} rows"
        return [Finding("positions", "wrong", text, f'"{_POSITIONS}": {rows} in config.json')]
    findings = []
    if reading.kind == "roberta" and rows % 64 == 0:
        text = f"{rows:,} rows hold {capacity(family, reading):,} tokens: RoBERTa's first positions are for padding"
        findings.append(Finding("positions", "note", text, "is this a BERT that is called RoBERTa?"))
    if positions_RH is None:
        return [*findings, Finding("positions", "ok", f"{rows:,} rows of sinusoids")]
    trained = trained_rows(positions_RH)
    if trained is not None and rows - trained >= _FEWEST_UNUSED:
        which = f"only the first {trained:,} of {rows:,} rows look" if trained else f"none of the {rows:,} rows looks"
        others = "the others" if trained else "they"
        text = f"{which} pretrained: {others} are unrelated to their neighbours and equally long"
        hint = f"keep texts within {trained:,} tokens, or train on longer ones" if trained else "pretrain the model"
        return [*findings, Finding("positions", "note", text, hint)]
    return [*findings, Finding("positions", "ok", f"{rows:,} rows, as config.json says")]


def trained_rows(positions_RH: Tensor) -> int | None:
    """Return how many leading rows look trained; None where that cannot be told.

    A row that was never used keeps its random start: its cosine with its neighbour is 0 ± 1/√H, and its length that of
    the other unused ones, ± 1/√(2H) of it. Pretraining relates neighbours and changes lengths; fine-tuning is
    too short to show.
    """
    rows, hidden = positions_RH.shape
    if hidden < _FEWEST_DIMENSIONS or rows < 16 or not bool(positions_RH.isfinite().all()):
        return None
    lengths_R = positions_RH.norm(dim=1)
    usual = lengths_R[-rows // 4 :].median()
    # Eight and six standard deviations: no false alarm in a thousand rows.
    by_length_R = (lengths_R - usual).abs() > 8 * usual / (2 * hidden) ** 0.5
    related_R = cosine_similarity(positions_RH[1:], positions_RH[:-1]).abs() > min(6 / hidden**0.5, 0.5)
    by_neighbour_R = torch.cat([related_R, related_R.new_zeros(1)]) | torch.cat([related_R.new_zeros(1), related_R])
    trained = (by_length_R | by_neighbour_R).nonzero()
    return int(trained.max()) + 1 if len(trained) else 0


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
    rows, said = family.sizes.get(_SEGMENTS), reading.claimed_sizes.get(_SEGMENTS)
    if rows is None or segments_RH is None:
        return [Finding("segments", "ok", "no segments: pairs are told apart by [SEP] alone")]
    if said is not None and said != rows:
        text = f"config.json says {_SEGMENTS} {said:,}, the weights have {rows:,} rows"
        return [Finding("segments", "wrong", text, f'"{_SEGMENTS}": {rows} in config.json')]
    findings = [_meaning(segments_RH, unused)]
    if rows == 1 and files.style == "wordpiece":
        text = "one segment, but BertTokenizer numbers the second text of a pair 1: pairs would crash"
        hint = '"model_input_names": ["input_ids", "attention_mask"] in tokenizer_config.json'
        findings.append(Finding("segments", "note", text, hint))
    if reading.kind == "roformer":
        text = "RoFormer's authors give pairs segment 0 throughout; a tokenizer numbers the second text 1"
        findings.append(Finding("segments", "note", text, "tokenizer(a, b, return_token_type_ids=False)"))
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
        return Finding("segments", "note", text, "fine-tuning on pairs trains it")
    return Finding("segments", "ok", f"{rows} segment row{'s' if rows > 1 else ''}, as config.json says")
