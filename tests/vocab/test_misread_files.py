"""A vocab.txt as it comes: repeated tokens, one bad byte, a pointer in its place; and a model that uses it."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from clue_bench.corpus.build import build_corpus
from clue_bench.diagnosis.examine import examine
from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.prediction.predictor import Predictor
from clue_bench.tasks.task import load_task
from clue_bench.vocab import SPECIAL_TOKENS, read_vocabulary

TOKENS = [*SPECIAL_TOKENS, *"一丁七万丈三上下不与", "一", *"丐丑", "丁"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 409\n"


def save(folder: Path, kind: type = BertForMaskedLM, tokens: list[str] = TOKENS, **more: object) -> Path:
    torch.manual_seed(0)
    kind(BertConfig(vocab_size=len(tokens), **SIZES, **more)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return folder


def test_of_a_repeated_token_the_last_line_counts_as_in_transformers(tmp_path: Path) -> None:
    folder, text = save(tmp_path / "model"), "一丁七丑上下一"
    expected = BertTokenizer(str(folder / "vocab.txt"))(text, add_special_tokens=False)["input_ids"]
    vocabulary = read_vocabulary(folder / "vocab.txt")
    assert vocabulary.encoder(special_tokens=False).ids([text]) == [expected]
    assert expected[0] == 15
    assert len(vocabulary) == len(TOKENS)
    assert not vocabulary.is_ordinary[5]  # no text gives the first line, so nothing is masked by it
    assert "2 tokens stand on two lines (一, 丁)" in vocabulary.notes[0]
    assert open_pretrained(folder).tokeniser.encoder.ids([text]) == [expected]
    vocabulary.save(tmp_path / "written", max_length=32)
    assert BertTokenizer.from_pretrained(tmp_path / "written")(text, add_special_tokens=False)["input_ids"] == expected
    found = [each for each in examine(str(folder)).findings if "repeats" in each.text]
    assert [(each.severity, "rename" in each.hint) for each in found] == [("note", False)]


def test_one_bad_byte_leads_to_its_line(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    file.write_bytes("\n".join(TOKENS).encode().replace("七".encode(), b"\xe4\xb8"))
    with pytest.raises(ClueBenchError, match="line 8: not UTF-8") as caught:
        read_vocabulary(file)
    assert "correct line 8" in caught.value.hint
    file.write_bytes("\n".join(TOKENS).encode("gbk"))
    with pytest.raises(ClueBenchError) as caught:
        read_vocabulary(file)
    assert "convert the file to UTF-8" in caught.value.hint


@pytest.mark.parametrize("name", ["vocab.txt", "spiece.model", "tokenizer.json"])
def test_a_pointer_of_git_is_no_vocabulary(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ClueBenchError, match="a Git LFS pointer") as caught:
        read_vocabulary(tmp_path)
    assert "git lfs pull" in caught.value.hint


@pytest.mark.parametrize("name", ["text.txt", "text.jsonl", "text.parquet", "text.txt.xz"])
def test_a_pointer_of_git_is_no_text(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(POINTER)
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS), encoding="utf-8")
    with pytest.raises(ClueBenchError, match="a Git LFS pointer"):
        list(build_corpus([tmp_path / name], vocabulary=tmp_path / "vocab.txt", out=tmp_path / "corpus", workers=1))


@pytest.mark.parametrize(
    "stated", [{"model_type": "nezha"}, {"use_relative_position": True, "max_relative_position": 64}]
)
def test_a_nezha_is_called_so(stated: dict[str, object], tmp_path: Path) -> None:
    import json

    folder = save(tmp_path / "model", tokens=list(dict.fromkeys(TOKENS)))
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**values, **stated}), encoding="utf-8")
    for opened in (read_checkpoint, open_pretrained):
        with pytest.raises(ClueBenchError, match="a NEZHA"):
            opened(folder)
    assert any("NEZHA" in each.text and each.severity == "wrong" for each in examine(str(folder)).findings)


def test_labels_without_names_lead_to_the_place_where_names_belong(tmp_path: Path) -> None:
    from transformers import BertForSequenceClassification

    folder = save(tmp_path / "model", BertForSequenceClassification, list(dict.fromkeys(TOKENS)), num_labels=15)
    with pytest.raises(ClueBenchError, match="labels have no names") as caught:
        Predictor.open(folder, task=load_task("tnews"))
    assert '"id2label": {"0": "100"' in caught.value.hint


def test_ids_behind_the_tokens_are_left_out_as_ernies_authors_write_them(tmp_path: Path) -> None:
    file, tokens = tmp_path / "vocab.txt", [*SPECIAL_TOKENS, *"一丁七"]
    file.write_text("".join(f"{token}\t{number}\n" for number, token in enumerate(tokens)), encoding="utf-8")
    found = read_vocabulary(file)
    assert found.tokens == tuple(tokens)
    assert "ids behind the tokens" in found.notes[0]
    file.write_text("".join(f"{token}\t-{number}.5\n" for number, token in enumerate(tokens)), encoding="utf-8")
    with pytest.raises(ClueBenchError, match="not its id") as caught:
        read_vocabulary(file)
    assert ".model" in caught.value.hint


def test_one_token_on_two_lines_is_said_in_the_singular(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *"一丁一"]) + "\n", encoding="utf-8")
    assert "1 token stands on two lines (一)" in read_vocabulary(tmp_path / "vocab.txt").notes[0]


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "model.safetensors"])
def test_another_file_of_a_model_leads_to_its_folder(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("{}")
    with pytest.raises(ClueBenchError, match="no list of tokens") as caught:
        read_vocabulary(file)
    assert str(tmp_path) in caught.value.hint
