"""The code of the model cards opens every checkpoint that a recipe makes."""

import pytest
import torch

from clue_bench.corpus.build import build_corpus
from clue_bench.doors.shards import Corpus
from clue_bench.pretraining.recipe import load_recipe
from clue_bench.pretraining.run import run
from clue_bench.pretraining.train import Pretraining


@pytest.fixture(scope="module")
def trained(tmp_path_factory, corpus_folder, words_folder):
    """What pretrains a recipe at debug size for a few steps, once, and returns its checkpoint folder."""
    folders = {}

    def train(recipe: str, corpus=None):
        if recipe not in folders:
            out = tmp_path_factory.mktemp("cards") / recipe
            loaded = load_recipe(recipe, {"vocab_size": "corpus"}, debug_size=True, steps=4)
            folder = corpus or (words_folder if loaded.objective == "wwm" else corpus_folder)
            for _ in run(Pretraining(loaded, Corpus.open(folder), out), asked={}):
                pass
            folders[recipe] = out / "checkpoint"
        return folders[recipe]

    return train


@pytest.mark.parametrize("recipe", ["roberta-tiny-clue", "albert-base", "roformer-base-wwm"])
def test_fill_mask_pipelines(trained, recipe):
    from transformers import pipeline

    answers = pipeline("fill-mask", model=str(trained(recipe)), device="cpu")("中国[MASK]大国。")
    assert len(answers) == 5
    assert all(0 < answer["score"] < 1 for answer in answers)


def test_albert_for_masked_lm_and_albert_model(trained):
    from transformers import AlbertForMaskedLM, AlbertModel, BertTokenizer, FillMaskPipeline

    folder = trained("albert-base")
    tokenizer = BertTokenizer.from_pretrained(folder)
    unmasker = FillMaskPipeline(AlbertForMaskedLM.from_pretrained(folder), tokenizer)
    assert len(unmasker("中国的首都是[MASK]大。")) == 5
    output = AlbertModel.from_pretrained(folder)(**tokenizer("我们学法", return_tensors="pt"))
    assert output.last_hidden_state.shape == (1, 6, 64)


def test_roformer_for_masked_lm_with_bert_tokenizer(trained):
    from transformers import BertTokenizer, RoFormerForMaskedLM

    folder = trained("roformer-base-wwm")
    tokenizer = BertTokenizer.from_pretrained(folder)
    model = RoFormerForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = model(**tokenizer("今天[MASK]很好,我想去公园玩!", return_tensors="pt")).logits
    assert logits.shape[-1] == len(tokenizer)


def test_gpt2_writes_on_with_the_text_generation_pipeline(trained):
    from transformers import BertTokenizer, GPT2LMHeadModel, TextGenerationPipeline

    folder = trained("gpt2-base")
    tokenizer = BertTokenizer.from_pretrained(folder)
    write = TextGenerationPipeline(GPT2LMHeadModel.from_pretrained(folder), tokenizer)
    (answer,) = write("[CLS]我们中国", max_new_tokens=8, do_sample=False, add_special_tokens=False)
    assert answer["generated_text"].startswith("[CLS]我们中国")
    assert len(answer["generated_text"]) > len("[CLS]我们中国")


def test_bert_model_features_of_a_pair_model(trained, corpus_folder, tmp_path):
    from transformers import BertForPreTraining, BertModel, BertTokenizer

    from clue_bench.doors.checkpoint import read_checkpoint

    start = read_checkpoint(trained("roberta-tiny-clue"))
    loaded = load_recipe("roberta-tiny-pair", {"vocab_size": "corpus"}, debug_size=True, steps=4)
    for _ in run(Pretraining(loaded, Corpus.open(corpus_folder), tmp_path / "pair", start=start), asked={}):
        pass
    folder = tmp_path / "pair" / "checkpoint"
    inputs = BertTokenizer.from_pretrained(folder)("我们学法", "他们来了", return_tensors="pt")
    assert inputs["token_type_ids"].max() == 1
    model, info = BertModel.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert model(**inputs).pooler_output.shape == (1, 64)
    _, info = BertForPreTraining.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())


@pytest.mark.slow
def test_a_word_model_is_a_bert_with_an_albert_tokenizer(trained, real_data, text_file, tmp_path):
    from transformers import AlbertTokenizer, BertModel, pipeline

    spm = real_data / "vocab" / "cluecorpussmall_spm.model"
    for _ in build_corpus([text_file], vocabulary=spm, out=tmp_path / "corpus", workers=1):
        pass
    folder = trained("roberta-word-tiny", tmp_path / "corpus")
    tokenizer = AlbertTokenizer.from_pretrained(folder)
    output = BertModel.from_pretrained(folder)(**tokenizer("用你喜欢的任何文本替换我。", return_tensors="pt"))
    assert output.last_hidden_state.shape[-1] == 64
    answers = pipeline("fill-mask", model=str(folder), device="cpu")("[MASK]的首都是北京。")
    assert len(answers) == 5
    assert len(tokenizer) == 100_000
