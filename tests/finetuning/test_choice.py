"""Questions with choices: how they are read and encoded, that a run learns them, and what comes of it."""

import asyncio
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import clue_bench as cb
from clue_bench.analysis.report import write_report
from clue_bench.api.submissions import submit
from clue_bench.doors.checkpoint import read_checkpoint
from clue_bench.doors.records import FileFacts
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.baselines import run_floor
from clue_bench.finetuning.encode import collate, encode, scores_of_rows
from clue_bench.finetuning.settings import make_settings
from clue_bench.language import using
from clue_bench.prediction.predictor import Predictor
from clue_bench.prediction.serving.limits import Limits
from clue_bench.prediction.serving.service import RefusedError, Service
from clue_bench.tasks.choices import choices_of, right_choice
from clue_bench.tasks.own import data_folder, rows_of
from clue_bench.tasks.own_about import about_rows
from clue_bench.tasks.own_task import own_task_of
from clue_bench.tasks.rows import Rows, read_rows
from clue_bench.tasks.task import Task, load_task

FAST = {"learning_rate": 1e-2, "batch_size": 16, "max_length": 32, "precision": "fp32", "max_evaluations": 2}
CHARACTERS = list("的一是在了有和人这中大为上个国我以要他时来用们")


def passages(number, *, seed, is_test=False):
    """Passages in C3's layout, a question each, of two or three choices; the right one holds 不."""
    generator = np.random.default_rng(seed)

    def text(length):
        return "".join(generator.choice(CHARACTERS, length))

    made = []
    for place in range(number):
        choices = [text(3) for _ in range(2 + place % 2)]
        right = int(generator.integers(len(choices)))
        choices[right] += "不不"
        question = {"question": text(3), "choice": choices, "answer": "" if is_test else choices[right]}
        made.append([[text(4), text(3)], [question], str(place)])
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "c3").mkdir()
    for split, number in (("train", 90), ("dev", 20)):
        for kind, seed in (("d", 1), ("m", 2)):
            made = passages(number, seed=seed + number)
            (folder / "c3" / f"{kind}-{split}.json").write_text(json.dumps(made), encoding="utf-8")
    for kind in "dm":
        made = passages(3, seed=9, is_test=True)
        (folder / "c3" / f"{kind}-test.json").write_text(json.dumps(made), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(data, checkpoint_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "c3"
    return cb.finetune("c3", checkpoint_folder, data=data, out=out, steps=60, settings=FAST, progress=False)


def test_what_to_type_next_names_the_choices(finished):
    assert finished.row_options == ["--text-pair", "TEXT", "--choice", "CHOICE", "--choice", "CHOICE"]
    with pytest.raises(ClueBenchError, match="row 0: 2 texts") as raised:
        cb.load_model(finished).predict([("男：你好。", "谁说的？")])
    assert "--choice" in raised.value.hint


@pytest.mark.parametrize(
    ("texts", "refused"),
    [
        (["男：你好。", "谁说的？", "男", "女"], ""),
        (["", "谁说的？", "男", "女", "无"], ""),
        (["甲", "乙", "丙"], "3 texts"),
    ],
)
def test_a_model_of_choices_is_served(texts, refused, finished):
    async def ask():
        service = Service([Predictor.open(finished.folder)], Limits(max_batch=2))
        await service.start()
        try:
            return service.models(), await service.predict(json.dumps({"texts": [texts]}).encode())
        finally:
            await service.close()

    if refused:
        with pytest.raises(RefusedError, match=refused):
            asyncio.run(ask())
        return
    models, found = asyncio.run(ask())
    assert models.models[0].choices_from == 2
    assert sorted(each.description for each in found.predictions[0].labels) == sorted(texts[2:])


def test_a_report_says_what_the_labels_of_choices_and_the_interval_are(finished, data, tmp_path):
    text = {}
    for language in ("en", "zh"):
        with using(language):
            write_report(finished.folder, data, tmp_path / "report.html")
        text[language] = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Labels are the numbers of choices, from 0. The interval draws whole passages" in text["en"]
    assert "Wilson" not in text["en"]
    for meaningless in ("Majority class", "majority class", "macro-F1", "Macro-F1", ">F1<", "Scores per label"):
        assert meaningless not in text["en"]
    assert "Always the same choice" in text["en"]
    assert "标签是选项的序号，从 0 算起。区间按整篇抽取" in text["zh"]


def test_both_files_are_one_split_whose_answers_are_numbers(data):
    rows = read_rows(load_task("c3"), data)
    assert {split: len(part) for split, part in rows.items()} == {"train": 180, "dev": 40, "nlpdata": 6}
    dev = rows["dev"]
    assert dev.ids == list(range(40))
    assert {len(texts) for texts in dev.texts} == {4, 5}
    assert all("不" in texts[2 + right] for texts, right in zip(dev.texts, dev.labels, strict=True))
    assert "\n" in dev.texts[0][0]
    assert set(rows["nlpdata"].labels.tolist()) == {-1}
    (data / "c3" / "m-dev.json").rename(data / "c3" / "away")
    with pytest.raises(ClueBenchError, match="but no m-dev"):
        read_rows(load_task("c3"), data)
    (data / "c3" / "away").rename(data / "c3" / "m-dev.json")


def test_a_choice_is_a_sequence_behind_passage_and_question(checkpoint_folder):
    vocabulary = read_checkpoint(checkpoint_folder).vocabulary
    facts = FileFacts(rows=2, md5="", expected_rows=None, expected_md5=None)
    texts = [("我们在学", "中国", "人", "大家"), ("不同意", "人", "发动", "有了", "时地")]
    rows = Rows(texts, np.array([1, 2]), [0, 1], facts, choices_from=2)
    encoded = encode(rows, vocabulary, max_length=64)
    ids = {text: vocabulary.encoder(special_tokens=True).ids([text])[0] for row in texts for text in row}
    for sequence, (row, choice) in enumerate([(0, 2), (0, 3), (1, 2), (1, 3), (1, 4)]):
        parts = [ids[texts[row][n]] for n in (0, 1, choice)]
        end = [vocabulary.separator]
        expected = [vocabulary.start, *parts[0], *end, *parts[1], *end, *parts[2], *end]
        part = slice(encoded.offsets[sequence], encoded.offsets[sequence + 1])
        assert encoded.ids[part].tolist() == expected
        assert encoded.segments[part].tolist() == [0] * (len(parts[0]) + 2) + [1] * (len(expected) - len(parts[0]) - 2)
    assert encoded.firsts.tolist() == [0, 2, 5]
    cut = encode(rows, vocabulary, max_length=9)  # five tokens: the passage loses the most
    assert np.diff(cut.offsets).max() == 9
    assert cut.truncated.tolist() == [True, True]
    batch = collate(encoded, np.array([1, 0]), pad=0, device=torch.device("cpu"))
    logits = scores_of_rows(torch.arange(5.0)[:, None], batch)
    assert logits.argmax(1).tolist() == [2, 1]
    assert batch.labels_B.tolist() == [2, 1]
    expected = F.cross_entropy(torch.arange(3.0)[None], torch.tensor([2]))
    assert F.cross_entropy(logits[:1], batch.labels_B[:1]) == expected
    assert logits[1, 2].exp() == 0  # a choice that the question does not have


def test_a_run_learns_which_choice_is_right_and_records_it(finished, data):
    assert finished.accuracy > 0.9
    lines = (finished.folder / "predictions" / "nlpdata.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(6))
    assert {json.loads(line)["label"] for line in lines} <= {"0", "1", "2"}
    scored = cb.score(finished.folder / "predictions" / "dev.jsonl", task="c3", data=data)
    assert scored.value == finished.accuracy
    assert scored.to_json()["chance"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_transformers_scores_choices_as_we_do(finished):
    from transformers import AutoModelForMultipleChoice, AutoTokenizer

    model = AutoModelForMultipleChoice.from_pretrained(finished.checkpoint).eval()
    assert type(model).__name__ in finished.checkpoint.joinpath("config.json").read_text(encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(finished.checkpoint)
    row = ("我们在国", "他是人", "的一是", "在了不")
    rest = [f"{row[1]}[SEP]{choice}" for choice in row[2:]]
    given = tokenizer([row[0]] * 2, rest, return_tensors="pt", padding=True)
    with torch.no_grad():
        logits = model(**{key: value[None] for key, value in given.items()}).logits
    (found,) = cb.load_model(finished).predict([row], top=2)
    shares = {score.label: (score.description, score.probability) for score in found.scores}
    theirs = logits.softmax(-1)[0].tolist()
    assert shares["0"] == ("的一是", pytest.approx(theirs[0], abs=1e-4))
    assert shares["1"] == ("在了不", pytest.approx(theirs[1], abs=1e-4))


def test_a_model_of_choices_wants_two_of_them(finished, data):
    model = cb.load_model(finished)
    assert model.predict_split("dev", data=data).accuracy == finished.accuracy
    with pytest.raises(ClueBenchError, match="3 texts, expected 4"):
        model.predict([("我们", "他", "的")])


def test_predictions_of_the_test_set_in_another_order_are_no_submission(finished, tmp_path):
    with pytest.raises(ClueBenchError, match="predicted dev, nlpdata, expected") as caught:
        submit([finished], out=tmp_path / "submit.zip")
    assert "test1.1.json" in caught.value.hint


@pytest.mark.parametrize("kind", ["majority", "tfidf"])
def test_floors_score_choices(data, kind, tmp_path):
    task = load_task("c3")
    record = run_floor(task, read_rows(task, data), data=data, kind=kind, seed=1, out=tmp_path, asked={})
    assert 0 < record.completed_results.dev.accuracy <= 1


def test_an_overlap_with_the_passage_is_what_the_linear_model_sees(data, tmp_path):
    task, generator = load_task("c3"), np.random.default_rng(3)
    facts = FileFacts(rows=60, md5="", expected_rows=None, expected_md5=None)

    def rows(number):
        texts, labels = [], []
        for place in range(number):
            choices = ["".join(generator.choice(CHARACTERS, 4)) for _ in range(3)]
            right = place % 3
            texts.append((f"他说{choices[right]}的", "他说", *choices))
            labels.append(right)
        return Rows(texts, np.array(labels), list(range(number)), facts, choices_from=2)

    record = run_floor(
        task, {"train": rows(90), "dev": rows(30)}, data=data, kind="tfidf", seed=1, out=tmp_path, asked={}
    )
    assert record.completed_results.dev.accuracy > 0.9


def test_label_smoothing_and_class_balance_are_for_classes(data, checkpoint_folder):
    sizes = open_pretrained(checkpoint_folder).sizes
    for name in ("class_balance", "label_smoothing"):
        with pytest.raises(ClueBenchError, match=name):
            make_settings(load_task("c3"), sizes, {name: 0.1}, train_rows=100)


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("乙", 1),
        ("B", 1),
        ("b", 1),
        ("0", 0),
        ("2", 2),
        ("Ｃ", 2),
        ("２", 2),
        ("乙 ", 1),
        ("3", None),
        ("D", None),
        ("丁", None),
    ],
)
def test_an_answer_is_a_text_a_letter_or_a_number(answer, number):
    if number is None:
        with pytest.raises(ClueBenchError, match="none of the choices"):
            right_choice(answer, ["甲", "乙", "丙"], where="line 1")
    else:
        assert right_choice(answer, ["甲", "乙", "丙"], where="line 1") == number


def test_a_text_comes_before_a_number():
    assert right_choice("1", ["3", "2", "1"], where="") == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([["甲", "乙"]], ["甲", "乙"]),
        (['["甲", "乙", "丙"]'], ["甲", "乙", "丙"]),
        (["甲", "乙", ""], ["甲", "乙"]),
        (["甲", "", "乙"], "empty"),
        ([[7, 8.5]], [7, 8.5]),
        (["甲", ""], "1 choice"),
        (["甲、乙"], "no list"),
        ([["甲"] * 5], "5 choices"),
    ],
)
def test_choices_are_a_list_or_columns(values, expected):
    if isinstance(expected, list):
        assert choices_of(values, most=4, where="line 1") == expected
    else:
        with pytest.raises(ClueBenchError, match=expected):
            choices_of(values, most=4, where="line 1")


HEADERS = [
    "passage,question,A,B,C,answer",
    "文章,问题,选项A,选项B,选项C,答案",
    "article,question,choice1,choice2,choice3,label",
]


@pytest.mark.parametrize("header", HEADERS)
def test_a_csv_of_questions_needs_no_card(header, checkpoint_folder, tmp_path):
    lines = [header]
    for sentences, (question,), _ in passages(60, seed=4):
        choices = [*question["choice"], "", ""][:3]
        lines.append(",".join(["".join(sentences), question["question"], *choices, question["answer"]]))
    path = tmp_path / "quiz.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = cb.finetune(None, checkpoint_folder, data=path, out=tmp_path / "run", steps=40, settings=FAST, progress=False)
    assert run.record.data.held_out.rows == 6
    assert run.accuracy > 0.8
    predicted = cb.load_model(run).predict_file(path)
    assert predicted.accuracy > 0.8
    assert predicted.rows[0].description == passages(60, seed=4)[0][1][0]["answer"]


def test_a_card_of_choices_names_their_fields():
    values = load_task("c3").model_dump()
    with pytest.raises(ValueError, match="choice_fields belong to"):
        Task.model_validate({**values, "choice_fields": []})


def test_answers_that_count_from_one_are_warned_of(tmp_path):
    rows = [{"passage": f"今天{n}号", "question": "几号？", "choices": ["一", "二", "三"]} for n in range(30)]
    for first, is_warned in ((0, False), (1, True)):
        text = "".join(json.dumps({**row, "answer": first + n % 2}) + "\n" for n, row in enumerate(rows))
        (tmp_path / "mine.jsonl").write_text(text, encoding="utf-8")
        found, _ = rows_of(tmp_path / "mine.jsonl", None)
        card, own, _ = own_task_of(None, found, tmp_path / "mine.jsonl", text=None, label=None)
        with data_folder(card, own) as folder:
            said = about_rows("mine", card, read_rows(card, folder), own.held_out)
        assert any("the first choice is never right, in 30 questions" in each for each in said) == is_warned


def test_unknown_tokens_of_choices_are_counted_by_question(checkpoint_folder):
    vocabulary = read_checkpoint(checkpoint_folder).vocabulary
    texts = [("我们龘学", "中国", "人", "大人"), ("不同人", "人", "发动", "有龘", "时地"), ("我", "人", "中", "国")]
    facts = FileFacts(rows=3, md5="", expected_rows=None, expected_md5=None)
    unknown = Rows(texts, np.array([1, 2, 0]), [0, 1, 2], facts, choices_from=2)
    read = encode(unknown, vocabulary, max_length=64).read
    each = [len(row[0] + row[1] + choice) for row in texts for choice in row[2:]]
    assert (read.rows, read.tokens, read.unknown_tokens, read.unknown_rows) == (3, sum(each), 3, 2)
