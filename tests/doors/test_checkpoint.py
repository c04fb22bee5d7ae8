"""Door 2: what transformers makes of a checkpoint, and what a broken one says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clue_bench.api.vocabularies import vocabulary_path
from clue_bench.doors.checkpoint import model_name, read_checkpoint
from clue_bench.doors.model_folders import find_folder, local_folder, shipped_models
from clue_bench.errors import ClueBenchError
from clue_bench.models.config import ModelConfig
from clue_bench.models.encoder import MaskedLanguageModel

RECORDS = Path(__file__).parents[2] / "leaderboards" / "records"


def our_model(folder: Path) -> MaskedLanguageModel:
    checkpoint = read_checkpoint(folder)
    model = MaskedLanguageModel(ModelConfig(**{**vars(checkpoint.config), "dropout": 0.0}))
    model.load_state_dict(checkpoint.tensors)
    return model.eval()


def test_transformers_gives_the_same_logits(checkpoint_folder):
    from transformers import BertForMaskedLM, BertTokenizer

    folder = checkpoint_folder / "checkpoint"
    inputs = BertTokenizer.from_pretrained(folder)("中国人是大国。", return_tensors="pt")
    theirs = BertForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = theirs(**inputs).logits
        got = our_model(folder)(inputs["input_ids"]).logits
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_bert_model_loads_every_weight_it_shares(checkpoint_folder):
    from transformers import BertModel

    model, info = BertModel.from_pretrained(checkpoint_folder / "checkpoint", output_loading_info=True)
    assert {name.split(".")[0] for name in info["missing_keys"]} <= {"pooler"}
    assert all(name.startswith("cls.") for name in info["unexpected_keys"])
    assert model.config.vocab_size == read_checkpoint(checkpoint_folder).config.vocab_size


def test_fill_mask_pipeline_works(checkpoint_folder):
    from transformers import pipeline

    fill = pipeline("fill-mask", model=str(checkpoint_folder / "checkpoint"), device="cpu")
    answers = fill("中国[MASK]大国。")
    assert len(answers) == 5
    assert all(answer["score"] > 0 for answer in answers)


def test_tokenizer_is_loaded_as_bert_tokenizer_by_auto_tokenizer(checkpoint_folder):
    from transformers import AutoTokenizer, BertTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint_folder / "checkpoint")
    assert isinstance(tokenizer, BertTokenizer)
    assert tokenizer.model_max_length == 64


def test_provenance_says_what_made_it(checkpoint_folder):
    provenance = read_checkpoint(checkpoint_folder).provenance
    assert provenance["recipe"]["name"] == "test"
    assert provenance["tokens_seen"] == 24 * 8 * 32
    assert {"corpus_sha256", "vocabulary_sha256", "code", "packages", "hardware", "weights_sha256"} <= provenance.keys()


def test_training_state_lies_beside_the_checkpoint(checkpoint_folder):
    assert (checkpoint_folder / "state.pt").is_file()
    names = {path.name for path in (checkpoint_folder / "checkpoint").iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "provenance.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    }


def edit(file: str, change):
    def apply(folder: Path) -> None:
        values = json.loads((folder / file).read_text(encoding="utf-8"))
        change(values)
        (folder / file).write_text(json.dumps(values), encoding="utf-8")

    return apply


BROKEN = {
    "no config.json": lambda folder: (folder / "config.json").unlink(),
    "not JSON": lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"),
    "neither model.safetensors nor pytorch_model.bin": lambda folder: (folder / "model.safetensors").unlink(),
    "damaged or cut short": lambda folder: (folder / "model.safetensors").write_bytes(b"\x10" * 40),
    "hidden_act is ['gelu']": edit("config.json", lambda values: values.update(hidden_act=["gelu"])),
    "model_type is 'electra'": edit("config.json", lambda values: values.update(model_type="electra")),
    "hidden_act is 'silu'": edit("config.json", lambda values: values.update(hidden_act="silu")),
    "'hidden_size' is missing": edit("config.json", lambda values: values.pop("hidden_size")),
    "config.json says 5": edit("config.json", lambda values: values.update(vocab_size=5)),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_a_broken_checkpoint_says_what_is_wrong(problem, checkpoint_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(checkpoint_folder / "checkpoint", folder)
    BROKEN[problem](folder)
    with pytest.raises(ClueBenchError) as caught:
        read_checkpoint(folder)
    assert problem in caught.value.message
    assert caught.value.hint


def test_one_flipped_bit_in_the_weights_is_named(checkpoint_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(checkpoint_folder / "checkpoint", folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ClueBenchError, match="damaged, or others") as caught:
        read_checkpoint(folder)
    assert "remove provenance.json" in caught.value.hint
    (folder / "provenance.json").unlink()
    assert read_checkpoint(folder).sha256


def test_a_vocabulary_much_smaller_than_the_embedding_is_noted(checkpoint_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(checkpoint_folder / "checkpoint", folder)
    (folder / "provenance.json").unlink()  # it would speak of other weights
    assert read_checkpoint(folder).notes == ()
    weights = load_file(folder / "model.safetensors")
    tokens = len(read_checkpoint(folder).vocabulary)
    grown = {name: torch.cat([w, w[:1].expand(500, *w.shape[1:])]) for name, w in weights.items() if len(w) == tokens}
    save_file({**weights, **grown}, folder / "model.safetensors", metadata={"format": "pt"})
    edit("config.json", lambda values: values.update(vocab_size=tokens + 500))(folder)
    (note,) = read_checkpoint(folder).notes
    assert f"embeddings, but {tokens:,} tokens in the vocabulary" in note


def test_the_run_of_a_floor_is_no_model(tmp_path):
    record = json.loads(next(RECORDS.glob("*floor-majority*")).read_text(encoding="utf-8"))
    (tmp_path / f"{record['run_id']}.record.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ClueBenchError, match=r"floor.* checkpoint"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("names", "given", "hint"),
    [
        (["model.bin"], "model.bin", "clue-bench convert {}/model.bin converted --from uer"),
        (["model.bin"], "", "clue-bench convert {}/model.bin converted --from uer"),
        (["bert_model.ckpt.index"], "bert_model.ckpt", "clue-bench convert {}/bert_model.ckpt converted --from tf"),
        (["bert_model.ckpt.index"], "bert_model.ckpt.index", "clue-bench convert {}/bert_model.ckpt converted"),
        (["config.json", "model.safetensors"], "model.safetensors", "give {}"),
        (["run-1/checkpoint/config.json"], "", "give one of them, e.g. {}/run-1"),
    ],
)
def test_what_is_no_checkpoint_folder_leads_to_one(tmp_path: Path, names: list[str], given: str, hint: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(ClueBenchError) as caught:
        find_folder(tmp_path / given)
    assert hint.format(tmp_path) in caught.value.hint


@pytest.mark.parametrize(
    ("files", "what", "hint"),
    [
        (
            {"checkpoint-1000/config.json": "{}", "checkpoint-500/config.json": "{}", "training_args.bin": ""},
            "a Trainer's output, 2 folders",
            "give the newest: {}/checkpoint-1000",
        ),
        ({"checkpoint-5/adapter_config.json": "{}"}, "a Trainer's output, 1 folder of a step", "{}/checkpoint-5"),
        (
            {"modules.json": "[]", "0_Transformer/config.json": "{}", "1_Pooling/config.json": "{}"},
            "a model of sentence-transformers",
            "give {}/0_Transformer",
        ),
        ({"modules.json": "[]", "1_Pooling/config.json": "{}"}, "without a transformer", "give a model that has"),
        (
            {"adapter_config.json": '{"base_model_name_or_path": "bert-base-chinese"}', "adapter_model.bin": ""},
            "an adapter of PEFT (LoRA or the like) for bert-base-chinese",
            "from_pretrained('bert-base-chinese'), '{0}').merge_and_unload().save_pretrained('{0}-merged')",
        ),
        ({"adapter_config.json": '{"base_model_name_or_path": "a\'b"}'}, "for BASE", "'{}'"),
        ({"tf_model.h5": ""}, "weights of TensorFlow", "copy config.json beside it; fetch the model's pytorch_model"),
        (
            {"tf_model.h5": "", "config.json": '{"architectures": ["TFBertForMaskedLM"]}'},
            "weights of TensorFlow",
            "import BertForMaskedLM as M; M.from_pretrained('{0}', from_tf=True).save_pretrained('{0}')",
        ),
        ({"flax_model.msgpack": "", "config.json": "{}"}, "weights of JAX", "import AutoModel as M; M.from_pretrained"),
    ],
)
def test_what_another_library_left_is_named_and_leads_to_a_checkpoint(
    tmp_path: Path, files: dict[str, str], what: str, hint: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    for reader in (find_folder, vocabulary_path):
        if reader is vocabulary_path and (tmp_path / "config.json").exists():
            continue  # it is no matter of the vocabulary then
        with pytest.raises(ClueBenchError) as caught:
            reader(tmp_path)
        assert what in caught.value.message
        assert hint.format(tmp_path) in caught.value.hint


def test_weights_of_two_frameworks_are_read_as_pytorchs(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "tf_model.h5"):
        (tmp_path / name).write_text("{}")
    assert find_folder(tmp_path) == tmp_path


def test_a_folder_of_uer_leads_to_its_conversion(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"emb_size": 128, "layers_num": 2}', encoding="utf-8")
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(ClueBenchError, match="a folder of UER-py") as caught:
        find_folder(tmp_path)
    assert caught.value.hint == f"run clue-bench convert {tmp_path} {tmp_path}-hf --from uer, then give {tmp_path}-hf"


def test_names_in_chinese_tell_models_apart() -> None:
    assert model_name(Path("/models/我的模型"), {}) == "我的模型"
    assert model_name(Path("/models/我的 模型/2"), {"model": "我的/模型"}) == "我的-模型"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("runs/tnews-s1", "runs has tnews-s2"),
        ("runs/tnews-s1/checkpoint", "runs has tnews-s2"),
        ("./runs/nothing", "of models, runs has tnews-s2"),
        ("/nowhere/at/all", "/nowhere/at/all: no such folder"),
        ("~nobody/model", "no such folder"),
        ("a/b/c", "no such folder"),
        ("empty/model", "no such folder"),
    ],
)
def test_a_path_that_is_not_there_is_no_id_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "runs" / "tnews-s2" / "checkpoint").mkdir(parents=True)
    (tmp_path / "runs" / "tnews-s2" / "checkpoint" / "config.json").write_text("{}")
    with pytest.raises(ClueBenchError) as caught:
        local_folder(given)
    assert named in caught.value.message
    assert "\n" not in caught.value.message


def test_a_folder_of_somebody_else_beside_a_missing_model_is_no_matter(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom clue_bench.doors.model_folders import local_folder\n"
        "if os.getuid() == 0:\n    os.setuid(65534)\n"
        "try:\n    local_folder(sys.argv[1])\nexcept Exception as error:\n    print(type(error).__name__, error)"
    )
    beside = tmp_path / "models"
    (beside / "private").mkdir(parents=True)
    (beside / "private").chmod(0)
    tmp_path.chmod(0o755)
    for mode in (0o755, 0o711):  # listed and not
        beside.chmod(mode)
        command = [sys.executable, "-c", script, "models/mine"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
        assert said.startswith("ClueBenchError models/mine: no such folder")


def test_an_id_whose_owner_is_no_folder_here_is_the_hubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_folder("uer/chinese_roberta_L-2_H-128") is None
    assert local_folder("bert-base-chinese") is None


def test_the_model_of_the_package_has_a_vocabulary_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (name,) = shipped_models()
    assert vocabulary_path(name) == shipped_models()[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert vocabulary_path(name) == Path(name)  # a folder here goes first
