"""Rows that are longer than those of the pretraining: who says it, and how the length is found."""

import logging
import re

import pytest
import torch

import clue_bench as cb
from clue_bench.api.models import warn_of_lengths
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.base_models.pretrained import untrained
from clue_bench.language import translated, using
from clue_bench.models.config import ModelConfig
from clue_bench.models.encoder import Encoder
from clue_bench.models.local_attention import continued_positions, look_at_neighbours
from clue_bench.prediction.predictor import Predictor

LONG = "的一是在不了有和人这中大为上个国我以要他时来用们" * 2


@pytest.fixture
def rows_file(tmp_path):
    """Rows of 27 and of 50 tokens."""
    path = tmp_path / "rows.csv"
    lines = [f"{LONG[n % 9 : 25 + n % 9]},{'甲乙'[n % 2]}" for n in range(30)] + [f"{LONG[:-1]},甲", f"{LONG},乙"]
    path.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    return path


def test_the_length_is_that_of_the_pretrainings_rows(checkpoint_folder):
    start = open_pretrained(checkpoint_folder)
    assert (start.sizes.max_positions, start.pretrained_length) == (64, 32)
    assert start.beyond_pretraining(32) == ""
    assert "rows of 32" in start.beyond_pretraining(33)
    assert untrained(start).beyond_pretraining(64) == ""


@pytest.mark.parametrize(("family", "expected"), [("bert", 128), ("roformer", 256)])
def test_where_no_file_says_it_the_positions_are_measured(tmp_path, vocabulary_file, family, expected):
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    tokens = len(vocabulary_file.read_text(encoding="utf-8").splitlines())
    config = AutoConfig.for_model(family, vocab_size=tokens, max_position_embeddings=256, pad_token_id=0, **sizes)
    model = AutoModel.from_config(config)
    if family == "bert":
        angles = torch.arange(128)[:, None] / torch.logspace(0.5, 3, 32)
        with torch.no_grad():
            model.embeddings.position_embeddings.weight[:128] = torch.cat([angles.sin(), angles.cos()], 1) * 0.05
    model.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(vocabulary_file.read_bytes())
    assert open_pretrained(tmp_path).pretrained_length == expected


@pytest.mark.parametrize("are_continued", [True, False])
def test_positions_that_go_on_as_waves_are_not_called_untrained(are_continued, tmp_path, vocabulary_file):
    from transformers import AutoConfig, AutoModel

    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    tokens = len(vocabulary_file.read_text(encoding="utf-8").splitlines())
    config = AutoConfig.for_model("bert", vocab_size=tokens, max_position_embeddings=256, pad_token_id=0, **sizes)
    model = AutoModel.from_config(config)
    torch.manual_seed(1)
    begun = Encoder(
        ModelConfig(vocab_size=tokens, layers=1, hidden_size=64, heads=4, feed_forward_size=64, max_positions=256)
    )
    look_at_neighbours(begun, length=128)
    positions = begun.embeddings.position.weight.detach().clone()
    positions[:128] *= -2  # as training leaves them
    if are_continued:
        positions = continued_positions(positions, learned=128, head_size=16)
    with torch.no_grad():
        model.embeddings.position_embeddings.weight[:] = positions
    model.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(vocabulary_file.read_bytes())
    (tmp_path / "provenance.json").write_text('{"learned_positions": 128}', encoding="utf-8")
    start = open_pretrained(tmp_path)
    assert start.beyond_pretraining(128) == ""
    said = start.beyond_pretraining(200)
    assert ("untrained" in said, "max_length=128" in said, "continue" in said) == (
        not are_continued,
        not are_continued,
        are_continued,
    )
    with using("zh"):
        assert not re.search(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}", translated(f"warning: {said}"))


def test_finetune_bench_predict_serve_and_doctor_say_it(checkpoint_folder, rows_file, tmp_path, capsys, caplog):
    finetuned = cb.finetune(None, data=rows_file, model=checkpoint_folder, out=tmp_path / "run", settings={"steps": 1})
    said = capsys.readouterr().err
    assert "rows of up to 50 tokens; the model was pretrained on rows of 32" in said
    assert Predictor.open(tmp_path / "run").description.pretrained_length == 32
    model = cb.load_model(finetuned)
    notes = " ".join(model.predict_file(rows_file, progress=False).about_file)
    assert "pretrained on rows of 32 tokens" in notes
    assert "the end of 2 rows" in notes
    positions = next(each for each in cb.doctor(checkpoint_folder).findings if each.check == "positions")
    assert "pretrained on rows of 32 tokens" in positions.text
    options = {"floor": False, "settings": {"steps": 1}}
    cb.bench([checkpoint_folder], data=rows_file, out=tmp_path / "bench", seeds=[1], **options)
    of_bench = capsys.readouterr().err
    assert "was pretrained on rows of 32" in of_bench
    warnings = [line for line in f"{said}\n{of_bench}".split("\n") if "pretrained on rows" in line]
    with using("zh"):
        for text in (
            *warnings,
            *model.predict_file(rows_file, progress=False).about_file,
            positions.text,
            positions.hint,
        ):
            assert not re.search(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}", translated(text)), text
    with caplog.at_level(logging.WARNING):
        warn_of_lengths([model.predictor])
    assert "the end of longer rows" in caplog.text


def test_rows_within_the_length_need_no_word(checkpoint_folder, rows_file, tmp_path, capsys):
    settings = {"steps": 1, "max_length": 32}
    cb.finetune(None, data=rows_file, model=checkpoint_folder, out=tmp_path / "run", settings=settings)
    assert "pretrained on rows" not in capsys.readouterr().err
