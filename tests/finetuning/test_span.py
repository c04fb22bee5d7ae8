"""Questions on passages: windows, exact places, answers of several windows, a run that learns, what comes of it."""

import json

import numpy as np
import pytest
import sentencepiece
import torch
import transformers

import clue_bench as cb
from clue_bench.analysis.report import excerpt
from clue_bench.api.submissions import submit
from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.doors.records import FileFacts
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.heads import new_classifier
from clue_bench.finetuning.base_models.tokenisers import FolderTokeniser
from clue_bench.finetuning.baselines import run_floor
from clue_bench.finetuning.encode import bert_tokeniser, collate, encode_windows, scores_of_rows
from clue_bench.finetuning.score import span_scores
from clue_bench.finetuning.windows import placed_by, text_of, tokens_of
from clue_bench.models.config import ModelConfig
from clue_bench.tasks.answers import NOWHERE, Answer, find_answers
from clue_bench.tasks.questions import question_table
from clue_bench.tasks.rows import Rows, read_rows
from clue_bench.tasks.task import Task, load_task
from clue_bench.vocab import read_vocabulary

FAST = {"learning_rate": 1e-2, "batch_size": 16, "max_length": 32, "precision": "fp32", "max_evaluations": 2}
CHARACTERS = list("的一是在了有和人这中大为上个国我以要他时来用们")


def squad(number, *, seed, is_test=False):
    """SQuAD's layout: the answer is the two characters that no other place has."""
    generator = np.random.default_rng(seed)
    paragraphs = []
    for place in range(number):
        before, after = ("".join(generator.choice(CHARACTERS, generator.integers(3, 9))) for _ in range(2))
        text = "".join(generator.choice(list("发动同意"), 2))
        answers = [{"text": text, "answer_start": len(before)}]
        if is_test:
            answers = [{"text": "FAKE_ANSWER_1", "answer_start": -1}]
        asked = {"id": f"{seed}_{place}", "question": "他说", "answers": answers}
        paragraphs.append({"context": f"{before}{text}{after}", "qas": [asked]})
    return {"version": "v1.0", "data": [{"paragraphs": [each], "title": ""} for each in paragraphs]}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "cmrc2018").mkdir()
    for split, number in (("train", 300), ("dev", 40), ("test", 5)):
        made = squad(number, seed=number, is_test=split == "test")
        (folder / "cmrc2018" / f"{split}.json").write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(data, checkpoint_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "cmrc2018"
    return cb.finetune("cmrc2018", checkpoint_folder, data=data, out=out, steps=90, settings=FAST, progress=False)


def rows_of(*rows):
    facts = FileFacts(rows=len(rows), md5="", expected_rows=None, expected_md5=None)
    texts = [(context, question) for context, question, _ in rows]
    labels = np.zeros(len(rows), np.int64)
    return Rows(texts, labels, list(range(len(rows))), facts, answers=tuple(tuple(right) for _, _, right in rows))


@pytest.fixture(scope="module")
def tokeniser(checkpoint_folder):
    return bert_tokeniser(read_checkpoint(checkpoint_folder).vocabulary)


def card(**changes):
    return Task.model_validate({**load_task("cmrc2018").model_dump(), **changes})


def test_windows_hold_the_whole_question_share_tokens_and_cover_the_passage(tokeniser):
    context = "".join(np.random.default_rng(1).choice(CHARACTERS, 50))
    right = Answer(context[20:23], 20)
    encoded = encode_windows(
        rows_of((context, "他说", [right])), tokeniser, max_length=25, task=card(stride=6)
    )  # 20 tokens of the passage in each
    windows = encoded.windows
    assert windows.first_W.tolist() == [0, 14, 28, 42]
    assert windows.size_W.tolist() == [20, 20, 20, 8]
    question = tokeniser.encoder.ids(["他说"])[0]
    whole = tokeniser.encoder.ids([context])[0]
    for number in range(len(encoded)):
        ids = encoded.ids[encoded.offsets[number] : encoded.offsets[number + 1]].tolist()
        at, first, size = windows.at_W[number], windows.first_W[number], windows.size_W[number]
        assert ids[1:3] == question
        assert ids[at : at + size] == whole[first : first + size]
    assert encoded.labels.tolist() == [[0, 0], [10, 12], [0, 0], [0, 0]]
    assert encoded.num_rows == 1


def test_a_question_that_is_cut_counts_once_whatever_its_windows(tokeniser):
    rows = rows_of(("中" * 60, "国" * 20, []), ("中" * 60, "国", []), ("中", "国" * 20, []))
    encoded = encode_windows(rows, tokeniser, max_length=23, task=card())
    assert encoded.truncated.sum() > 2
    assert (encoded.read.rows, encoded.read.truncated_rows, encoded.truncated_rows) == (3, 2, 2)


def test_a_question_with_unknown_tokens_counts_once_whatever_its_windows(tokeniser):
    rows = rows_of(("中" * 60, "龘靐", []), ("中" * 20 + "龘" + "中" * 39, "国", []), ("中" * 9, "国", []))
    encoded = encode_windows(rows, tokeniser, max_length=23, task=card())
    read = encoded.read
    assert (len(encoded) > 3, read.rows, read.unknown_rows) == (True, 3, 2)
    assert read.tokens == len(encoded.ids) - 3 * len(encoded)  # [CLS] and two [SEP] in every window
    assert read.unknown_tokens == int((encoded.ids == tokeniser.unknown).sum())


def test_a_loss_is_of_first_and_last_token_and_padding_is_no_place(tokeniser):
    context = "我们在这个国家"
    rows = rows_of((context, "他", [Answer("在这", 2)]), ("人", "他", []))
    encoded = encode_windows(rows, tokeniser, max_length=32, task=card())
    batch = collate(encoded, np.array([0, 1]), pad=0, device=torch.device("cpu"))
    logits = torch.randn(2, batch.ids_BS.shape[1], 2)
    lines = scores_of_rows(logits, batch)
    assert batch.labels_B.tolist() == [5, 6, 0, 0]
    assert torch.equal(lines[0], logits[0, :, 0])
    assert torch.equal(lines[1], logits[0, :, 1])
    assert (lines[2].softmax(-1)[6:] == 0).all()


TEXTS = [
    ("光荣和ω-force开发了《战国无双3》。", "ω-force"),
    ("USS Port  Royal (CG-73)\n是 导弹巡洋舰", "Port  Royal (CG-73)"),
    ("于1942年8月，café在Paris开业", "1942年8月"),
    ("　全角ＡＢＣ空格　", "ＡＢＣ"),
    ("他说“……”，走了", "……"),
    ("在[SEP]和[MASK]之间", "和"),
    ("他\u200b说\u200b，走了", "说"),  # nothing that nobody sees is at the end of an answer
    ("他说\x01走了", "说"),
    ("cafe\u0301 在🎉𠮷🎉开业", "🎉𠮷🎉"),
    ("在cafe\u0301\u200d开业", "cafe\u0301"),
]


@pytest.mark.parametrize(("context", "text"), TEXTS)
def test_places_in_the_text_are_exact_for_wordpiece(context, text, tokeniser):
    starts = tokeniser.place(context).at
    first, last = tokens_of(Answer(text, context.index(text)), starts)
    assert text_of(context, starts, first, last) == (text, context.index(text))


@pytest.mark.parametrize(("text", "found"), [(" 1999年", "1999年"), ("1999年 ", "1999年"), (" ", "在")])
def test_blanks_around_a_right_answer_belong_to_no_token_of_it(text, found, tokeniser):
    context = "人在 1999年 来"
    starts = tokeniser.place(context).at
    first, last = tokens_of(Answer(text, context.index(text)), starts)
    assert text_of(context, starts, first, last)[0] == found


@pytest.mark.parametrize(("context", "text"), TEXTS[:2])
def test_places_are_exact_for_a_fast_tokenizer_of_transformers(context, text, checkpoint_folder):
    folder = read_checkpoint(checkpoint_folder).folder
    place = FolderTokeniser(folder, model_type="bert", segment_types=2).tokeniser.place
    assert place is not None
    starts = place(context).at
    first, last = tokens_of(Answer(text, context.index(text)), starts)
    assert text_of(context, starts, first, last) == (text, context.index(text))


def sentence_pieces(folder, file, **names):
    """A sentencepiece model whose pieces are whole words of the texts, and most of whose characters are unknown."""
    words = ["光荣", "战国无双", "导弹巡洋舰", "开业", "USS", "在Paris", "《", "》", "3", "1942年", "走了", "，"]
    draw = np.random.default_rng(0)
    lines = [" ".join(draw.choice(words, 12)) for _ in range(300)] + [
        "".join(draw.choice(words, 9)) for _ in range(300)
    ]
    folder.mkdir()
    with (folder / file).open("wb") as out:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            **{"model_writer": out, "vocab_size": 70, "hard_vocab_limit": False, "minloglevel": 2},
            **{"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3, "bos_piece": "[CLS]", "eos_piece": "[SEP]"},
            user_defined_symbols=["[MASK]"],
            **names,
        )
    return folder / file


PIECES = {
    "albert": ("spiece.model", "AlbertTokenizer"),
    "xlnet": ("spiece.model", "XLNetTokenizer"),
    "xlm-roberta": ("sentencepiece.bpe.model", "XLMRobertaTokenizer"),
}


def check_places(place, context, text):
    """Every token stands where its text does, and an answer is found whole: only what shares a token is added."""
    placed = place(context)
    assert placed.at.tolist() == sorted(placed.at.tolist())
    at = context.index(text)
    first, last = tokens_of(Answer(text, at), placed.at)
    found, begin = text_of(context, placed.at, first, last)
    assert context.startswith(found, begin)
    assert text.strip() in found
    visible = at + len(text) - len(text.lstrip())
    assert begin <= visible
    for edge, inside in ((placed.at[first], visible), (begin + len(found), at + len(text.rstrip()))):
        if edge != inside:  # then the answer ends inside a token, which cannot be divided
            assert inside not in placed.at.tolist()


@pytest.mark.parametrize("kind", ["ours", *PIECES])
def test_places_are_exact_under_sentencepiece(kind, tmp_path):
    file, named = PIECES.get(kind, ("spiece.model", ""))
    names = {"pad_piece": "[PAD]", "unk_piece": "[UNK]"} if kind == "ours" else {}
    path = sentence_pieces(tmp_path / "pieces", file, **names)
    if kind == "ours":
        place = placed_by(read_vocabulary(path).encoder(special_tokens=False))
    else:
        (path.parent / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": named}), encoding="utf-8")
        place = FolderTokeniser(path.parent, model_type=kind, segment_types=2).tokeniser.place
    for context, text in TEXTS:
        check_places(place, context, text)


@pytest.mark.parametrize("file", ["google_zh_vocab_21128.txt", "clue_vocab_8021.txt", "cluecorpussmall_spm.model"])
def test_places_of_real_answers_are_exact_in_real_vocabularies(file, real_data):
    place = placed_by(read_vocabulary(real_data / "vocab" / file).encoder(special_tokens=False))
    dev = read_rows(load_task("cmrc2018"), real_data / "clue")["dev"]
    answers = 0
    for (context, _), right in list(zip(dev.texts, dev.answers, strict=True))[::40]:
        for answer in right:
            if answer.start != NOWHERE and context.index(answer.text) == answer.start:
                check_places(place, context, answer.text)
                answers += 1
    assert answers > 150


@pytest.mark.parametrize("kind", ["electra", "xlm-roberta"])
def test_a_foreign_model_learns_to_find_answers_through_transformers(kind, data, make_foreign, tmp_path):
    """Of transformers alone: a network or a vocabulary that is not ours, which transformers loads again."""
    folder = make_foreign(kind, tmp_path / "base", characters=[*CHARACTERS, *"发动同意说"])
    run = cb.finetune("cmrc2018", folder, data=data, out=tmp_path / "run", steps=90, settings=FAST, progress=False)
    assert run.f1 > 0.4
    rows = read_rows(load_task("cmrc2018"), data)["dev"]
    for line, (context, _) in zip(
        (tmp_path / "run" / "predictions" / "dev.jsonl").read_text(encoding="utf-8").splitlines(),
        rows.texts,
        strict=True,
    ):
        found = json.loads(line)
        assert context.startswith(found["label"], found["start"])
    again = cb.load_model(run).predict_split("dev", data=data, progress=False)
    assert again.accuracy == run.accuracy
    theirs = transformers.AutoModelForQuestionAnswering.from_pretrained(run.checkpoint)
    assert type(theirs).__name__.startswith({"electra": "Electra", "xlm-roberta": "XLMRoberta"}[kind])


def test_the_best_answer_comes_from_any_window_and_is_never_too_long(tokeniser):
    context = "".join(np.random.default_rng(2).choice(CHARACTERS, 30))
    encoded = encode_windows(
        rows_of((context, "他", [Answer(context[25:27], 25)])),
        tokeniser,
        max_length=24,
        task=card(stride=4, max_answer=3),
    )
    logits = np.full((len(encoded.ids), 2), -5.0, dtype=np.float32)
    window, at = 1, encoded.windows.at_W[1]
    begin = encoded.offsets[window] + at - encoded.windows.first_W[window]
    logits[begin + 25, 0], logits[begin + 26, 1] = 4.0, 3.0
    logits[begin + 29, 1] = 9.0  # five tokens from the best beginning: too long
    logits[encoded.offsets[0], :] = 99.0  # [CLS] is no answer
    (answers,) = encoded.windows.best_answers(logits, encoded.offsets)
    assert (answers[0].text, answers[0].start) in [(context[25:27], 25), (context[27:30], 27), (context[29:], 29)]
    logits[begin + 29, 1] = -9.0
    (answers,) = encoded.windows.best_answers(logits, encoded.offsets)
    assert (answers[0].text, answers[0].start) == (context[25:27], 25)
    assert sum(each.probability for each in answers) == pytest.approx(1, abs=1e-4)
    assert [each.probability for each in answers] == sorted((each.probability for each in answers), reverse=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([{"text": "在", "answer_start": 2}], ((("在", 2),), 0)),
        ([{"text": "在", "answer_start": 3}], ((("在", 2),), 1)),
        ([{"text": "不在", "answer_start": 3}], ((("不在", NOWHERE),), 1)),
        ({"text": ["我", "在"], "answer_start": [0, 5]}, ((("我", 0), ("在", 5)), 0)),
        ("国", ((("国", 4),), 0)),
        (["国"], ((("国", 4),), 0)),
        ([{"text": "FAKE_ANSWER_1", "answer_start": -1}], ((), 0)),
        ([], ((), 0)),
        (None, ((), 0)),
        ([{"text": " ", "answer_start": 0}], ((), 0)),
        ({"text": "在", "answer_start": 2.0}, ((("在", 2),), 0)),
        ('[{"text": "在", "answer_start": "5"}]', ((("在", 5),), 0)),
        ("[在", ((("[在", NOWHERE),), 0)),
        ({"text": ["我", "在"], "answer_start": [0]}, "2 texts and another number"),
        ([{"text": "在", "answer_start": 2.5}], "answer_start is 2.5"),
        ([{"text": 3, "answer_start": 2}], "text is 3"),
        ([{"text": "在\ud83d", "answer_start": 2}], "half a character"),
        ("在\ud83d", "half a character"),
        ([{"answer": "在"}], "as SQuAD"),
        (7, "as SQuAD"),
    ],
)
def test_answers_are_looked_for_and_counted(value, expected):
    if isinstance(expected, str):
        with pytest.raises(ClueBenchError, match=expected):
            find_answers(value, "我们在这国在", "line 1")
    else:
        assert find_answers(value, "我们在这国在", "line 1") == expected


def test_of_several_places_the_nearest_is_taken():
    assert find_answers([{"text": "在", "answer_start": 4}], "我们在这国在", "").right == (Answer("在", 5),)


def test_questions_without_a_place_are_not_trained_on_and_counted(tmp_path):
    (tmp_path / "cmrc2018").mkdir()
    for split in ("train", "dev"):
        made = squad(3, seed=1)
        made["data"][0]["paragraphs"][0]["qas"][0]["answers"] = [{"text": "没有", "answer_start": 0}]
        (tmp_path / "cmrc2018" / f"{split}.json").write_text(json.dumps(made), encoding="utf-8")
    rows = read_rows(load_task("cmrc2018"), tmp_path)
    assert (len(rows["train"]), rows["train"].dropped_ids, rows["train"].facts.dropped_rows) == (2, ("1_0",), 1)
    assert len(rows["dev"]) == 3  # scored by its text
    assert "left out, since no answer stands in the passage: 1" in " ".join(rows["train"].notes)
    assert "1 of these nowhere" in " ".join(rows["dev"].notes)


def test_questions_without_an_answer_are_left_out_counted_and_not_asked_for(tmp_path):
    (tmp_path / "cmrc2018").mkdir()
    for split in ("train", "dev"):
        made = squad(3, seed=1)
        questions = [each for article in made["data"] for part in article["paragraphs"] for each in part["qas"]]
        questions[1] |= {"answers": [], "is_impossible": True}
        (tmp_path / "cmrc2018" / f"{split}.json").write_text(json.dumps(made), encoding="utf-8")
    rows = read_rows(load_task("cmrc2018"), tmp_path)
    for split, part in rows.items():
        assert (len(part), len(part.dropped_ids)) == (2, 1)
        assert f"{split} of cmrc2018: left out, since they have no answer: 1" in part.notes
    given = {
        **{each: right[0].text for each, right in zip(part.ids, part.answers, strict=True)},
        part.dropped_ids[0]: "",
    }
    (tmp_path / "given.json").write_text(json.dumps(given), encoding="utf-8")
    scored = cb.score(tmp_path / "given.json", task="cmrc2018", data=tmp_path)
    assert (scored.value, scored.scored.rows) == (1, 2)


def test_ids_that_stand_twice_in_the_data_are_said_to(tmp_path):
    (tmp_path / "cmrc2018").mkdir()
    made = squad(2, seed=1)
    made["data"] *= 2
    for split in ("train", "dev"):
        (tmp_path / "cmrc2018" / f"{split}.json").write_text(json.dumps(made), encoding="utf-8")
    (tmp_path / "given.json").write_text('{"1_0": "我"}', encoding="utf-8")
    with pytest.raises(ClueBenchError, match="several rows"):
        cb.score(tmp_path / "given.json", task="cmrc2018", data=tmp_path)


def test_a_mistake_is_placed_by_article_paragraph_and_question():
    made = squad(3, seed=1)
    parts = [part for article in made["data"] for part in article["paragraphs"]]
    made["data"] = [{"title": "", "paragraphs": parts}]
    del parts[2]["qas"][0]["question"]
    with pytest.raises(ClueBenchError, match="article 0, paragraph 2, question 0: no 'question'"):
        question_table(json.dumps(made).encode(), name="dev.json", where="dev.json")


def test_scores_are_exact_match_and_mean_f1():
    scores = span_scores(["光荣", "《战国》", "战国"], [["光荣和"], ["战国", "战"], ["战国"]])
    assert (scores.exact_match, scores.correct, scores.answers) == (2 / 3, 2, ("光荣", "光荣和")) or scores.correct == 2
    assert scores.macro_f1 == pytest.approx((0.8 + 1 + 1) / 3)


def test_a_run_learns_to_find_answers_and_records_them(finished, data):
    assert finished.record.task.metric == "exact_match"
    assert finished.record.data.passages.unpack() == [True] * 40
    assert finished.accuracy > 0.8
    assert finished.f1 >= finished.accuracy
    scored = cb.score(finished.folder / "predictions" / "dev.jsonl", task="cmrc2018", data=data)
    assert scored.value == finished.accuracy
    assert scored.scored.metrics[1].value == pytest.approx(finished.f1)
    lines = (finished.folder / "predictions" / "dev.jsonl").read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    context = read_rows(load_task("cmrc2018"), data)["dev"].texts[0][0]
    assert context.startswith(first["label"], first["start"])
    assert sum(json.loads(line)["is_exact"] for line in lines) == finished.scores.correct
    assert "dev exact match" in str(finished)


def test_the_report_marks_both_answers_in_the_passage(finished, data, tmp_path):
    from clue_bench.analysis.examine import _marked
    from clue_bench.analysis.report import write_report
    from clue_bench.doors.predictions import Prediction

    given = Prediction(id=1, label="在学", probability=0.5, start=2)
    assert _marked(("我们在学校", "谁"), (Answer("我们", 0),), given) == ("【我们】⟦在学⟧校", "谁")
    assert _marked(("我们", "谁"), (Answer("他", NOWHERE),), given.model_copy(update={"label": ""})) == ("我们", "谁")
    write_report(finished.folder, data, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Dev exact match" in page
    assert 'id="confusion"' not in page
    assert 'href="#confusion"' not in page


def test_a_reports_excerpt_of_a_passage_shows_both_answers_wherever_they_stand():
    text = "前" * 300 + "【对】" + "中" * 200 + "⟦错⟧" + "后" * 300
    shown = excerpt(text)
    assert shown == "…" + "前" * 40 + "【对】" + "中" * 40 + " … " + "中" * 40 + "⟦错⟧" + "后" * 40
    assert excerpt("前" * 300 + "【对】⟦错⟧") == "…" + "前" * 40 + "【对】⟦错⟧"
    assert excerpt("前" * 300) == "前" * 160


def test_a_model_answers_texts_with_place_and_probability(finished, data):
    model = cb.load_model(finished)
    (row,) = model.predict([("我们不中国在这个", "他说")], top=2)
    assert "我们不中国在这个".startswith(row.label, row.scores[0].start)
    assert row.to_json()["start"] == row.scores[0].start
    assert 0 < row.probability <= 1
    assert model.predict_split("dev", data=data).accuracy == finished.accuracy


def test_transformers_gives_the_same_logits(finished):
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    model = AutoModelForQuestionAnswering.from_pretrained(finished.checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(finished.checkpoint)
    given = tokenizer("他说", "我们不中国在这个", return_tensors="pt")
    with torch.no_grad():
        found = model(**given)
    start, end = (int(each[0, 4:-1].argmax()) for each in (found.start_logits, found.end_logits))
    (row,) = cb.load_model(finished).predict([("我们不中国在这个", "他说")])
    if start <= end:
        assert row.label == "我们不中国在这个"[start : end + 1]


def test_a_submission_is_one_object(finished, data, tmp_path):
    with pytest.raises(ClueBenchError, match="CLUE's has 2,000"):
        submit([finished], out=tmp_path / "submit.zip")


@pytest.mark.parametrize("kind", ["majority", "tfidf"])
def test_floors_answer_questions(data, kind, tmp_path):
    task = load_task("cmrc2018")
    record = run_floor(task, read_rows(task, data), data=data, kind=kind, seed=1, out=tmp_path, asked={})
    dev = record.completed_results.dev
    assert 0 <= dev.accuracy <= dev.macro_f1 <= 1
    assert kind == "majority" or dev.macro_f1 > 0


def test_the_sentence_that_is_most_like_the_question_is_the_floors_answer(data, tmp_path):
    contexts = ["在国家大的地方。我们有时中国人！大家是这", "他要来。  我们有时中国人。", "中国人"]
    rows = rows_of(*((context, "我们有时", [Answer("中国人", context.index("中国人"))]) for context in contexts))
    made = {"train": rows, "dev": rows}
    record = run_floor(load_task("cmrc2018"), made, data=data, kind="tfidf", seed=1, out=tmp_path, asked={})
    lines = (tmp_path / "predictions" / "dev.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert [(each["label"], each["start"]) for each in found] == [
        ("我们有时中国人", contexts[0].index("我们")),
        ("我们有时中国人", contexts[1].index("我们")),
        ("中国人", 0),
    ]
    assert record.completed_results.dev.correct == 1


@pytest.mark.parametrize(("kind", "outputs"), [("span", 2), ("tags", 3)])
def test_a_gpt2_finds_neither_spans_nor_entities(kind, outputs):
    config = ModelConfig(
        vocab_size=24,
        family="gpt2",
        layers=1,
        hidden_size=16,
        heads=2,
        feed_forward_size=32,
        max_positions=16,
        segment_types=0,
    )
    with pytest.raises(ClueBenchError, match="left to right"):
        new_classifier(config, outputs, kind)


def test_a_file_of_ones_own_in_squads_layout_needs_no_card(checkpoint_folder, tmp_path):
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(squad(120, seed=8)), encoding="utf-8")
    run = cb.finetune(None, checkpoint_folder, data=path, out=tmp_path / "run", steps=5, settings=FAST, progress=False)
    assert (run.task, run.record.data.held_out.rows) == ("questions", 12)
    assert run.record.task.card["kind"] == "span"
    assert len(cb.load_model(run).predict_file(path)) == 120


def test_a_card_of_spans_has_no_labels():
    with pytest.raises(ValueError, match="none for spans"):
        card(labels=["0", "1"], label_descriptions=["", ""])
