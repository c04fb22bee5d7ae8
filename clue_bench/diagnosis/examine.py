"""Examine a checkpoint: read it, compare it with its config.json, ask it, and conclude.

Input: a checkpoint folder, a run's folder or a Hugging Face id. Output: a `Diagnosis`. Changes nothing on disk.

1. read config.json, the tokenizer's files and the header of the weights (weights, tokens);
2. recognise the family from names and shapes (family) and compare it with what config.json claims (claims);
3. compare tokenizer (tokens), tensors, numbers, positions and segments (tensors), read as what the weights are;
4. if nothing stands in the way, fill masks or continue sentences (behaviour).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clue_bench.diagnosis import behaviour, result
from clue_bench.diagnosis.claims import Architecture, Reading, architecture_of, check_claims, masked_class
from clue_bench.diagnosis.family import Family, label_of, recognise
from clue_bench.diagnosis.result import Continuation, Diagnosis, FilledMask, Finding, Parameters
from clue_bench.diagnosis.tensors import (
    capacity,
    check_head,
    check_numbers,
    check_positions,
    check_segments,
    check_tensors,
    unused_length,
)
from clue_bench.diagnosis.tokens import (
    TokenizerFiles,
    check_special_tokens,
    check_tokenizer,
    check_vocabulary,
    read_tokenizer,
)
from clue_bench.doors.checkpoint import PROVENANCE, read_provenance, stated_positions, weights_sha256
from clue_bench.doors.model_folders import find_folder
from clue_bench.errors import ClueBenchError
from clue_bench.numbers import article
from clue_bench.vocab import OTHER_IDS, read_vocabulary
from clue_bench.vocab.vocabulary import SENTENCEPIECE_FILE
from clue_bench.weights import CONFIG, WEIGHTS
from clue_bench.weights.configuration import read_config
from clue_bench.weights.hf_config import claimed_class
from clue_bench.weights.names import is_nezha
from clue_bench.weights.read import Weights, open_weights


@dataclass(frozen=True)
class Files:
    """The files in the folder, read."""

    folder: Path
    values: dict[str, Any]  # of config.json
    weights: Weights
    tokenizer: TokenizerFiles


@dataclass
class Answers:
    """The model's answers, if it was asked."""

    finding: Finding
    filled: list[FilledMask] = field(default_factory=list)
    continued: list[Continuation] = field(default_factory=list)


def examine(model: str, *, texts: Sequence[str] = ()) -> Diagnosis:
    """Examine the checkpoint `model`; `texts` are sentences to ask it besides the built-in ones.

    Raises ClueBenchError if there is no checkpoint, a file is damaged, or a text cannot be asked.
    """
    folder = find_folder(model)
    files = Files(folder, read_config(folder / CONFIG), open_weights(folder), read_tokenizer(folder))
    family = _recognise(files.weights, files.values)
    findings, reading = check_claims(files.values, family)
    findings += _check_tokens(files, family, reading)
    findings += [check_head(family, claimed_class(files.values)), *check_numbers(files.weights)]
    findings += _check_provenance(folder)
    built: Architecture | None = None
    if reading:
        built, more = _check_model(files, family, reading)
        findings += more
    answers = _ask(files, family, reading if built else None, findings, texts)
    findings.append(answers.finding)
    ordered = result.in_order(findings)
    description = _describe(files, family, reading, ordered)
    return Diagnosis(
        model=model,
        folder=str(folder),
        verdict=result.conclude(description, ordered, read_as=reading.in_words if built and reading else ""),
        read_as=reading.in_words if reading else "",
        description=description,
        parameters=Parameters(
            encoder=built.encoder_parameters if built else None,
            has_pooler=built is not None and built.has_pooler,
            with_head=built.parameters if built and built.has_head else None,
            in_file=sum(entry.size for entry in files.weights.entries.values()),
        ),
        bytes_on_disk=sum(file.stat().st_size for file in files.weights.files),
        dtypes=tuple(sorted({entry.dtype for entry in files.weights.entries.values()})),
        findings=ordered,
        filled=tuple(answers.filled),
        continued=tuple(answers.continued),
    )


def _recognise(weights: Weights, values: dict[str, Any]) -> Family:
    shapes = weights.shapes
    family = recognise(shapes)
    if family.kind == "bert" and is_nezha(values, shapes):  # its encodings are computed, and often not in the file
        return replace(family, kind="nezha", compatible=frozenset({"nezha"}), evidence="as config.json says")
    if family.kind in ("bert", "roberta") and family.positions and family.sizes["max_position_embeddings"] > 1:
        return recognise(shapes, zero_position_row=not bool(weights.tensor(family.positions)[1].any()))
    return family


def _check_provenance(folder: Path) -> list[Finding]:
    """Compare the weights with the hash that our provenance.json gives, if there is one."""
    if not (folder / PROVENANCE).is_file() or not (folder / WEIGHTS).is_file():
        return []
    if read_provenance(folder).get("weights_sha256") == weights_sha256(folder):
        return [Finding("provenance", "ok", f"{PROVENANCE} speaks of these weights")]
    text = f"{PROVENANCE} speaks of other weights: {WEIGHTS} has another sha256"
    return [Finding("provenance", "wrong", text, f"copy the two together, or remove {PROVENANCE}")]


def _check_tokens(files: Files, family: Family, reading: Reading | None) -> list[Finding]:
    tokenizer, values = files.tokenizer, files.values
    holds = capacity(family, reading) if reading else None
    rows = family.sizes.get("vocab_size")
    return [
        *check_vocabulary(tokenizer, reading, stated=values.get("vocab_size"), rows=rows),
        *check_special_tokens(tokenizer, values, reading),
        *check_tokenizer(tokenizer, values, capacity=holds),
        *_check_pieces(files.folder),
    ]


def _check_pieces(folder: Path) -> list[Finding]:
    """Say where transformers reads a sentencepiece model in another way than sentencepiece does."""
    if not (folder / SENTENCEPIECE_FILE).is_file():
        return []
    try:
        refusal = read_vocabulary(folder).refusal
    except ClueBenchError:  # other findings say what is wrong with the folder
        return []
    if not refusal.startswith(OTHER_IDS):
        return []
    hint = "use the tokenizer that the model was trained with; models of ours: train them again"
    return [Finding("tokenizer", "wrong", f"{SENTENCEPIECE_FILE}: {refusal}", hint)]


def _check_model(files: Files, family: Family, reading: Reading) -> tuple[Architecture | None, list[Finding]]:
    """Build the class without memory and compare tensors, positions and segments with it."""
    weights = files.weights
    try:
        built = architecture_of(reading)
    except ClueBenchError as error:
        return None, [Finding("config", "wrong", error.message, error.hint)]
    learned = family.positions if reading.kind != "roformer" else None
    positions_RH = weights.tensor(learned).float() if learned else None
    segments_RH = weights.tensor(family.segments).float() if family.segments else None
    return built, [
        *check_tensors(weights, built),
        *check_positions(family, reading, positions_RH, stated_length=stated_positions(read_provenance(files.folder))),
        *check_segments(family, reading, segments_RH, files=files.tokenizer, unused=unused_length(positions_RH)),
    ]


def _ask(
    files: Files, family: Family, reading: Reading | None, findings: list[Finding], texts: Sequence[str]
) -> Answers:
    """Ask the model, if it has a head, its tensors fit and its tokens have embeddings; else say why not."""
    reason = _obstacle(files, family, reading, findings)
    if reason or reading is None:
        return Answers(Finding("answers", "note", f"not asked: {reason}"))
    name = masked_class(reading.model_type)
    ask = _continue if reading.kind == "gpt2" else _fill
    try:
        subject = behaviour.Subject(files.folder, class_name=name, config=reading.config, files=files.tokenizer)
        answers = ask(subject, family.sizes["vocab_size"])
    except ClueBenchError as error:
        return Answers(Finding("answers", "wrong", error.message, error.hint))
    for text in texts:
        if reading.kind == "gpt2":
            answers.continued.append(behaviour.continue_text(subject, text))
        else:
            answers.filled.extend(behaviour.fill(subject, text))
    return answers


def _fill(subject: behaviour.Subject, size: int) -> Answers:
    sentences = behaviour.built_in(subject.files)
    filled = [one for text, right in sentences for one in behaviour.fill(subject, text, expected=right)]
    return Answers(behaviour.judge_filled(filled, size=size), filled=filled)


def _continue(subject: behaviour.Subject, size: int) -> Answers:
    continued = [behaviour.continue_text(subject, text) for text in behaviour.STARTS]
    return Answers(behaviour.judge_continued(continued, size=size), continued=continued)


def _obstacle(files: Files, family: Family, reading: Reading | None, findings: list[Finding]) -> str:
    """Return why the model cannot be asked, "" if it can."""
    if reading is None:
        return f"transformers cannot build this {family.label}"
    if not family.has_head:
        return "there is no head that predicts tokens"
    if files.tokenizer.style == "none":
        return "there is no vocabulary"
    if len(files.tokenizer) > family.sizes.get("vocab_size", 0):
        return "the vocabulary has more tokens than the embedding has rows"
    for finding in findings:
        if finding.severity == "wrong" and finding.check in ("tensors", "numbers"):
            return f"first fix the {finding.check}"
        if finding.severity == "wrong" and finding.check == "special tokens" and " has no " in finding.text:
            return "the vocabulary lacks special tokens"
    return ""


HEADS = (
    ("no masked-language-model head", "a masked-language-model head", "a trained masked-language-model head"),
    ("no language-model head", "a language-model head", "a trained language-model head"),
)
"""None, one, a trained one; of most families, and of GPT2."""


def _describe(files: Files, family: Family, reading: Reading | None, findings: tuple[Finding, ...]) -> str:
    """Return the checkpoint in words: family, size, vocabulary and head."""
    label = article(label_of(reading.kind) if reading else family.label)
    layers = family.sizes.get("num_hidden_layers") or getattr(reading and reading.config, "num_hidden_layers", None)
    size = f" of {layers} layers" if layers else ""
    width = f", {family.sizes['hidden_size']:,} wide," if "hidden_size" in family.sizes else ""
    tokens = files.tokenizer.label if files.tokenizer.style != "none" else "no vocabulary"
    none, untrained, trained = HEADS[family.kind == "gpt2"]
    is_trained = next((finding.severity for finding in findings if finding.check == "answers"), "note") == "ok"
    what = none if not family.has_head else trained if is_trained else untrained
    if reading and not family.has_head and re.search(r"For(?!MaskedLM|PreTraining)", reading.class_name):
        what = f"the head of {reading.class_name}"
    return f"{label}{size}{width} with {tokens} and {what}"
