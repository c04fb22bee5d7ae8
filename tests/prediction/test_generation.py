"""Causal language models continue texts as transformers does, and write nothing but text."""

import json
import sys

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel

import clue_bench as cb
from clue_bench.cli import main
from clue_bench.prediction.generation import joined
from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary

CHARACTERS = "中国的首都是北京今天气很好他一名学老师我们在校里上课，。"
WORDS = ("hello", "world", "##s", "3", "14", ".")
VOCABULARY = Vocabulary((*SPECIAL_TOKENS, "[unused1]", *dict.fromkeys(CHARACTERS), *WORDS))
PADDING = 5  # rows without a token
SIZES = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 48, "initializer_range": 0.4}


def write(folder, kind=GPT2LMHeadModel, bias=None, **more):
    """Write a model of random weights; those of `bias`, token → number, are drawn more or less often."""
    torch.manual_seed(0)
    rows = len(VOCABULARY) + PADDING
    ids = {"bos_token_id": VOCABULARY.start, "eos_token_id": VOCABULARY.separator, "pad_token_id": VOCABULARY.pad}
    model = kind(GPT2Config(vocab_size=rows, **SIZES, **ids, **more))
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    VOCABULARY.save(folder, max_length=48, has_segments=False)
    return folder


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return write(tmp_path_factory.mktemp("model") / "gpt2")


def quiet(*arguments, **more):
    return cb.generate(*arguments, progress=False, **more)


def test_the_most_probable_tokens_are_those_of_transformers(gpt2):
    prompts = ["今天天气", "中国的首都是北京，", "他是一名老师"]
    written = quiet(gpt2, prompts, temperature=0, tokens=20)
    model = GPT2LMHeadModel.from_pretrained(gpt2)
    never = [*(VOCABULARY.ids[t] for t in ("[PAD]", "[UNK]", "[CLS]", "[MASK]", "[unused1]"))]
    never += range(len(VOCABULARY), len(VOCABULARY) + PADDING)
    for prompt, row in zip(prompts, written, strict=True):
        ids = torch.tensor([[VOCABULARY.start, *VOCABULARY.encoder(special_tokens=False).ids([prompt])[0]]])
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False, suppress_tokens=never
        )
        new = [VOCABULARY.tokens[index] for index in out[0, ids.shape[1] :].tolist()]
        new = new[: new.index("[SEP]")] if "[SEP]" in new else new
        assert row.generated == joined(new, prompt)
        assert row.tokens == len(new)


def test_a_prompts_most_probable_text_does_not_depend_on_the_others(gpt2):
    prompts = ["今天", "中国的首都是北京，", "他是", "国", ""]
    alone = [quiet(gpt2, prompt, temperature=0, tokens=15)[0].text for prompt in prompts]
    assert quiet(gpt2, prompts, temperature=0, tokens=15).texts == alone


def test_the_same_seed_gives_the_same_texts_and_samples_differ(gpt2):
    first, second = (quiet(gpt2, "今天", samples=4, tokens=12) for _ in range(2))
    assert first.texts == second.texts
    assert len(set(first.texts)) > 1
    assert [row.sample for row in first] == [1, 2, 3, 4]
    assert quiet(gpt2, "今天", samples=4, tokens=12, seed=2).texts != first.texts
    assert (
        quiet(gpt2, "今天", samples=2, tokens=12, top_k=1)[1].text
        == quiet(gpt2, "今天", tokens=12, temperature=0)[0].text
    )


def test_no_special_token_is_ever_written_and_no_blank_between_chinese_characters(gpt2):
    texts = quiet(gpt2, ["今", "他"], samples=32, tokens=40, temperature=3.0, top_k=0, top_p=1.0).texts
    written = "".join(texts)
    assert "[" not in written
    assert not any(f"{a} {b}" in written for a in CHARACTERS for b in CHARACTERS)
    assert any(word in written for word in ("hello", "world"))


def test_a_text_ends_where_the_model_ends_it(gpt2):
    texts = quiet(gpt2, "今", samples=32, tokens=40, temperature=3.0, top_k=0, top_p=1.0)
    ended = [row for row in texts if row.is_ended]
    assert 0 < len(ended) < 32
    assert all(row.tokens == 40 for row in texts if not row.is_ended)
    assert texts.summary["ended_by_model"] == len(ended)


def test_a_penalty_makes_repetitions_rarer(gpt2):
    plain, penalised = (
        quiet(gpt2, "今天", tokens=40, temperature=0, repetition_penalty=penalty)[0].generated for penalty in (1.0, 5.0)
    )
    assert len(set(penalised)) > len(set(plain))


@pytest.mark.parametrize(
    ("tokens", "before", "text"),
    [
        (["天", "气", "很", "好"], "今", "天气很好"),
        (["hello", "world", "##s"], "", "hello worlds"),
        (["hello", "中", "国", "world"], "", "hello中国world"),
        (["world"], "hello", " world"),
        (["##s"], "world", "s"),
        (["world"], "hello ", "world"),
        (["3", ".", "14", "，", "hello", ",", "world", "."], "是", "3.14，hello, world."),
        (["gpt", "-", "2", "(", "big", ")"], "", "gpt-2 (big)"),
        (["“", "hello", "”"], "他说", "“hello”"),
        (["##"], "", "##"),
    ],
)
def test_blanks_stand_between_latin_words_only(tokens, before, text):
    assert joined(tokens, before) == text


def test_a_file_of_prompts_keeps_its_columns(gpt2, tmp_path):
    file, out = tmp_path / "prompts.jsonl", tmp_path / "texts.jsonl"
    rows = [{"id": 7, "prompt": "今天", "generated": "x"}, {"id": 8, "prompt": "中国", "generated": "y"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    written = quiet(gpt2, file, samples=2, tokens=5)
    written.write(out)
    read = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["generated"], row["sample"]) for row in read] == [
        (7, "x", 1),
        (7, "x", 2),
        (8, "y", 1),
        (8, "y", 2),
    ]
    assert [row["generated_new"] for row in read] == [row.generated for row in written]


def test_prompts_of_a_text_file_are_its_lines(gpt2, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("今天\n中国\n", encoding="utf-8")
    assert [row.prompt for row in quiet(gpt2, file, tokens=2)] == ["今天", "中国"]


def test_what_is_unknown_or_behind_the_models_rows_is_said(gpt2, tmp_path):
    folder = write(tmp_path / "short")
    (folder / "provenance.json").write_text(json.dumps({"learned_positions": 8}), encoding="utf-8")
    notes = " ".join(quiet(folder, "龘天", tokens=100, temperature=0).notes)
    assert "1 of the prompts' 3 tokens are unknown" in notes
    assert "pretrained on rows of 8 tokens" in notes
    assert "1 prompts got fewer tokens" in notes
    assert quiet(gpt2, "今天", tokens=3).notes == ()


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"prompts": "今" * 60}, "the model takes 48"),
        ({"prompts": []}, "found none"),
        ({"prompts": [1]}, "found an int"),
        ({"temperature": -1}, "temperature: found -1"),
        ({"top_p": 0}, "top_p: found 0"),
        ({"samples": 2, "temperature": 0}, "the same text each"),
    ],
)
def test_what_cannot_be_meant_is_refused(gpt2, more, match):
    with pytest.raises(cb.ClueBenchError, match=match):
        quiet(gpt2, **{"prompts": "今天", **more})


def test_a_model_that_continues_no_texts_is_refused_with_what_to_do(tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForMaskedLM(BertConfig(vocab_size=len(VOCABULARY), **sizes)).save_pretrained(tmp_path / "bert")
    VOCABULARY.save(tmp_path / "bert", max_length=48)
    with pytest.raises(cb.ClueBenchError, match="no causal language model"):
        quiet(tmp_path / "bert", "今天")
    folder = write(tmp_path / "classifier", GPT2ForSequenceClassification)
    with pytest.raises(cb.ClueBenchError, match="gives labels and writes") as caught:
        quiet(folder, "今天")
    assert "clue-bench predict" in caught.value.hint


def test_predict_leads_to_generate(gpt2):
    with pytest.raises(cb.ClueBenchError) as caught:
        cb.load_model(gpt2)
    assert "clue-bench generate" in caught.value.hint


def test_a_gpt2_of_byte_pairs_continues_with_its_own_tokenizer(tmp_path):
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2TokenizerFast

    lines = ["今天天气很好", "hello world, hello 中国", "中国的首都是北京"] * 20
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(lines, vocab_size=320, special_tokens=["<|endoftext|>"])
    tokenizer.save_model(str(tmp_path))
    fast = GPT2TokenizerFast(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    folder = tmp_path / "model"
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=len(fast), bos_token_id=0, eos_token_id=0, **SIZES)).save_pretrained(folder)
    fast.save_pretrained(folder)
    (row,) = quiet(folder, "hello 中国", tokens=20, temperature=0)
    assert row.text.startswith("hello 中国")
    assert "<|endoftext|>" not in row.text
    with pytest.raises(cb.ClueBenchError, match="no token to begin"):
        quiet(folder, "")


def run(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["clue-bench", "generate", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        main()
    out, err = capsys.readouterr()
    return exited.value.code or 0, out, err


def test_the_verb_prints_texts_their_settings_and_what_to_type_next(gpt2, capsys, monkeypatch, tmp_path):
    arguments = ["--model", gpt2, "--prompt", "今天", "--tokens", 8, "--samples", 2]
    code, out, err = run(capsys, monkeypatch, *arguments)
    assert code == 0
    assert all(text in out.replace("\n", "") for text in quiet(gpt2, "今天", tokens=8, samples=2).texts)
    assert "settings: tokens 8, samples 2, temperature 1" in err
    assert f"next: clue-bench generate --model {gpt2} --file" in err
    code, out, _ = run(capsys, monkeypatch, *arguments, "--json")
    assert [row["text"] for row in json.loads(out)["rows"]] == quiet(gpt2, "今天", tokens=8, samples=2).texts
    code, out, _ = run(capsys, monkeypatch, *arguments, "--out", tmp_path / "texts.csv")
    assert (code, (tmp_path / "texts.csv").read_text(encoding="utf-8").count("今天")) == (0, 4)
    assert "num texts" in out
    assert run(capsys, monkeypatch, "--model", gpt2)[0] == 1
