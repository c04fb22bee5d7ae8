"""Rows as token ids: what transformers makes of the same texts."""

import numpy as np
import pytest

from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.doors.records import FileFacts
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.tokenisers import FolderTokeniser
from clue_bench.finetuning.encode import TEXT, Layout, Tokeniser, bert_tokeniser, encode
from clue_bench.tasks.rows import Rows

PAIRS = [
    ("我们在这个国家", "我们在学"),
    ("中国人", "不是中国人"),
    ("大家不同意", "没有结论"),
    ("发动", "有了时地就可以发动"),
]


def rows(*texts, labels=None):
    facts = FileFacts(rows=len(texts), md5="", expected_rows=None, expected_md5=None)
    numbers = np.zeros(len(texts), np.int64) if labels is None else np.array(labels)
    return Rows(list(texts), numbers, list(range(len(texts))), facts)


@pytest.fixture
def checkpoint(checkpoint_folder):
    return read_checkpoint(checkpoint_folder)


@pytest.fixture
def tokenizer(checkpoint):
    from transformers import BertTokenizer

    return BertTokenizer.from_pretrained(checkpoint.folder)


@pytest.mark.parametrize("max_length", [8, 12, 64])
def test_pairs_are_tokenised_and_truncated_as_transformers_does(checkpoint, tokenizer, max_length):
    encoded = encode(rows(*PAIRS), checkpoint.vocabulary, max_length=max_length)
    for number, (first, second) in enumerate(PAIRS):
        expected = tokenizer(first, second, truncation="longest_first", max_length=max_length)
        part = slice(encoded.offsets[number], encoded.offsets[number + 1])
        assert encoded.ids[part].tolist() == expected["input_ids"]
        assert encoded.segments[part].tolist() == expected["token_type_ids"]
        assert encoded.ids[part][-1] == checkpoint.vocabulary.separator
    cut = sum(len(tokenizer(*texts)["input_ids"]) > max_length for texts in PAIRS)
    assert encoded.truncated_rows == cut


@pytest.mark.parametrize("lengths", [(3, 40), (40, 3), (20, 20), (20, 21), (21, 20), (5, 5), (0, 30)])
@pytest.mark.parametrize("max_length", [9, 10, 32])
def test_the_longer_text_is_cut_first_as_in_transformers(checkpoint, tokenizer, lengths, max_length):
    texts = ("中" * lengths[0], "国" * lengths[1])
    encoded = encode(rows(texts), checkpoint.vocabulary, max_length=max_length)
    expected = tokenizer(*texts, truncation="longest_first", max_length=max_length)
    assert encoded.ids.tolist() == expected["input_ids"]
    assert encoded.segments.tolist() == expected["token_type_ids"]


@pytest.mark.parametrize("max_length", [4, 32])
def test_single_texts_have_one_segment(checkpoint, tokenizer, max_length):
    encoded = encode(rows(("我们在这个国家",), labels=[2]), checkpoint.vocabulary, max_length=max_length)
    expected = tokenizer("我们在这个国家", truncation=True, max_length=max_length)
    assert encoded.ids.tolist() == expected["input_ids"]
    assert (encoded.segments == 0).all()
    assert encoded.labels.tolist() == [2]


def test_a_family_without_segments_has_none(checkpoint):
    with_segments, without = (
        encode(rows(*PAIRS), bert_tokeniser(checkpoint.vocabulary, has_segments=has), max_length=32)
        for has in (True, False)
    )
    assert with_segments.segments.any()
    assert not without.segments.any()
    assert with_segments.ids.tolist() == without.ids.tolist()


def test_special_tokens_stand_where_the_layout_says(checkpoint):
    layout = Layout(single=((TEXT, 0), (1, 2)), pair=((7, 0), (TEXT, 0), (8, 0), (8, 1), (TEXT, 1), (9, 3)), pad=0)
    tokeniser = Tokeniser(checkpoint.vocabulary.encoder(special_tokens=True), layout)
    ids = checkpoint.vocabulary.ids
    whole = encode(rows(("中国", "人")), tokeniser, max_length=32)
    assert whole.ids.tolist() == [7, ids["中"], ids["国"], 8, 8, ids["人"], 9]
    assert whole.segments.tolist() == [0, 0, 0, 0, 1, 1, 3]
    cut = encode(rows(("中国", "人")), tokeniser, max_length=6)
    assert cut.ids.tolist() == [7, ids["中"], 8, 8, ids["人"], 9]
    with pytest.raises(ClueBenchError, match="max_length 3 has no room"):
        encode(rows(("中国", "人")), tokeniser, max_length=3)


@pytest.mark.parametrize("through", ["ours", "transformers"])
def test_unknown_tokens_of_pairs_are_counted_without_special_tokens(checkpoint, tokenizer, through):
    chosen = bert_tokeniser(checkpoint.vocabulary)
    if through == "transformers":
        chosen = FolderTokeniser(checkpoint.folder, model_type="bert", segment_types=2).tokeniser
    texts = [("我们龘", "中国"), ("人", "１２３４😀"), ("中国", "大人"), ("龘靐", "龘")]
    read = encode(rows(*texts), chosen, max_length=64).read
    ids = [[*tokenizer(a, add_special_tokens=False)["input_ids"], *tokenizer(b, add_special_tokens=False)["input_ids"]]
           for a, b in texts]  # fmt: skip
    unknown = [each.count(tokenizer.unk_token_id) for each in ids]
    assert (read.tokens, read.unknown_tokens) == (sum(map(len, ids)), sum(unknown))
    assert (read.rows, read.unknown_rows, read.truncated_rows) == (4, 3, 0)
