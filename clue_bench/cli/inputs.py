"""The verbs before training: `tasks`, `recipes`, `data`, `vocab` and `corpus`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clue_bench.api import corpora, vocabularies
from clue_bench.api import data as task_data
from clue_bench.cli.help import Group, Verb
from clue_bench.cli.options import (
    MODEL,
    TASK,
    Data,
    Json,
    Label,
    Tasks,
    Text,
    Text2,
    columns,
    complete_recipe,
    complete_task,
    names,
)
from clue_bench.cli.terminal import print_json, print_table, show, suggest, typed
from clue_bench.tables import our_words

if TYPE_CHECKING:
    from clue_bench.cards import Kind

CARD = "A card's name, or a path ending in .toml."
Texts = Annotated[
    list[Path],
    typer.Argument(
        metavar="TEXT…", help="Text: .txt, .jsonl, .json (also .gz, .xz), .parquet, .arrow, or folders of them."
    ),
]
TextField = Annotated[str, typer.Option(metavar="KEY", help="Key of the text in JSON, or its column in a table.")]
Vocabulary = Annotated[
    str,
    typer.Option(
        metavar="FILE", help="vocab.txt or spiece.model, or a model's folder, name or hub id, whose tokenizer is used."
    ),
]
Folder = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write.")]


def _app(words: str) -> typer.Typer:
    return typer.Typer(help=words, cls=Group, no_args_is_help=True, rich_markup_mode=None)


def _cards(kind: "Kind", noun: str) -> typer.Typer:
    """Return the four commands for one kind of card."""
    app = _app(f"List, show, copy and check {noun} cards.")
    complete = complete_task if kind == "tasks" else complete_recipe
    Reference = Annotated[str, typer.Argument(metavar="CARD", help=CARD, autocompletion=complete)]

    @app.command("list", cls=Verb)
    def list_cards(json: Json = False) -> None:
        """List every card; a broken one is listed with its error."""
        rows = task_data.list_cards(kind)
        if json:
            print_json({kind: rows})
        else:
            print_table(
                ["name", "title"],
                ((row["name"], our_words(row["error"]) if row["error"] else row["title"]) for row in rows),
            )
            suggest(f"clue-bench {noun}s show NAME")

    @app.command("show", cls=Verb)
    def show_card(card: Reference, json: Json = False) -> None:
        """Print every key of a card with its value."""
        values = task_data.load_any_card(kind, card).model_dump(mode="json")
        if json:
            print_json(values)
        else:
            print_table(["key", "value"], values.items())

    @app.command(cls=Verb)
    def copy(
        card: Reference,
        to: Annotated[Path, typer.Argument(metavar="FILE", help="File to write, ending in .toml.")],
        json: Json = False,
    ) -> None:
        """Copy a card to a new file, to change it there."""
        source = task_data.copy_card(kind, card, to)
        if json:
            print_json({"from": str(source), "to": str(to)})
        else:
            print_table(["copied", "to"], [(source, to)])
            suggest(typed("clue-bench", f"{noun}s", "check", to))

    @app.command(cls=Verb)
    def check(
        cards: Annotated[
            list[str] | None, typer.Argument(metavar="CARD…", help="Cards; all of them if none is given.")
        ] = None,
        json: Json = False,
    ) -> None:
        """Check cards strictly; the first mistake is an error that names file and key."""
        checked = task_data.check_cards(kind, cards or [])
        if json:
            print_json({"checked": checked})
        else:
            print_table(["checked"], ((name,) for name in checked))

    return app


tasks = _cards("tasks", "task")
recipes = _cards("pretrain", "recipe")


@tasks.command(cls=Verb, epilog="Example: clue-bench tasks new mydata.csv --text text --label label")
def new(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="File of rows of your own, or a folder with train.csv or the like.")
    ],
    text: Text = None,
    text2: Text2 = None,
    label: Label = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the task  [default: the file's]")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Card to write, ending in .toml  [default: NAME.toml]")
    ] = None,
    json: Json = False,
) -> None:
    """Write a card for rows of your own: which columns hold texts and label, and what the labels are.

    finetune, bench and floor need no card for such rows; it is for changing titles, descriptions, metric or length.
    """
    made = task_data.new_card(data, text=columns(text, text2), label=label, name=name, out=out)
    show(made, as_json=json)
    suggest(made.command, as_json=json)


data = _app("Fetch, check and examine task data.")
vocab = _app("Train, count and prune vocabularies.")
corpus = _app("Build and inspect corpora.")


@data.command(cls=Verb, epilog="Example: clue-bench data fetch --task afqmc,tnews --data clue")
def fetch(
    task: Tasks = None,
    data: Data = Path("data"),
    mirror: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Folder that holds the zips, or a URL with {file} in it; tried first."),
    ] = None,
    json: Json = False,
) -> None:
    """Fetch missing task data, read every row, and keep only complete files.

    Sources are the card's mirrors of the official zip, in order, then the Hugging Face hub. Existing files that can be
    read are kept. HTTPS_PROXY sets a proxy, HF_ENDPOINT another hub.
    """
    found = task_data.fetch_data(names(task), data=data, mirrors=mirror or [])
    show(found, as_json=json)
    found.raise_failures()
    suggest(typed("clue-bench", "data", "audit", "--data", data), as_json=json)


@data.command(cls=Verb, epilog="Example: clue-bench data verify --task afqmc,tnews --data clue")
def verify(task: Tasks = None, data: Data = Path("data"), json: Json = False) -> None:
    """Read every row and compare row counts and md5 with the cards: official data, or another revision."""
    show(task_data.verify_data(names(task), data=data), as_json=json)


@data.command(cls=Verb, epilog="Example: clue-bench data audit --task afqmc,tnews --data clue --vocab vocab.txt")
def audit(
    task: Tasks = None,
    data: Data = Path("data"),
    vocab: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="vocab.txt, .model, or a folder that holds one; also counts tokens."),
    ] = None,
    json: Json = False,
) -> None:
    """Examine task data: rows, lengths, labels, duplicates, conflicting labels, leaks between splits.

    Texts are the same if every character of every text agrees, the two of a pair in their order. "repeated": rows
    whose texts an earlier row of the split has (rows minus distinct texts). "conflicting": distinct texts with more
    than one label, "in rows" the rows that have them. "shared texts": distinct texts in both splits, beside the rows
    of each; "but for white space" counts the same three without blanks. Characters are those of all texts of a row
    (with --json also of each field), tokens include [CLS] and [SEP], percentiles are by nearest rank. "tokens left"
    and "unknown" are shares of the texts' own tokens. Rows of dropped labels are left out; test sets count as
    unlabelled.
    """
    show(task_data.audit_data(names(task), data=data, vocabulary=vocab), as_json=json)


@vocab.command(cls=Verb, epilog="Example: clue-bench vocab train part-000.txt.xz --size 8000 --out vocab.txt")
def train(
    texts: Texts,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="File to write: vocab.txt, or spiece.model for sentencepiece.")
    ],
    kind: Annotated[
        Literal["wordpiece", "sentencepiece"],
        typer.Option(help="WordPiece (Chinese by character, lower case), or sentencepiece (words)."),
    ] = "wordpiece",
    size: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=100, help="Tokens to keep, at most; for sentencepiece exactly  [default: 8000; 100000]"
        ),
    ] = None,
    sentences: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Train sentencepiece on N random sentences, to save memory."),
    ] = None,
    text_field: TextField = "text",
    json: Json = False,
) -> None:
    """Train a vocabulary on text; the same text gives the same vocabulary."""
    show(
        vocabularies.train_vocabulary(texts, out=out, kind=kind, size=size, sentences=sentences, text_field=text_field),
        as_json=json,
    )
    suggest(typed("clue-bench", "corpus", "build", *texts, "--vocab", out, "--out", "corpus"), as_json=json)


@vocab.command(cls=Verb, epilog="Example: clue-bench vocab stats google_vocab.txt clue_vocab.txt spiece.model")
def stats(
    vocabs: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="vocab.txt or .model files, or folders that hold one.")
    ],
    json: Json = False,
) -> None:
    """Count tokens by type, as CLUECorpus2020 does, with the published counts of known files."""
    show(vocabularies.count_tokens(vocabs), as_json=json)


@vocab.command(
    cls=Verb, epilog="Example: clue-bench vocab prune google_vocab.txt --out small.txt --compare clue_vocab.txt"
)
def prune(
    vocab: Annotated[Path, typer.Argument(metavar="FILE", help="A vocab.txt, or a folder that holds one.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write, e.g. vocab.txt.")],
    compare: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Another vocabulary, to report missing and extra tokens.")
    ] = None,
    json: Json = False,
) -> None:
    """Keep what simplified Chinese needs, by the rules that made CLUE's 8,021 tokens of Google's 21,128."""
    show(vocabularies.prune_vocabulary(vocab, out=out, compare=compare), as_json=json)


@vocab.command(
    cls=Verb, epilog="Example: clue-bench vocab extend bert-base-chinese --token 新冠 --token [E1] --out extended"
)
def extend(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    out: Folder,
    token: Annotated[list[str] | None, typer.Option(metavar="TOKEN", help="A token to add; repeatable.")] = None,
    tokens: Annotated[Path | None, typer.Option(metavar="FILE", help="File with one token a line.")] = None,
    json: Json = False,
) -> None:
    """Add words or marks like [E1] to a model's vocabulary; write the model with a row for each.

    A row starts as the mean of the rows of the pieces that stood for the token. Then continue the pretraining:
    clue-bench corpus build TEXT --vocab OUT, and clue-bench pretrain --from OUT.
    """
    from clue_bench.api.checkpoints import extend_vocabulary, read_tokens

    listed = [*(token or []), *(read_tokens(tokens) if tokens else [])]
    show(extend_vocabulary(model, listed, out=out), as_json=json)


@vocab.command(
    cls=Verb, epilog="Example: clue-bench vocab exchange bert-base-chinese --vocab small.txt --out bert-base-small"
)
def exchange(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    vocab: Annotated[Path, typer.Option(metavar="FILE", help="The new vocab.txt, from vocab train or vocab prune.")],
    out: Folder,
    json: Json = False,
) -> None:
    """Give a model another vocabulary, to make it smaller, or fit for your text; write the model.

    Tokens that it has already keep their rows; others start as the mean of the rows of their pieces. Then continue the
    pretraining: clue-bench corpus build TEXT --vocab OUT, and clue-bench pretrain --from OUT.
    """
    from clue_bench.api.checkpoints import exchange_vocabulary

    show(exchange_vocabulary(model, vocab, out=out), as_json=json)


@corpus.command(
    cls=Verb, epilog="Example: clue-bench corpus build part-000.txt.xz --vocab clue_vocab_8021.txt --out corpus"
)
def build(
    texts: Texts,
    vocab: Vocabulary,
    out: Folder,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes; the result does not depend on their number.")
    ] = os.cpu_count() or 1,
    words: Annotated[
        Literal["rjieba"] | None,
        typer.Option(
            help="Cut the text into words, for whole-word masking; else the vocabulary decides what a word is."
        ),
    ] = None,
    text_field: TextField = "text",
    drop_repeats: Annotated[
        Literal["documents", "paragraphs"] | None,
        typer.Option(help="Leave out documents that equal an earlier one, or also paragraphs  [default: count them]"),
    ] = None,
    json: Json = False,
) -> None:
    """Turn text (a sentence or paragraph per line, a blank line between documents) into a corpus folder.

    Repeat the command to continue an interrupted build.
    """
    built = corpora.build_corpus(
        texts,
        vocabulary=vocab,
        out=out,
        workers=workers,
        words=words,
        text_field=text_field,
        drop_repeats=drop_repeats,
    )
    show(built, as_json=json)
    is_model = (Path(vocab) / "config.json").is_file()
    first = "clue-bench recipes list"
    suggest(
        typed("clue-bench", "pretrain", "--from", vocab, "--corpus", out, "--out", "runs/NAME") if is_model else first,
        typed("clue-bench", "pretrain", "RECIPE", "--corpus", out, "--out", "runs/NAME"),
        as_json=json,
    )


@corpus.command("show", cls=Verb, epilog="Example: clue-bench corpus show corpus")
def show_corpus(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A corpus folder.")], json: Json = False
) -> None:
    """Print what a corpus folder holds, after checking every file against its checksum."""
    show(corpora.open_corpus(folder), as_json=json)


@corpus.command(
    cls=Verb, epilog="Example: clue-bench corpus pairs --task afqmc --data clue --vocab vocab.txt --out pairs"
)
def pairs(
    task: Annotated[str, typer.Option(metavar="TASK", help=f"{TASK}, over two texts.", autocompletion=complete_task)],
    data: Data,
    vocab: Vocabulary,
    out: Folder,
    json: Json = False,
) -> None:
    """Turn the training rows of a pair task into labelled pairs, for clue-bench pretrain --pairs.

    Training rows that are also in the task's dev or test set, in either order, are left out.
    """
    show(corpora.build_pairs(task, data=data, vocabulary=vocab, out=out), as_json=json)
    suggest(
        typed("clue-bench", "pretrain", "RECIPE", "--corpus", "CORPUS", "--pairs", out, "--out", "runs/NAME"),
        as_json=json,
    )


@corpus.command(
    "texts", cls=Verb, epilog="Example: clue-bench corpus texts --task tnews --data clue --out tnews-train.txt"
)
def training_texts(
    task: Annotated[
        list[str],
        typer.Option(metavar="TASK", help=f"{TASK}; repeatable, or separated by commas.", autocompletion=complete_task),
    ],
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The .txt file to write.")],
    json: Json = False,
) -> None:
    """Write the texts of tasks' training rows, for further pretraining before fine-tuning.

    Each text stands there once. Neither dev nor test is read.
    """
    show(corpora.write_training_texts(names(task), data=data, out=out), as_json=json)
    suggest(
        typed("clue-bench", "corpus", "build", out, "--vocab", "MODEL", "--out", "corpus"),
        typed("clue-bench", "pretrain", "--from", "MODEL", "--corpus", "corpus", "--out", "runs/NAME"),
        as_json=json,
    )
