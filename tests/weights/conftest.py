"""Small sound checkpoints of every kind of file, and the ways in which a file comes to harm."""

import json
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
import torch
import transformers
from safetensors.torch import load_file, save_file

from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary

CHARACTERS = "中国的首都是北京今天气很好他一名学老师我们在校里上课这部电影非常看生病了要去医院"
VOCABULARY = Vocabulary((*SPECIAL_TOKENS, *sorted(set(CHARACTERS))))
SIZES = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}
UER = {
    "emb_size": 16,
    "feedforward_size": 24,
    "hidden_size": 16,
    "hidden_act": "gelu",
    "heads_num": 2,
    "layers_num": 1,
    "max_seq_length": 32,
    "embedding": ["word", "pos", "seg"],
    "encoder": "transformer",
    "mask": "fully_visible",
    "target": ["mlm"],
    "tie_weights": True,
}
PAGE = b"<!DOCTYPE html>\n<html><head><title>404</title></head><body>Entry not found</body></html>\n" * 20
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 409\n"


def save(folder: Path, name: str, **settings: object) -> Path:
    """Write a fresh model of transformers, with the vocabulary beside it."""
    kind = getattr(transformers, name)
    if name.startswith("GPT2"):
        config = kind.config_class(vocab_size=len(VOCABULARY), n_embd=16, n_layer=2, n_head=2, n_positions=32)
    else:
        config = kind.config_class(**{**SIZES, **settings})
    kind(config).save_pretrained(folder)
    VOCABULARY.save(folder, max_length=32)
    return folder


def pickled(folder: Path, *, zipped: bool = True, wrapper: str = "") -> Path:
    """Write the weights as a pickle instead."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    state = {wrapper: state} if wrapper else state
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    return folder


def sharded(folder: Path) -> Path:
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="8KB")
    return folder


def json_only(folder: Path) -> Path:
    (folder / "vocab.txt").unlink()
    return folder


def pieces(folder: Path) -> Path:
    draw = random.Random(0)
    lines = ["".join(draw.choices(CHARACTERS, k=20)) for _ in range(200)]
    for name in ("vocab.txt", "tokenizer.json"):
        (folder / name).unlink()
    with (folder / "spiece.model").open("wb") as out:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=out,
            vocab_size=len(VOCABULARY) + 1,  # with the blank
            minloglevel=2,
            **{"pad_piece": "[PAD]", "unk_piece": "[UNK]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"},
            **{"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3},
            user_defined_symbols=["[MASK]"],
        )
    stated = {"tokenizer_class": "AlbertTokenizer", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    stated |= {"do_lower_case": False, "keep_accents": True, "remove_space": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), encoding="utf-8")
    return folder


def uer(folder: Path) -> Path:
    state = {f"embedding.{table}.embedding.weight": torch.randn(rows, 16) for table, rows in TABLES.items()}
    for name in ("embedding.layer_norm", *(f"encoder.transformer.0.layer_norm_{n}" for n in (1, 2))):
        state |= {f"{name}.gamma": torch.ones(16), f"{name}.beta": torch.zeros(16)}
    linear = {f"self_attn.{part}": (16, 16) for part in (*(f"linear_layers.{n}" for n in range(3)), "final_linear")}
    linear |= {"feed_forward.linear_1": (24, 16), "feed_forward.linear_2": (16, 24)}
    for name, shape in linear.items():
        state[f"encoder.transformer.0.{name}.weight"] = torch.randn(shape)
        state[f"encoder.transformer.0.{name}.bias"] = torch.zeros(shape[0])
    state |= {"target.mlm.linear_1.weight": torch.randn(16, 16), "target.mlm.linear_1.bias": torch.zeros(16)}
    state |= {"target.mlm.layer_norm.gamma": torch.ones(16), "target.mlm.layer_norm.beta": torch.zeros(16)}
    state["target.mlm.linear_2.weight"] = state["embedding.word.embedding.weight"]
    state["target.mlm.linear_2.bias"] = torch.zeros(len(VOCABULARY))
    folder.mkdir()
    torch.save(state, folder / "model.bin")
    (folder / "config.json").write_text(json.dumps(UER), encoding="utf-8")
    VOCABULARY.save(folder, max_length=32)
    return folder


TABLES = {"word": len(VOCABULARY), "pos": 32, "seg": 3}
MAKE: dict[str, Callable[[Path], Path]] = {
    "bert": lambda folder: with_provenance(save(folder, "BertForPreTraining")),
    "bert, zip": lambda folder: pickled(save(folder, "BertForMaskedLM")),
    "bert, legacy pickle": lambda folder: pickled(save(folder, "BertForMaskedLM"), zipped=False),
    "bert, wrapped": lambda folder: pickled(save(folder, "BertForMaskedLM"), wrapper="model"),
    "bert, shards": lambda folder: sharded(save(folder, "BertForMaskedLM")),
    "bert, tokenizer.json": lambda folder: json_only(save(folder, "BertForMaskedLM")),
    "bert called roberta": lambda folder: called_roberta(save(folder, "BertForMaskedLM")),
    "classifier": lambda folder: save(folder, "BertForSequenceClassification", num_labels=3),
    "albert, pieces": lambda folder: pieces(
        save(folder, "AlbertForMaskedLM", embedding_size=8, vocab_size=len(VOCABULARY) + 1)
    ),
    "roformer": lambda folder: save(folder, "RoFormerForMaskedLM"),
    "gpt2": lambda folder: save(folder, "GPT2LMHeadModel"),
    "electra": lambda folder: save(folder, "ElectraForMaskedLM", embedding_size=16),
    "uer": uer,
}


def with_provenance(folder: Path) -> Path:
    earlier = [{"task": "afqmc", "settings": {"epochs": 1}, "seed": 1}]
    values = {"recipe": {"name": "tiny"}, "task": "tnews", "settings": {"epochs": 2}, "seed": 2, "earlier": earlier}
    (folder / "provenance.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def called_roberta(folder: Path) -> Path:
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(values | {"model_type": "roberta"}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name → folder of a sound checkpoint."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sound")
    return {name: make(folder / str(number)) for number, (name, make) in enumerate(MAKE.items())}


def cut(file: Path, draw: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: draw.randrange(len(data))])


def flip(file: Path, draw: random.Random) -> None:
    """Flip some bits, more often in the header or the end, where the structure lies, than in the numbers."""
    data = bytearray(file.read_bytes())
    start, end = draw.choice([(0, min(len(data), 4096)), (max(0, len(data) - 4096), len(data)), (0, len(data))])
    for _ in range(draw.choice([1, 1, 2, 8, 64])):
        data[draw.randrange(start, end)] ^= 1 << draw.randrange(8)
    file.write_bytes(data)


def blank(file: Path, draw: random.Random) -> None:
    data = bytearray(file.read_bytes())
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice([8, 512, len(data)]))
    data[start:end] = bytes(end - start)
    file.write_bytes(data)


def swap(file: Path, draw: random.Random) -> None:
    """Save another file of the folder under this name."""
    others = sorted(other for other in file.parent.iterdir() if other != file)
    shutil.copyfile(draw.choice(others), file)


def reshape(file: Path, draw: random.Random) -> None:
    """Give one tensor another shape, or another type of numbers."""
    is_pickle = file.suffix == ".bin"
    state = torch.load(file, weights_only=True) if is_pickle else load_file(file)
    state = next(iter(state.values())) if "model" in state else state
    name = draw.choice(sorted(state))
    tensor = state[name]
    changes = [
        *(tensor.flatten(), tensor[:0], tensor[:1], tensor[None], tensor.sum(), tensor.half(), tensor.bool()),
        *(torch.cat([tensor, tensor]), tensor * float("nan"), tensor * 1e38, tensor.long()),
    ]
    changes += [tensor.T, tensor[:, :0], tensor[:, :1]] if tensor.dim() == 2 else []
    state |= {name: draw.choice(changes).clone().contiguous()}
    if is_pickle:
        torch.save(state, file)
    else:
        save_file({name: tensor.clone() for name, tensor in state.items()}, file)


def rename(file: Path, draw: random.Random) -> None:
    """Lose a tensor, or give it another name."""
    is_pickle = file.suffix == ".bin"
    state = torch.load(file, weights_only=True) if is_pickle else load_file(file)
    state = next(iter(state.values())) if "model" in state else state
    name = draw.choice(sorted(state))
    tensor = state.pop(name)
    other = draw.choice(["", name[:-1], f"x.{name}", name.replace("0", "7"), name.replace("bert", "albert"), "a\nb"])
    state |= {other: tensor} if other else {}
    if is_pickle:
        torch.save(state, file)
    else:
        save_file({name: tensor.clone() for name, tensor in state.items()}, file)


def inflate(file: Path, draw: random.Random) -> None:
    """Claim to be larger than any memory."""
    if file.suffix == ".safetensors":
        size = draw.choice([2**20, 2**40, 2**63])
        header = b'{"a":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (size, size * 4)
        start = draw.choice([len(header), 2**62]).to_bytes(8, "little")
        file.write_bytes(start + header + bytes(64))
        return
    if draw.random() < 0.5:
        tensor = torch.zeros(1).expand(2**40)
        torch.save({"embeddings.word_embeddings.weight": tensor}, file)
        return
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**26))
        archive.writestr("archive/version", "3\n")


def misstate(file: Path, draw: random.Random) -> None:
    """Change one value of a JSON object, or lose it."""
    values = json.loads(file.read_text(encoding="utf-8"))
    inner = draw.choice([one for one in (values, *values.values()) if isinstance(one, dict) and one])
    key = draw.choice(sorted(inner))
    others = [
        None,
        True,
        -1,
        0,
        1,
        3,
        64,
        10**12,
        1e300,
        float("nan"),
        "",
        "x",
        "[PAD]",
        "\ud800",
        [],
        {},
        [1],
        {"a": 1},
    ]
    value = draw.choice([*others, "lost"])
    inner[key] = value
    if value == "lost":
        del inner[key]
    file.write_text(json.dumps(values), encoding="utf-8")


ANY = [cut, flip, flip, flip, blank, swap]
WHOLE = [
    lambda file, _: file.write_bytes(b""),
    lambda file, _: file.write_bytes(PAGE),
    lambda file, _: file.write_bytes(POINTER),
    lambda file, _: file.unlink(),
]
DAMAGE = {
    ".safetensors": [*ANY, *WHOLE, reshape, reshape, reshape, rename, rename, inflate],
    ".bin": [*ANY, *WHOLE, reshape, reshape, reshape, rename, rename, inflate],
    ".json": [*ANY, *WHOLE, misstate, misstate, misstate, misstate],
}


def damage(folder: Path, draw: random.Random) -> str:
    """Damage one file of a folder; return what was done."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    weights = [file for file in files if file.suffix in (".safetensors", ".bin")]
    file = draw.choice([*weights, folder / "config.json"] if draw.random() < 0.6 else files)
    harm = draw.choice(DAMAGE.get(file.suffix, [*ANY, *WHOLE]))
    harm(file, draw)
    return f"{file.name}: {getattr(harm, '__name__', 'replaced')}"
