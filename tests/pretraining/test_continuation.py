"""Continue the pretraining of a model of transformers on a corpus, without a recipe of its own."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import clue_bench as cb
from clue_bench.doors.checkpoint import learned_positions, read_checkpoint
from clue_bench.doors.records import PretrainRecord
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.pretraining.continuation import continued_recipe
from clue_bench.pretraining.start import start_config
from clue_bench.vocab import Vocabulary, read_vocabulary

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
GPT2_SIZES = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
POSITIONS = 64
AUTO = {"gpt2": transformers.AutoModelForCausalLM}


def model_of(family: str, *, vocab_size: int, bare: bool = False) -> Any:
    """Return a tiny model of transformers with new weights: BERT with all its heads, the others with one."""
    torch.manual_seed(0)
    sizes = {**SIZES, "vocab_size": vocab_size, "max_position_embeddings": POSITIONS}
    if family == "bert":
        config = transformers.BertConfig(**sizes, type_vocab_size=2)
        return transformers.BertModel(config) if bare else transformers.BertForPreTraining(config)
    if family.startswith("ernie"):
        with_tasks = {"use_task_id": family == "ernie 3"}
        config = transformers.ErnieConfig(**sizes, **with_tasks, type_vocab_size=4, hidden_act="relu")
        return transformers.ErnieForMaskedLM(config)
    if family == "albert":
        return transformers.AlbertForMaskedLM(transformers.AlbertConfig(**sizes, embedding_size=16))
    if family == "roformer":
        return transformers.RoFormerForMaskedLM(transformers.RoFormerConfig(**sizes, embedding_size=32))
    config = transformers.GPT2Config(**GPT2_SIZES, vocab_size=vocab_size, bos_token_id=3, eos_token_id=4)
    return transformers.GPT2LMHeadModel(config)


@pytest.fixture
def made(tmp_path: Path, vocabulary_file: Path) -> Any:
    """A function that writes a model of transformers with its tokenizer, and returns the folder."""

    def write(family: str = "bert", *, padding: int = 0, bare: bool = False) -> Path:
        tokens = vocabulary_file.read_text(encoding="utf-8").splitlines()
        folder = tmp_path / family
        model_of(family, vocab_size=len(tokens) + padding, bare=bare).save_pretrained(folder)
        tokenizer = transformers.BertTokenizer(vocab={token: index for index, token in enumerate(tokens)})
        tokenizer.save_pretrained(folder)
        return folder

    return write


def continued(folder: Path, text_file: Path, tmp_path: Path, **arguments: Any) -> Any:
    """Build a corpus with the folder's tokenizer and continue its pretraining for 4 steps."""
    corpus = cb.build_corpus(text_file, vocabulary=folder, out=tmp_path / "corpus", workers=1, progress=False)
    settings = {"max_length": 32, "global_batch": 4, "micro_batch": 4, "precision": "fp32"}
    arguments = {"steps": 4, "settings": settings, "out": tmp_path / "run"} | arguments
    return cb.pretrain(start=folder, corpus=corpus, tracker="none", **arguments)


@pytest.mark.parametrize("family", ["bert", "albert", "roformer", "gpt2"])
def test_two_verbs_continue_any_family_and_transformers_loads_the_result(
    made: Any, text_file: Path, tmp_path: Path, family: str
) -> None:
    folder = made(family)
    run = continued(folder, text_file, tmp_path)
    before, after = read_checkpoint(folder), read_checkpoint(run.folder)
    assert after.config == before.config
    assert run.record.effective["family"] == family
    assert run.record.run_id.startswith(f"pretrain-{family}-continued-")
    loaded = AUTO.get(family, transformers.AutoModelForMaskedLM).from_pretrained(run.folder / "checkpoint")
    tokenizer = transformers.AutoTokenizer.from_pretrained(run.folder / "checkpoint")
    with torch.no_grad():
        logits = loaded(**tokenizer("中国人。", return_tensors="pt")).logits
    assert torch.isfinite(logits).all()
    moved = after.tensors["word.weight" if family == "gpt2" else "encoder.embeddings.word.weight"]
    assert not torch.equal(moved, before.tensors[next(name for name in before.tensors if name.endswith("word.weight"))])


def test_the_schedule_is_said_and_recorded(
    made: Any, text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = continued(made(), text_file, tmp_path, steps=None, epochs=2)
    assert isinstance(run.record, PretrainRecord)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{run.record.effective['stage1']['steps']} steps (2 epochs)" in said
    assert "masked tokens; learning rate 2e-4 after" in said
    assert run.record.effective["stage1"]["learning_rate"] == 2e-4
    assert run.record.completed_results.epochs == pytest.approx(2, abs=0.1)
    assert run.record.asked["epochs"] == 2


@pytest.mark.parametrize("family", ["ernie 1", "ernie 3"])
def test_an_ernie_is_the_bert_that_it_computes(made: Any, text_file: Path, tmp_path: Path, family: str) -> None:
    folder = made(family, padding=36)
    given = transformers.ErnieForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        for parameter in given.parameters():  # the rows of tasks begin as nothing
            parameter.add_(torch.randn_like(parameter) * 0.1)
    given.save_pretrained(folder)
    extended = cb.extend_vocabulary(folder, ["[E1]"], out=tmp_path / "extended")
    written = transformers.BertForMaskedLM.from_pretrained(extended.folder).eval()
    ids, segments = torch.tensor([[3, 7, 8, 9, 4]]), torch.tensor([[0, 0, 1, 1, 2]])
    with torch.no_grad():
        wanted, found = (model(ids, token_type_ids=segments).logits[..., :76] for model in (given, written))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    run = continued(folder, text_file, tmp_path)
    assert run.record.status == "completed"
    assert transformers.AutoConfig.from_pretrained(run.folder / "checkpoint").vocab_size == given.config.vocab_size


def test_heads_that_are_not_trained_are_counted(
    made: Any, text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = continued(made(), text_file, tmp_path)
    pooler_and_order = 32 * 32 + 32 + 2 * 32 + 2
    assert list(run.record.effective["start"]["left_out"].values()) == [pooler_and_order]
    assert f"sentence order ({pooler_and_order:,} parameters)" in " ".join(capsys.readouterr().err.split())


def test_a_head_that_the_checkpoint_lacks_starts_new_and_is_counted(made: Any, text_file: Path, tmp_path: Path) -> None:
    run = continued(made(bare=True), text_file, tmp_path)
    assert list(run.record.effective["start"]["new"]) == ["the head for masked tokens"]


def test_rows_that_pad_the_embeddings_stay(made: Any, text_file: Path, tmp_path: Path) -> None:
    folder = made(padding=9)
    run = continued(folder, text_file, tmp_path)
    assert run.record.effective["start"]["padding_rows"] == 9
    assert len(read_checkpoint(run.folder).tensors["encoder.embeddings.word.weight"]) == len(
        read_checkpoint(folder).tensors["encoder.embeddings.word.weight"]
    )


def test_a_finished_run_is_continued_in_another_order(made: Any, text_file: Path, tmp_path: Path) -> None:
    first = continued(made(), text_file, tmp_path)
    corpus = tmp_path / "corpus"
    second = cb.pretrain(start=first, corpus=corpus, out=tmp_path / "more", steps=4, tracker="none", progress=False)
    assert second.record.seed == first.record.seed + 1
    assert [run.record.model.pretraining_tokens for run in (first, second)] == [None, None]  # nobody says of the first
    assert second.record.effective["name"] == first.record.effective["name"]


def test_positions_that_a_checkpoint_has_learned_stay(
    made: Any, text_file: Path, tmp_path: Path, recipe_file: Path
) -> None:
    """A second stage repeats the first positions over those that no row has reached, not over learned ones."""
    folder = made()
    stage = recipe_file.read_text(encoding="utf-8").partition("[stage1]")[2]
    longer = stage.replace("max_length = 32", "max_length = 64")
    recipe_file.write_text(f"{recipe_file.read_text(encoding='utf-8')}\n[stage2]{longer}", encoding="utf-8")
    run = continued(
        folder,
        text_file,
        tmp_path,
        recipe=str(recipe_file),
        steps=None,
        settings={"steps": 1, "learning_rate": 1e-8, "log_every": 1, "save_every": 1, "activation": "gelu"},
    )
    before, after = (
        read_checkpoint(each).tensors["encoder.embeddings.position.weight"] for each in (folder, run.folder)
    )
    np.testing.assert_allclose(before.numpy(), after.numpy(), atol=1e-6)


def test_positions_of_our_own_checkpoint_are_learned_as_far_as_its_rows_went(checkpoint_folder: Path) -> None:
    checkpoint = read_checkpoint(checkpoint_folder)
    assert learned_positions(checkpoint.provenance, checkpoint.config.max_positions) == 32


def test_a_corpus_of_another_vocabulary_is_refused_with_the_command_to_type(
    made: Any, corpus_folder: Path, tmp_path: Path
) -> None:
    folder = made()
    values = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**values, "do_lower_case": False}))
    with pytest.raises(ClueBenchError, match="its tokenizer keeps capitals") as caught:
        cb.pretrain(start=folder, corpus=corpus_folder, out=tmp_path / "run", tracker="none")
    assert f"corpus build … --vocab {folder}" in caught.value.hint


def test_a_recipe_of_another_size_leads_to_the_checkpoints_own(made: Any, corpus_folder: Path, tmp_path: Path) -> None:
    folder = made()
    with pytest.raises(ClueBenchError, match="hidden_size 32") as caught:
        cb.pretrain("debug", start=folder, corpus=corpus_folder, out=tmp_path / "run", tracker="none")
    assert "max_positions 64 (the recipe's" in caught.value.message  # every difference at once
    assert f"clue-bench pretrain --from {folder}" in caught.value.hint


def test_no_steps_are_refused_and_not_taken_for_the_default(made: Any, corpus_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ClueBenchError, match="steps: found 0, expected more than 0"):
        cb.pretrain(start=made(), corpus=corpus_folder, out=tmp_path / "run", steps=0, progress=False)
    with pytest.raises(ClueBenchError, match="--steps: found 0"):
        cb.pretrain("debug", corpus=corpus_folder, out=tmp_path / "run", steps=0, progress=False)
    assert not (tmp_path / "run").exists()


def test_embeddings_as_wide_as_the_layers_may_be_given_as_a_number(made: Any) -> None:
    start = read_checkpoint(made())
    planned = replace(start.config, embedding_size=start.config.hidden_size)
    assert start_config(planned, start, dropout=0.1).embedding_width == start.config.hidden_size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"settings": {"hidden_size": 64}}, "has its own architecture"),
        ({"steps": 3, "epochs": 1.0}, "more than one of"),
        ({"epochs": 0.0}, "expected a number above 0"),
        ({"debug_size": True}, "debug-size changes the architecture"),
        ({"settings": {"learning_rte": 1}}, "unknown key"),
    ],
)
def test_settings_that_do_not_fit_are_errors(
    made: Any, corpus_folder: Path, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClueBenchError, match=message):
        cb.pretrain(start=made(), corpus=corpus_folder, out=tmp_path / "run", tracker="none", **arguments)


def test_without_recipe_and_checkpoint_both_ways_are_named(corpus_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ClueBenchError, match="neither a recipe nor") as caught:
        cb.pretrain(corpus=corpus_folder, out=tmp_path / "run")
    assert "--from MODEL" in caught.value.hint


def test_a_corpus_with_words_masks_whole_words(made: Any, text_file: Path, tmp_path: Path) -> None:
    folder = made()
    corpus = cb.build_corpus(
        text_file, vocabulary=folder, out=tmp_path / "corpus", workers=1, words="rjieba", progress=False
    )
    recipe = continued_recipe(read_checkpoint(folder), Corpus.open(corpus.folder))
    assert recipe.objective == "wwm"
    assert recipe.stage1.max_length == POSITIONS


def test_names_of_training_on_several_devices_are_read(made: Any) -> None:
    folder = made()
    tensors = load_file(folder / "model.safetensors")
    expected = read_checkpoint(folder).tensors
    save_file({f"module.{name}": tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    found = read_checkpoint(folder).tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_tokens_put_in_place_of_unused_ones_start_from_their_pieces(
    made: Any, vocabulary_file: Path, text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made()
    swapped = tmp_path / "vocab.txt"
    swapped.write_text(vocabulary_file.read_text(encoding="utf-8").replace("[unused1]", "aba"), encoding="utf-8")
    corpus = cb.build_corpus(text_file, vocabulary=swapped, out=tmp_path / "swapped", workers=1, progress=False)
    run = cb.pretrain(
        start=folder,
        corpus=corpus,
        out=tmp_path / "run",
        steps=1,
        settings={"max_length": 32, "global_batch": 4, "micro_batch": 4, "learning_rate": 1e-9, "weight_decay": 0.0},
        tracker="none",
    )
    start = read_checkpoint(folder)
    rows = start.tensors["encoder.embeddings.word.weight"]
    mean = sum(rows[start.vocabulary.ids[piece]] for piece in ("a", "##b", "##a")) / 3
    found = read_checkpoint(run.folder)
    torch.testing.assert_close(
        found.tensors["encoder.embeddings.word.weight"][found.vocabulary.ids["aba"]], mean, atol=1e-6, rtol=0
    )
    assert run.record.effective["start"]["swapped"] == ["aba"]
    assert "1 token stands where the checkpoint has [unused…]: aba" in " ".join(capsys.readouterr().err.split())


def test_a_finished_run_in_the_folder_leads_to_training_it_on(made: Any, text_file: Path, tmp_path: Path) -> None:
    folder = made()
    run = continued(folder, text_file, tmp_path)
    with pytest.raises(ClueBenchError, match="holds another run") as caught:
        continued(folder, text_file, tmp_path, steps=8)
    assert f"--from {run.folder} --corpus {tmp_path / 'corpus'} --out {run.folder}-more --steps 8" in caught.value.hint


def test_a_folder_of_byte_pairs_says_so_and_what_it_is_good_for(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("{}", encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    with pytest.raises(ClueBenchError, match="tokenizer of byte pairs") as caught:
        read_vocabulary(tmp_path)
    assert "finetune and generate take this one" in caught.value.hint


@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_what_is_no_corpus_leads_to_building_one_beside_the_text(tmp_path: Path, kind: str) -> None:
    text = tmp_path / "small.txt"
    if kind == "file":
        text.write_text("今天天气好。\n", encoding="utf-8")
    elif kind == "folder":
        text.mkdir()
        (text / "a.txt").write_text("今天天气好。\n", encoding="utf-8")
    with pytest.raises(ClueBenchError) as caught:
        cb.pretrain("debug", corpus=text, out=tmp_path / "run")
    if kind == "nothing":
        assert f"corpus build TEXT --vocab VOCAB --out {text}" in caught.value.hint
    else:
        assert f"corpus build {text} --vocab VOCAB --out small-corpus" in caught.value.hint
        assert f"--out {text}" not in caught.value.hint


def test_a_recipe_for_another_vocabulary_says_what_to_type(corpus_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ClueBenchError, match="for a vocabulary of 21,128 tokens") as caught:
        cb.pretrain("albert-base", corpus=corpus_folder, out=tmp_path / "run", debug_size=True, tracker="none")
    assert "--set vocab_size=corpus" in caught.value.hint


@pytest.mark.parametrize(("family", "layers"), [("bert", 0), ("bert", 1), ("gpt2", 1), ("albert", 0)])
def test_frozen_parts_stay_as_they_are_and_the_others_do_not(
    made: Any, text_file: Path, tmp_path: Path, family: str, layers: int
) -> None:
    folder = made(family)
    run = continued(folder, text_file, tmp_path, freeze=layers)
    before, after = read_checkpoint(folder).tensors, read_checkpoint(run.folder).tensors
    stayed = {name for name, tensor in after.items() if torch.equal(tensor, before[name])}
    frozen = {n for n in after if "embeddings." in n or n.startswith(("word.", "position."))}
    frozen |= {n for n in after if any(f"layers.{number}." in n for number in range(layers))}
    assert stayed == frozen
    assert run.record.effective["frozen_layers"] == layers


def test_layers_that_are_one_cannot_be_frozen(made: Any, text_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ClueBenchError, match="one layer of"):
        continued(made("albert"), text_file, tmp_path, freeze=1)


def test_nothing_is_frozen_without_a_checkpoint(corpus_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ClueBenchError, match="--freeze without --from"):
        cb.pretrain("debug", corpus=corpus_folder, out=tmp_path / "run", freeze=0)


def test_tokens_of_earlier_runs_count(checkpoint_folder: Path, corpus_folder: Path, tmp_path: Path) -> None:
    run = cb.pretrain(
        start=checkpoint_folder,
        corpus=corpus_folder,
        out=tmp_path / "run",
        steps=2,
        settings={"max_length": 32, "global_batch": 4, "micro_batch": 4},
        tracker="none",
        progress=False,
    )
    assert run.record.model.pretraining_tokens == 24 * 8 * 32 + 2 * 4 * 32


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_shards_checkpoint_and_fine_tuning_have_one_tokenizer(made: Any, tmp_path: Path, family: str) -> None:
    folder = made(family)
    tokenizer = transformers.BertTokenizer.from_pretrained(folder, do_lower_case=False)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[E1]"]})
    tokenizer.add_tokens(["中国"])
    tokenizer.save_pretrained(folder)
    model = AUTO.get(family, transformers.AutoModelForMaskedLM).from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    lines = ["我们中国人[E1]的a。", "ABab 12中国", "的一是不了人和有这[E1]在"]
    (tmp_path / "text.txt").write_text("\n\n".join(lines * 9) + "\n", encoding="utf-8")
    run = continued(folder, tmp_path / "text.txt", tmp_path)
    corpus = Corpus.open(tmp_path / "corpus")
    offsets = corpus.documents[0][: len(lines) + 1]
    shards = [corpus.ids[0][start:end].tolist() for start, end in pairwise(offsets)]
    written = transformers.AutoTokenizer.from_pretrained(run.folder / "checkpoint")
    assert shards == written(lines, add_special_tokens=False)["input_ids"]
    assert shards == tokenizer(lines, add_special_tokens=False)["input_ids"]
    assert shards == open_pretrained(run.folder).tokeniser.encoder.ids(lines)
    assert ("token_type_ids" in written("人")) == (family != "gpt2")


def test_a_gpt2_never_writes_unknown_tokens(made: Any, text_file: Path, tmp_path: Path) -> None:
    run = continued(made("gpt2"), text_file, tmp_path)
    model = transformers.GPT2LMHeadModel.from_pretrained(run.folder / "checkpoint")
    unknown = read_checkpoint(run.folder).vocabulary.unknown
    with torch.no_grad():
        model.transformer.wte.weight[unknown] += 10 * model.transformer.ln_f.weight
        model.transformer.ln_f.bias += 1.0
        written = model.generate(torch.tensor([[3, 7]]), max_new_tokens=8, do_sample=False)
        free = model.generate(torch.tensor([[3, 7]]), max_new_tokens=8, do_sample=False, suppress_tokens=[])
    assert unknown not in written[0].tolist()
    assert unknown in free[0].tolist()


def test_a_corpus_says_what_its_tokenizer_does(made: Any, text_file: Path, tmp_path: Path) -> None:
    folder = made()
    transformers.BertTokenizer.from_pretrained(folder, do_lower_case=False).save_pretrained(folder)
    corpus = cb.build_corpus(text_file, vocabulary=folder, out=tmp_path / "corpus", workers=1, progress=False)
    assert "keeps capitals" in str(corpus)


def test_a_card_trained_from_another_model_says_so_in_its_name(
    made: Any, corpus_folder: Path, recipe_file: Path, tmp_path: Path
) -> None:
    card = {"recipe": str(recipe_file), "corpus": corpus_folder, "tracker": "none", "progress": False}
    first = cb.pretrain(**card, out=tmp_path / "first", steps=2)
    card["corpus"], name = corpus_folder, first.record.model.name
    again = cb.pretrain(**card, out=tmp_path / "again", steps=2, start=first)
    assert again.record.model.name == f"{name}-continued"
    assert again.record.model.pretraining_tokens == 2 * first.record.model.pretraining_tokens
    provenance = read_checkpoint(tmp_path / "again").provenance
    assert (provenance["starts_from_name"], provenance["starts_from"]) == (name, first.record.model.sha256)
    renamed = tmp_path / "base-model"
    (tmp_path / "first" / "checkpoint").rename(renamed)
    (renamed / "provenance.json").unlink()
    other = cb.pretrain(**card, out=tmp_path / "other", steps=2, start=renamed)
    assert other.record.model.name == f"{name}-from-base-model"
    assert other.record.model.pretraining_tokens is None  # nobody says on how much base-model was trained
    assert open_pretrained(tmp_path / "other").name == f"{name}-from-base-model"
    mine = cb.pretrain(**card, out=tmp_path / "mine", steps=2, start=renamed, settings={"name": "mine"})
    assert mine.record.model.name == "mine"


def test_the_tokenizer_of_a_checkpoint_is_checked_on_the_corpus(
    corpus_folder: Path, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = {"recipe": str(recipe_file), "corpus": corpus_folder, "steps": 2, "tracker": "none", "progress": False}
    lines = len(Corpus.open(corpus_folder).sample)
    checked = cb.pretrain(**card, out=tmp_path / "run").record.effective["tokenizer_check"]
    assert checked == f"{lines:,} of {lines:,} lines have the same ids in transformers"
    older = shutil.copytree(corpus_folder, tmp_path / "older")
    (older / "sample.txt").unlink()  # as earlier versions built them
    built_in = cb.pretrain(**card | {"corpus": older}, out=tmp_path / "run2").record.effective["tokenizer_check"]
    assert "of built-in text" in built_in
    save = Vocabulary.save

    def save_cased(self: Vocabulary, folder: Path, **settings: Any) -> None:
        save(self, folder, **settings)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**config, "do_lower_case": False}))
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        tokenizer["model"]["vocab"] = {t: n for n, t in enumerate(reversed(tokenizer["model"]["vocab"]))}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))

    monkeypatch.setattr(Vocabulary, "save", save_cased)
    with pytest.raises(ClueBenchError, match="other ids"):
        cb.pretrain(**card, out=tmp_path / "other")
    (record,) = (tmp_path / "other").glob("*.record.json")
    assert json.loads(record.read_text())["status"] == "failed"
