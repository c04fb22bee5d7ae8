"""Word starts: a plain loop over rjieba's words is the oracle, for both kinds of vocabulary."""

import io
import itertools
import json
import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest
import rjieba
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from clue_bench.corpus.build import build_corpus
from clue_bench.corpus.text import clean_line, split_sentences
from clue_bench.corpus.tokenise import word_starts
from clue_bench.doors.shards import Corpus
from clue_bench.errors import ClueBenchError
from clue_bench.vocab import SPECIAL_TOKENS, Vocabulary, codes_of, read_vocabulary

HAN = "我爱北京天安门中国的首都是上海大学研究生命起源他们在学习人工智能"
PARTS = ["北京", "天安门", "研究生", " hello ", "Été", "2020年", "iPhone7", "……", "ﬁ", "\u3000", "𠮷", "，", "ＡＢ"]
WORDPIECE = Vocabulary(
    (
        *SPECIAL_TOKENS,
        *sorted(set(HAN)),
        *"。，…年abcdefghijklmnopqrstuvwxyz0123456789",
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"),
        "hello",
        "iphone",
    )
)


def some_text() -> str:
    random = Random("words")
    lines = ["".join(random.choices([*HAN, *PARTS], k=random.randint(1, 30))) + "。" for _ in range(400)]
    return "\n".join(line if n % 7 else line + "\n" for n, line in enumerate(lines))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text, a vocab.txt and a spiece.model."""
    path = tmp_path_factory.mktemp("words")
    (path / "a.txt").write_text(some_text(), encoding="utf-8")
    WORDPIECE.write(path / "vocab.txt")
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(some_text().split("\n")),
        model_writer=writer,
        vocab_size=200,
        user_defined_symbols=["[MASK]"],
        **{"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3},
        **{"pad_piece": "[PAD]", "unk_piece": "[UNK]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"},
        minloglevel=2,
    )
    (path / "spiece.model").write_bytes(writer.getvalue())
    return path


@pytest.fixture(params=["vocab.txt", "spiece.model"])
def vocabulary_file(folder: Path, request: pytest.FixtureRequest) -> Path:
    """Of either kind."""
    return folder / str(request.param)


def build(folder: Path, vocabulary: Path, out: Path, **options: object) -> Corpus:
    for _ in build_corpus([folder / "a.txt"], **{"vocabulary": vocabulary, "out": out, "workers": 1, **options}):
        pass
    return Corpus.open(out)


def expected_starts(sentences: list[str], places: list[list[int]]) -> list[bool]:
    """Return, token by token, whether a word begins where it does, and it is the first token to begin there."""
    starts = []
    for sentence, found in zip(sentences, places, strict=True):
        firsts, at = set(), 0
        for word in rjieba.cut(sentence):
            firsts.add(at)
            at += len(word)
        before = None
        for place in found:
            starts.append(before is None or (place in firsts and place != before))
            before = place
    return starts


def places_of(vocabulary: Vocabulary, sentences: list[str]) -> list[list[int]]:
    """Return where each token begins, by the libraries' own offsets."""
    if vocabulary.model is None:
        tokenizer = vocabulary.tokenizer()
        tokenizer.encode_special_tokens = True
        return [[s for s, _ in tokenizer.encode(text, add_special_tokens=False).offsets] for text in sentences]
    library = sentencepiece.SentencePieceProcessor(model_proto=vocabulary.model)
    found = library.encode(sentences, return_type="offset_mapping")
    return [[start for start, _ in one["offsets"]] for one in found]


def word_starts_of(sentences: list[str]) -> tuple[list[str], list[bool]]:
    """Return the tokens of the sentences, a line each, and which of them start words."""
    codes = codes_of("".join(f"{sentence}\n" for sentence in sentences))
    tokens = WORDPIECE.encoder(special_tokens=False).encode_lines(codes)
    begins = np.cumsum([0, *(len(sentence) + 1 for sentence in sentences)])[:-1]
    return [WORDPIECE.tokens[index] for index in tokens.ids], word_starts(codes, tokens.at, begins).tolist()


def test_a_character_within_a_word_does_not_start_one() -> None:
    assert rjieba.cut("我爱北京天安门") == ["我", "爱", "北京", "天安门"]
    assert word_starts_of(["我爱北京天安门"])[1] == [True, True, True, False, True, False, False]


def test_offsets_refer_to_the_text_before_accents_and_case_went() -> None:
    pieces, starts_word = word_starts_of(["E\u0301te\u0301 HELLO北京"])
    starts = [piece for piece, is_start in zip(pieces, starts_word, strict=True) if is_start]
    assert {"hello", "北"} <= set(starts)
    assert "京" not in starts


@pytest.mark.parametrize("sentences", [[], [""], [" "], ["", "中国", "", " ", "北京"]])
def test_sentences_without_tokens_have_no_starts(sentences: list[str]) -> None:
    tokens, starts = word_starts_of(sentences)
    assert tokens == ["中", "国", "北", "京"][: len(tokens)]
    assert starts == [True, False, True, False][: len(tokens)]


@given(texts=st.lists(st.text(alphabet=st.one_of(st.sampled_from(HAN + " ab"), st.characters(codec="utf-8")))))
def test_any_text_has_the_starts_of_the_plain_loop(texts: list[str]) -> None:
    sentences = [sentence for text in texts for sentence in split_sentences(clean_line(text))]
    expected = expected_starts(sentences, places_of(WORDPIECE, sentences))
    assert word_starts_of(sentences)[1] == expected


def test_a_corpus_built_with_words_has_their_starts(folder: Path, tmp_path: Path, vocabulary_file: Path) -> None:
    corpus = build(folder, vocabulary_file, tmp_path / "corpus", words="rjieba")
    vocabulary = read_vocabulary(vocabulary_file)
    lines = [split_sentences(clean_line(line)) for line in some_text().split("\n")]
    # Sentencepiece reads whole lines, WordPiece sentences.
    texts = list(itertools.chain(*lines)) if vocabulary.kind == "wordpiece" else list(map("".join, lines))
    expected = expected_starts(texts, places_of(vocabulary, texts))
    assert corpus.starts_word(0).tolist() == expected
    assert corpus.manifest.word_starts == "rjieba"
    assert corpus.manifest.counts.words == sum(expected) < len(expected)


def test_words_change_nothing_but_the_starts(folder: Path, tmp_path: Path, vocabulary_file: Path) -> None:
    plain = build(folder, vocabulary_file, tmp_path / "plain")
    words = build(folder, vocabulary_file, tmp_path / "words", words="rjieba")
    for one, two in zip(plain.ids + plain.sentences, words.ids + words.sentences, strict=True):
        assert np.array_equal(one, two)
    vocabulary = read_vocabulary(plain.tokenizer_folder)
    assert plain.manifest.word_starts == vocabulary.word_starts
    assert np.array_equal(plain.starts_word(0), vocabulary.starts_word[plain.ids[0]])
    assert plain.manifest.tokenizer_sha256 == vocabulary.sha256
    assert plain.damaged_files() == []


def test_a_sentencepiece_corpus_has_the_librarys_ids(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    text = some_text() + "\n[MASK]北京[CLS]\n"
    (tmp_path / "texts" / "a.txt").write_text(text, encoding="utf-8")
    corpus = build(tmp_path / "texts", folder / "spiece.model", tmp_path / "corpus")
    library = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    lines = ["".join(split_sentences(clean_line(line))) for line in text.split("\n") if line.strip()]
    expected = [index for ids in library.encode(lines[:-1]) for index in ids]
    assert corpus.ids[0][: len(expected)].tolist() == expected
    assert library.piece_to_id("[MASK]") not in corpus.ids[0][len(expected) :]
    assert (corpus.tokenizer_folder / "spiece.model").read_bytes() == (folder / "spiece.model").read_bytes()


def test_sentences_inside_a_line_begin_at_the_token_that_begins_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("我们是。首都北京。2020\n中国的。", encoding="utf-8")
    corpus = build(tmp_path / "texts", folder / "spiece.model", tmp_path / "corpus")
    library = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    ids, sentences = corpus.ids[0].tolist(), corpus.sentences[0].tolist()
    found = [library.decode(ids[start:end]) for start, end in itertools.pairwise(sentences)]
    assert found == ["我们是。", "首都北京。", "2020", "中国的。"]
    assert [library.id_to_piece(ids[start])[0] == "▁" for start in sentences[:-1]] == [True, False, False, True]


def test_a_folder_built_with_other_words_is_refused(folder: Path, tmp_path: Path) -> None:
    build(folder, folder / "vocab.txt", tmp_path / "corpus", words="rjieba")
    with pytest.raises(ClueBenchError, match="another words: rjieba"):
        build(folder, folder / "vocab.txt", tmp_path / "corpus")


def test_a_plan_from_before_there_were_words_continues(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    build(folder, folder / "vocab.txt", out)
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    assert plan.pop("words") == "wordpiece"
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    build(folder, folder / "vocab.txt", out)
    with pytest.raises(ClueBenchError, match="another words: wordpiece"):
        build(folder, folder / "vocab.txt", out, words="rjieba")


def test_a_document_of_nothing_but_blanks_is_dropped_with_words_too(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("\u200b\n\n北京\n\n\ufeff\n", encoding="utf-8")
    shutil.copy(folder / "spiece.model", tmp_path)
    corpus = build(tmp_path / "texts", tmp_path / "spiece.model", tmp_path / "corpus", words="rjieba")
    assert corpus.manifest.counts.documents == corpus.manifest.counts.sentences == 1
    assert corpus.manifest.counts.dropped_documents == {"empty": 2}
