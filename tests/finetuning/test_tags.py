"""Entities of texts: reading, places, decoding, a run that learns, and what comes of it. All data here are made up."""

import asyncio
import itertools
import json
import zipfile

import numpy as np
import pytest
import sentencepiece
import torch
import transformers

import clue_bench as cb
from clue_bench.analysis.comparison import compare_runs
from clue_bench.analysis.examine import _with_entities
from clue_bench.analysis.report import write_report
from clue_bench.api.boards import leaderboard
from clue_bench.api.data import new_card
from clue_bench.api.submissions import check_submission, submit
from clue_bench.cli import main
from clue_bench.doors.checkpoint import read_checkpoint, write_checkpoint
from clue_bench.doors.records import FileFacts
from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.heads import new_classifier
from clue_bench.finetuning.base_models.opening import open_pretrained
from clue_bench.finetuning.base_models.tokenisers import FolderTokeniser
from clue_bench.finetuning.encode import Layout, Tokeniser, bert_tokeniser, collate, encode_tags, scores_of_rows
from clue_bench.finetuning.entity_baselines import look_up_entities
from clue_bench.finetuning.tags import best_tags, runs_of, scheme_of
from clue_bench.finetuning.windows import placed_by
from clue_bench.models.config import ModelConfig
from clue_bench.prediction.serving.limits import Limits
from clue_bench.prediction.serving.service import Service
from clue_bench.stats.entity_scores import entity_f1
from clue_bench.tasks.entities import (
    Entity,
    count_entities,
)
from clue_bench.tasks.rows import Rows, read_rows
from clue_bench.tasks.task import load_task
from clue_bench.vocab import read_vocabulary
from clue_bench.weights.hf_config import classifier_class

FAST = {"learning_rate": 1e-2, "batch_size": 16, "max_length": 32, "precision": "fp32", "max_evaluations": 2}
CHARACTERS = list("的一是在了有和人这中大为上个国我以要他时来用们")
NAMES = {"name": "发动同", "company": "意子也", "scene": "能下过"}  # characters that stand nowhere else
TYPES = ("name", "company")
OUTPUTS = ("B-name", "O", "I-company", "I-name", "B-company")  # in an order that is not ours
SCHEME = scheme_of(OUTPUTS, "here")


def cluener(number, *, seed):
    """CLUENER's layout: words of two or three characters of a type between others."""
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(number):
        text, label = "", {}
        for kind in draw.permutation(list(NAMES))[: draw.integers(0, 4)]:
            text += "".join(draw.choice(CHARACTERS, draw.integers(1, 4)))
            words = "".join(draw.choice(list(NAMES[kind]), draw.integers(2, 4)))
            label.setdefault(str(kind), {}).setdefault(words, []).append([len(text), len(text) + len(words) - 1])
            text += words
        rows.append({"text": text + "".join(draw.choice(CHARACTERS, 2)), "label": label})
    return rows


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for split, number in (("train", 300), ("dev", 60), ("test", 1345)):
        rows = cluener(number, seed=number)
        if split == "test":
            rows = [{"id": number, "text": row["text"]} for number, row in enumerate(rows)]
        write(folder / "cluener" / f"{split}.json", rows)
    return folder


@pytest.fixture(scope="module")
def finished(data, checkpoint_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "cluener"
    return cb.finetune("cluener", checkpoint_folder, data=data, out=out, steps=120, settings=FAST, progress=False)


@pytest.fixture(scope="module")
def floors(data, tmp_path_factory):
    return {run.model: run for run in cb.floor("cluener", data=data, out=tmp_path_factory.mktemp("floors"))}


@pytest.fixture(scope="module")
def tokeniser(checkpoint_folder):
    return bert_tokeniser(read_checkpoint(checkpoint_folder).vocabulary)


def rows_of(*rows):
    facts = FileFacts(rows=len(rows), md5="", expected_rows=None, expected_md5=None)
    texts = [(text,) for text, _ in rows]
    entities = tuple(tuple(found) for _, found in rows)
    return Rows(texts, np.zeros(len(rows), np.int64), list(range(len(rows))), facts, entities=entities)


def counts_of(found, right):
    return count_entities(found, right, TYPES)


@pytest.mark.parametrize("seed", range(20))
def test_the_best_tags_are_the_best_of_all_possible_ones(seed):
    draw = np.random.default_rng(seed)
    sizes = np.array([5, 4, 4, 1, 0])
    shares = np.log(draw.dirichlet(np.ones(len(OUTPUTS)) / 4, (len(sizes), 5)))
    found = best_tags(shares, sizes, SCHEME)
    for row, size in enumerate(sizes.tolist()):
        best = max(
            (sum(shares[row, at, tag] for at, tag in enumerate(tags)), tags)
            for tags in itertools.product(range(len(OUTPUTS)), repeat=size)
            if is_possible(tags)
        )
        assert is_possible(found[row, :size].tolist())
        assert sum(shares[row, at, tag] for at, tag in enumerate(found[row, :size])) == pytest.approx(best[0])


def is_possible(tags):
    names = ["O", *(OUTPUTS[tag] for tag in tags)]
    return all(b[0] != "I" or a in (f"B{b[1:]}", b) for a, b in itertools.pairwise(names))


def test_runs_of_tags_are_entities_and_neighbours_of_a_type_stay_apart():
    tags = np.array([OUTPUTS.index(name) for name in ("B-name", "I-name", "B-name", "O", "B-company", "I-company")])
    assert list(runs_of(tags, SCHEME)) == [("name", 0, 1), ("name", 2, 2), ("company", 4, 5)]


@pytest.mark.parametrize("outputs", [("O", "B-a"), ("B-a", "I-a"), ("O", "B-a", "I-a", "S-a"), ("O",), ("0", "1")])
def test_other_outputs_than_o_b_and_i_are_refused(outputs):
    with pytest.raises(ClueBenchError, match="expected O, and B-type"):
        scheme_of(outputs, "model")


def decoded(encoded):
    """What a model finds that is sure of the tags that it was taught."""
    logits = np.zeros((len(encoded.ids), len(OUTPUTS)), np.float32)
    known = np.flatnonzero(encoded.tagged.tags >= 0)
    logits[known, encoded.tagged.tags[known]] = 30.0
    return [
        [(each.entity.label, each.entity.first, each.text) for each in found.entities]
        for found in encoded.tagged.found(logits, encoded.offsets)
    ]


TEXTS = [
    ("光荣和ω-force开发了《战国无双3》。", "ω-force"),
    ("USS Port  Royal (CG-73)\n是 导弹巡洋舰", "Port  Royal (CG-73)"),
    ("于1942年8月，café在Paris开业", "Paris"),
    ("　全角ＡＢＣ空格　", "ＡＢＣ"),
    ("在[SEP]和[MASK]之间", "和"),
    ("他\u200b说\u200b，走了", "说"),
    ("cafe\u0301 在🎉𠮷🎉开业", "🎉𠮷🎉"),
]


@pytest.mark.parametrize(("text", "words"), TEXTS)
@pytest.mark.parametrize("through", ["ours", "transformers"])
def test_places_are_exact(text, words, through, tokeniser, checkpoint_folder):
    folder = read_checkpoint(checkpoint_folder).folder
    chosen = tokeniser
    if through == "transformers":
        chosen = FolderTokeniser(folder, model_type="bert", segment_types=2).tokeniser
    at = text.index(words)
    encoded = encode_tags(
        rows_of((text, [Entity(at, at + len(words) - 1, "name")])), chosen, max_length=64, scheme=SCHEME
    )
    assert encoded.tagged.lost == (0, 0, 0)
    assert decoded(encoded) == [[("name", at, words)]]


@pytest.mark.parametrize("kind", ["ours", "xlm-roberta"])
def test_places_are_exact_under_sentencepiece(kind, tmp_path):
    words = ["光荣", "战国无双", "导弹巡洋舰", "开业", "Paris", "在", "走了", "，"]
    draw = np.random.default_rng(0)
    file = tmp_path / ("spiece.model" if kind == "ours" else "sentencepiece.bpe.model")
    names = {"pad_piece": "[PAD]", "unk_piece": "[UNK]"} if kind == "ours" else {}
    names |= {"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3} if kind == "ours" else {}
    names |= {"bos_piece": "[CLS]", "eos_piece": "[SEP]", "user_defined_symbols": ["[MASK]"]} if kind == "ours" else {}
    with file.open("wb") as out:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter("".join(draw.choice(words, 9)) for _ in range(300)),
            **{"model_writer": out, "vocab_size": 60, "hard_vocab_limit": False, "minloglevel": 2, **names},
        )
    if kind == "ours":
        place = placed_by(read_vocabulary(file).encoder(special_tokens=False))
    else:
        (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "XLMRobertaTokenizer"}', encoding="utf-8")
        place = FolderTokeniser(tmp_path, model_type=kind, segment_types=1).tokeniser.place
    text = "在Paris，战国无双走了 导弹巡洋舰"
    layout = Layout(((2, 0), (-1, 0), (3, 0)), ((2, 0), (-1, 0), (3, 0), (-1, 0)), 0)
    right = [Entity(1, 5, "name"), Entity(7, 10, "company"), Entity(14, 18, "name")]
    encoded = encode_tags(rows_of((text, right)), Tokeniser(None, layout, place), max_length=64, scheme=SCHEME)
    found = decoded(encoded)[0]
    sure = [(each.label, each.first, text[each.first : each.last + 1]) for each in right]
    if encoded.tagged.lost == (0, 0, 0):
        assert found == sure
    assert all(text.startswith(words, first) for _, first, words in found)


def test_an_entity_inside_a_token_is_widened_and_counted(tokeniser):
    text = "在xyzxyz国"  # a word that the vocabulary lacks
    rows = rows_of((text, [Entity(3, 6, "name")]), ("人在", [Entity(0, 0, "name")]))
    encoded = encode_tags(rows, tokeniser, max_length=32, scheme=SCHEME)
    assert encoded.tagged.lost == (0, 1, 0)
    assert decoded(encoded) == [[("name", 1, "xyzxyz")], [("name", 0, "人")]]
    rows = rows_of((text, [Entity(1, 2, "name"), Entity(3, 4, "company")]))
    assert encode_tags(rows, tokeniser, max_length=32, scheme=SCHEME).tagged.lost == (0, 1, 1)


def test_what_stands_behind_the_cut_is_counted_and_missed(tokeniser):
    text = "".join(CHARACTERS)[:20]
    right = [Entity(1, 2, "name"), Entity(7, 9, "name"), Entity(15, 16, "company")]
    encoded = encode_tags(rows_of((text, right)), tokeniser, max_length=10, scheme=SCHEME)  # 8 characters
    assert (encoded.tagged.lost, encoded.truncated_rows) == ((2, 0, 0), 1)
    assert decoded(encoded) == [[("name", 1, text[1:3])]]
    found = [[Entity(first, first + len(words) - 1, label) for label, first, words in decoded(encoded)[0]]]
    assert entity_f1(counts_of(found, [right])) == pytest.approx((2 / 3 + 0) / 2)


def test_unknown_tokens_of_texts_with_entities_are_counted(tokeniser):
    rows = rows_of(("我们龘龘", [Entity(0, 1, "name")]), ("人中国", []), ("龘" * 9, []))
    read = encode_tags(rows, tokeniser, max_length=8, scheme=SCHEME).read
    assert read.model_dump() == {
        "rows": 3, "truncated_rows": 1, "tokens": 13, "unknown_tokens": 8, "unknown_rows": 2,
    }  # fmt: skip


def test_a_loss_is_of_the_tokens_that_have_a_tag(tokeniser):
    rows = rows_of(("我们在这个国家", [Entity(0, 1, "name")]), ("人", []))
    encoded = encode_tags(rows, tokeniser, max_length=32, scheme=SCHEME)
    batch = collate(encoded, np.array([0, 1]), pad=0, device=torch.device("cpu"))
    logits = torch.randn(2, batch.ids_BS.shape[1], len(OUTPUTS))
    assert [OUTPUTS[tag] for tag in batch.labels_B.tolist()] == ["B-name", "I-name", *["O"] * 6]
    lines = scores_of_rows(logits, batch)
    assert torch.equal(lines[:7], logits[0, 1:8])
    assert torch.equal(lines[7], logits[1, 1])


def test_a_run_learns_entities_and_records_them(finished, data):
    results = finished.record.completed_results
    assert finished.record.task.metric == "entity_f1"
    assert finished.record.data.passages is None
    assert finished.macro_f1 > 0.8
    assert finished.record.flags == []
    assert entity_f1(results.dev_entities.unpack()) == pytest.approx(finished.macro_f1)
    scored = cb.score(finished.folder / "predictions" / "dev.jsonl", task="cluener", data=data)
    assert scored.value == pytest.approx(finished.macro_f1)
    assert {metric.key: metric.value for metric in scored.scored.metrics}["accuracy"] == finished.accuracy
    assert scored.to_json()["metric"] == "entity_f1"
    lines = (finished.folder / "predictions" / "dev.jsonl").read_text(encoding="utf-8").splitlines()
    assert sum(json.loads(line)["label"] == json.loads(line)["gold"] for line in lines) == finished.scores.correct
    assert "dev macro-F1" in str(finished)


def test_a_model_finds_entities_with_places_and_probabilities(finished, data, tmp_path):
    model = cb.load_model(finished)
    found = model.predict(["我们发动同在意子大", "我们在"])
    (first, second) = found.rows
    assert [(each.text, each.label, each.start, each.end) for each in first.entities][:1] == [("发动同", "name", 2, 4)]
    assert all(0 < each.probability <= 1 for each in first.entities)
    row = first.to_json()
    assert row["label"]["name"] == {"发动同": [[2, 4]]}
    assert row["entities"][0]["description"] == "姓名"
    assert second.to_json()["label"] == {}
    assert "2–4" in str(found)
    again = model.predict_split("dev", data=data, progress=False)
    assert (again.accuracy, again.summary["entity_f1"]) == (finished.accuracy, pytest.approx(finished.macro_f1))
    file = write(tmp_path / "dev.json", [{"id": n, **row} for n, row in enumerate(cluener(60, seed=60))])
    of_file = model.predict_file(file, progress=False)
    assert of_file.rows[0].to_json()["entities"] == again.rows[0].to_json()["entities"]
    for name, each in itertools.product(("out.jsonl", "out.csv"), (again, of_file)):
        each.write(tmp_path / name)
        assert cb.score(tmp_path / name, task="cluener", data=data).value == pytest.approx(finished.macro_f1)


def test_transformers_opens_the_model_and_gives_the_same_tags(finished):
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(finished.checkpoint).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(finished.checkpoint)
    assert type(theirs).__name__ == "BertForTokenClassification"
    assert set(theirs.config.id2label.values()) == set(load_task("cluener").outputs)
    text = "我们发动同在意子大能下"
    with torch.no_grad():
        shares = theirs(**tokenizer(text, return_tensors="pt")).logits[:, 1:-1].log_softmax(-1).double().numpy()
    outputs = [theirs.config.id2label[number] for number in range(shares.shape[-1])]
    tags = best_tags(shares, np.array([len(text)]), scheme_of(outputs, "theirs"))[0]
    names = [outputs[tag] for tag in tags]
    (row,) = cb.load_model(finished).predict([text])
    ours = ["O"] * len(text)
    for each in row.entities:
        ours[each.start : each.end + 1] = [f"B-{each.label}", *[f"I-{each.label}"] * (each.end - each.start)]
    assert names == ours


@pytest.mark.parametrize("family", ["albert", "roformer"])
def test_every_encoder_of_ours_is_the_class_of_transformers(family, tmp_path, vocabulary_file):
    sizes = {"layers": 2, "hidden_size": 32, "heads": 2, "feed_forward_size": 64, "max_positions": 32}
    vocabulary = read_vocabulary(vocabulary_file)
    config = ModelConfig(vocab_size=len(vocabulary), family=family, segment_types=2, **sizes)
    torch.manual_seed(0)
    model = new_classifier(config, len(OUTPUTS), "tags").eval()
    write_checkpoint(
        tmp_path / "model",
        model.checkpoint_state(),
        architecture=classifier_class(family, "tags"),
        config=config,
        vocabulary=vocabulary,
        labels=OUTPUTS,
        provenance={},
    )
    ids = torch.tensor([[3, 8, 9, 10, 4]])
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path / "model").eval()
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, model(ids, None, None), atol=1e-5)
        again = open_pretrained(tmp_path / "model").trained().eval()
        assert torch.allclose(again(ids, None, None), model(ids, None, None), atol=1e-6)


@pytest.mark.parametrize("kind", ["electra", "xlm-roberta"])
def test_a_foreign_model_learns_entities_through_transformers(kind, data, make_foreign, tmp_path):
    folder = make_foreign(kind, tmp_path / "base", characters=[*CHARACTERS, *"".join(NAMES.values())])
    run = cb.finetune("cluener", folder, data=data, out=tmp_path / "run", steps=120, settings=FAST, progress=False)
    assert run.macro_f1 > 0.4
    again = cb.load_model(run).predict_split("dev", data=data, progress=False)
    assert again.accuracy == run.accuracy
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(run.checkpoint)
    assert type(theirs).__name__.startswith({"electra": "Electra", "xlm-roberta": "XLMRoberta"}[kind])


def test_the_floors_find_nothing_and_what_train_names(floors, data):
    assert floors["floor-nothing"].macro_f1 == 0
    assert floors["floor-nothing"].record.flags == ["majority_class"]
    assert floors["floor-dictionary"].macro_f1 > 0.5
    dev = read_rows(load_task("cluener"), data)["dev"]
    lines = (floors["floor-dictionary"].folder / "predictions" / "dev.jsonl").read_text(encoding="utf-8").splitlines()
    for line, (text,) in zip(lines, dev.texts, strict=True):
        for of_label in json.loads(json.loads(line)["label"]).values():
            assert all(text[a : b + 1] == words for words, places in of_label.items() for a, b in places)


def test_the_dictionary_takes_the_longest_entity_and_its_most_frequent_type(tmp_path):
    train = rows_of(
        ("北京大学", [Entity(0, 1, "name"), Entity(0, 3, "company")]),
        ("北京", [Entity(0, 1, "name")]),
        ("北京", [Entity(0, 1, "company")]),
    )
    fitted = look_up_entities({"train": train, "dev": rows_of(("在北京大学和北京", []), ("", []))})
    (first, second) = fitted.answers["dev"].tags
    assert [(each.text, each.entity.label, each.probability) for each in first.entities] == [
        ("北京大学", "company", 1.0),
        ("北京", "name", 0.666667),
    ]
    assert (second.entities, second.probability) == ((), 1.0)


def test_runs_are_compared_by_the_macro_f1(finished, floors):
    compared = compare_runs([finished.folder], [floors["floor-nothing"].folder])
    values = compared.to_json()
    assert (values["metric"], compared.discordance) == ("entity_f1", None)
    assert values["a"]["accuracy"] == pytest.approx(finished.macro_f1)
    assert values["b"]["accuracy"] == pytest.approx(0)
    assert compared.is_separated
    assert "dev macro-F1" in str(compared)


def test_boards_show_and_rank_the_macro_f1(finished, floors, tmp_path):
    board = leaderboard([finished.folder, *(run.folder for run in floors.values())], out=tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"{100 * finished.macro_f1:.2f}%" in text
    assert "stands for accuracy: CLUENER" in text
    assert "CLUENER" in str(board)
    assert "*实体词典 (无预训练)*" in text
    assert "nothing found" in str(board)
    assert "TF-IDF" not in str(board)


def test_a_report_marks_right_and_found_entities_and_scores_types(finished, floors, data, tmp_path):
    right, found = (Entity(0, 1, "name"), Entity(3, 3, "name")), {Entity(0, 2, "name"), Entity(3, 3, "company")}
    assert _with_entities(("我们在学校",), right, found) == ("⟦【我们】在⟧【⟦学⟧】校",)
    for run in (finished, floors["floor-nothing"]):
        write_report(run.folder, data, tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert "Dev macro-F1" in page
        assert 'id="confusion"' not in page
        assert "name 姓名" in page
    assert "【" in page
    assert "no entity" in page


def test_a_submission_holds_objects_of_entities_and_faults_are_refused(finished, data, tmp_path):
    submit([finished], out=tmp_path / "submit.zip", data=data)
    with zipfile.ZipFile(tmp_path / "submit.zip") as archive:
        lines = archive.read("cluener_predict.json").decode().splitlines()
    assert len(lines) == 1345
    assert json.loads(lines[0])["id"] == 0
    texts = [text for (text,) in read_rows(load_task("cluener"), data)["test"].texts]
    for line, text in zip(lines, texts, strict=True):
        for of_label in json.loads(line)["label"].values():
            assert all(text[a : b + 1] == words for words, places in of_label.items() for a, b in places)
    at = next(number for number, line in enumerate(lines) if '"name"' in line)
    row = json.loads(lines[at])
    ((words, ((first, last),)),) = list(row["label"]["name"].items())[:1]
    broken = {
        "expected an object": {**row, "label": "name"},
        "type 'person'": {**row, "label": {"person": {words: [[first, last]]}}},
        "another number": {**row, "label": {"name": {words: [[first, last + 1]]}}},
        "where stands '": {**row, "label": {"name": {words: [[first + 1, last + 1]]}}},
        "the places of": {**row, "label": {"name": {words: [first, last]}}},
        "no entities as": {**row, "label": {"name": [words]}},
        "field 'text'": {**row, "text": texts[at]},
        "no field 'label'": {"id": row["id"]},
        "id 9999": {**row, "id": 9999},
    }
    for message, changed in broken.items():
        made = [*lines[:at], json.dumps(changed, ensure_ascii=False), *lines[at + 1 :]]
        with zipfile.ZipFile(tmp_path / "submit_x.zip", "w") as archive:
            archive.writestr("cluener_predict.json", "\n".join(made) + "\n")
        with_data = None if message == "another number" else data
        with pytest.raises(ClueBenchError, match=message) as caught:
            check_submission(tmp_path / "submit_x.zip", data=with_data)
        assert f"line {at + 1}" in caught.value.message


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": 0, "label": {"person": {"a": [[0, 0]]}}}, "none of cluener's 10 labels"),
        ({"id": 0, "label": "发动"}, "id '0': no entities"),
        ({"id": 0, "label": ["发动"]}, "expected one answer"),
    ],
)
def test_predictions_that_are_no_entities_are_refused(row, message, data, tmp_path):
    rows = [row, *({"id": number, "label": {}} for number in range(1, 60))]
    with pytest.raises(ClueBenchError, match=message):
        cb.score(write(tmp_path / "given.json", rows), task="cluener", data=data)


def test_a_score_by_text_takes_an_entity_that_stands_twice_for_one(tmp_path):
    rows = [{"text": "李华和李华", "label": {"name": {"李华": [[0, 1], [3, 4]]}}}]
    for split in ("train", "dev"):
        write(tmp_path / "cluener" / f"{split}.json", rows)
    given = write(tmp_path / "given.json", [{"id": 0, "label": {"name": {"李华": [[0, 1], [2, 3]]}}}])
    scored = cb.score(given, task="cluener", data=tmp_path)
    values = {metric.key: metric.value for metric in scored.scored.metrics}
    assert (values["entity_f1"], values["entity_text_f1"], values["name"]) == (0.5, 1.0, 0.5)
    assert any("do not stand at their place, where" in note for note in scored.notes)


def test_a_file_of_ones_own_needs_no_card(checkpoint_folder, tmp_path):
    path = write(tmp_path / "mine.jsonl", cluener(120, seed=8))
    run = cb.finetune(None, checkpoint_folder, data=path, out=tmp_path / "run", steps=5, settings=FAST, progress=False)
    assert (run.task, run.record.task.card["kind"]) == ("mine", "tags")
    assert run.record.task.card["labels"] == ["company", "name", "scene"]
    assert len(cb.load_model(run).predict_file(path)) == 120
    card = new_card(path, out=tmp_path / "mine.toml").path
    assert load_task(str(card)).kind == "tags"


def test_the_way_from_the_command_line(data, checkpoint_folder, tmp_path, monkeypatch, capfd):
    def typed(*arguments):
        monkeypatch.setattr("sys.argv", ["clue-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert ended.value.code in (0, None), err
        return out

    monkeypatch.chdir(tmp_path)
    settings = [part for key, value in FAST.items() for part in ("--set", f"{key}={value}")]
    made = ("--task", "cluener", "--model", checkpoint_folder, "--data", data)
    assert "dev macro-F1" in typed("finetune", *made, "--out", "run", "--steps", 5, *settings)
    assert json.loads(typed("predict", "--model", "run", "--text", "我们发动在", "--json"))["num_rows"] == 1
    assert "macro-F1" in typed(
        "score", "--predictions", "run/predictions/dev.jsonl", "--task", "cluener", "--data", data
    )
    assert "cluener_predict.json" in typed("submit", "run", "--data", data, "--out", "submit.zip")
    assert "macro-F1" in typed("analyse", "run", "--data", data)
    assert "company 公司" in typed("data", "audit", "--task", "cluener", "--data", data)
    out = typed("bench", *made, "--out", "bench", "--seeds", 2, "--set", "steps=5", *settings)
    assert "CLUENER" in out
    assert "stands for accuracy: CLUENER" in out


def test_the_server_gives_entities(finished):
    async def answered():
        service = Service([cb.load_model(finished).predictor], Limits())
        await service.start()
        answer = await service.predict(json.dumps({"texts": ["我们发动同在", "我们"]}).encode())
        await service.close()
        return answer.model_dump_json(exclude_none=True)

    rows = json.loads(asyncio.run(answered()))["predictions"]
    assert rows[0]["entities"][0]["text"] == "发动同"
    assert json.loads(rows[0]["label"]) == {"name": {"发动同": [[2, 4]]}}
    assert rows[1]["entities"] == []
