"""The words and templates of the synthetic data: the .toml files beside this module, checked.

Output: `NEWS`, `APPS`, `QUESTIONS` and `PREMISES`. The order of every list counts: the generator draws by place, so
another order gives other data. What a list means and which slots its templates have stands in the files.
"""

from pathlib import Path
from typing import Annotated

import pydantic

from clue_bench.cards import Card, load_card

FOLDER = Path(__file__).parent

Words = Annotated[list[str], pydantic.BeforeValidator(str.split)]
"""Words separated by blanks."""


class Topic(Card):
    """One news topic: any subject goes with any predicate, any noun fits a {n} or {m} slot."""

    share: int
    neighbour: str
    subjects: Words
    nouns: Words
    predicates: Words


class News(Card):
    """Titles and sentences of news on a number of topics."""

    cities: Words
    times: Words
    latin: Words
    titles: list[str]
    sentences: list[str]
    topics: dict[str, Topic]


class Apps(Card):
    """Descriptions of apps; `classes` has the words of each."""

    name_heads: Words
    name_tails: Words
    adjectives: Words
    users: Words
    benefits: Words
    openings: list[str]
    features: list[str]
    marketing: list[str]
    classes: dict[str, Words]


class Intent(Card):
    """What a customer wants: any two questions of one intent ask the same."""

    positives: int
    negatives: int
    questions: list[str]
    answers: list[str]


class Questions(Card):
    """Questions about consumer credit."""

    products: Words
    openers: list[str]
    closers: list[str]
    intents: dict[str, Intent]


class Relations(Card):
    """Templates of one kind of premise, and of the hypotheses that stand in each relation to it."""

    premises: list[str]
    entailment: list[str]
    contradiction: list[str]
    neutral: list[str]


class Scenes(Relations):
    """Who is where, doing what."""

    people: list[list[str]]
    places: list[list[str]]
    activities: list[list[str]]
    colours: Words
    purposes: Words


class Opinions(Relations):
    """What is judged, and how."""

    subjects: list[list[str]]
    aspects: list[list[str]]
    asides: list[str]


class Facts(Relations):
    """What an organisation did."""

    organisations: list[list[str]]


class Premises(Card):
    """The three kinds of premises."""

    scenes: Scenes
    opinions: Opinions
    facts: Facts


NEWS = load_card(FOLDER / "news.toml", News)
APPS = load_card(FOLDER / "apps.toml", Apps)
QUESTIONS = load_card(FOLDER / "questions.toml", Questions)
PREMISES = load_card(FOLDER / "premises.toml", Premises)
