"""One text or one pair at a time: titles, news sentences, app descriptions, credit questions, premises.

Input: a `random.Random`, which alone decides what comes out, and what the text is to be about. Output: strings.
It does not know label ids, splits or noise: `tasks` does.
"""

from collections.abc import Sequence
from random import Random

from clue_bench.synthetic.words import APPS, NEWS, PREMISES, QUESTIONS


def headline(rng: Random, topic: str, *, borrow: bool) -> tuple[str, str]:
    """Return a title about `topic` (a key of NEWS.topics) and its keywords, joined by commas.

    With `borrow`, the second noun and the second subject come from a neighbouring topic: an ambiguous title.
    """
    slots = _news_slots(rng, topic)
    if borrow:
        neighbour = NEWS.topics[NEWS.topics[topic].neighbour]
        slots |= {"m": rng.choice(neighbour.nouns), "s": rng.choice(neighbour.subjects)}
    text = rng.choice(NEWS.titles).format_map(slots)
    keywords = [word for word in (slots["s"], slots["n"], slots["m"], slots["c"]) if word in text]
    keywords += [word for word in NEWS.topics[topic].nouns if word in text and word not in keywords]
    return text, ",".join(keywords)


def news_sentence(rng: Random, topic: str) -> str:
    """Return one sentence of a news document about `topic`."""
    return rng.choice(NEWS.sentences).format_map(_news_slots(rng, topic))


def _news_slots(rng: Random, topic: str) -> dict[str, str]:
    """Return a value for every slot of NEWS.titles and NEWS.sentences."""
    words = NEWS.topics[topic]
    subject, another_subject = rng.sample(words.subjects, 2)
    noun, another_noun = rng.sample(words.nouns, 2)
    city, another_city = rng.sample(NEWS.cities, 2)
    return {
        "s": subject,
        "r": another_subject,
        "n": noun,
        "m": another_noun,
        "p": rng.choice(words.predicates),
        "c": city,
        "d": another_city,
        "t": rng.choice(NEWS.times),
        "x": rng.choice(NEWS.latin),
        "y": str(rng.randint(1998, 2021)),
        "k": str(rng.randint(3, 20)),
        "j": str(rng.randint(0, 9)),
    }


def app_description(rng: Random, name: str, *, stray: str) -> str:
    """Return a description of about 60-250 characters of an app of the class called `name`.

    Its words are those of its class, or the name itself for a class that is not there. `stray`, if not empty, is
    another class whose words turn up in one sentence.
    """
    words = APPS.classes.get(name, [name])
    app = rng.choice(APPS.name_heads) + rng.choice((rng.choice(words), rng.choice(APPS.name_tails)))
    about = [rng.choice(APPS.openings).format_map(_app_slots(rng, name, app))]
    features = rng.sample(APPS.features, rng.randint(2, 3))
    about += [template.format_map(_app_slots(rng, name, app)) for template in features]
    if stray:
        about.append(rng.choice(APPS.features).format_map(_app_slots(rng, stray, app)))
    for template in rng.sample(APPS.marketing, rng.randint(1, 4)):
        place = rng.randint(1, len(about))
        about.insert(place, template.format_map(_app_slots(rng, name, app)))
    return "".join(about)


def _app_slots(rng: Random, name: str, app: str) -> dict[str, str]:
    """Return a value for every slot of the templates of APPS; `name` is the class, `app` what the app is called."""
    words = APPS.classes.get(name, [name, name, name])
    first, second, third = rng.sample(words, 3)
    benefit, another_benefit = rng.sample(APPS.benefits, 2)
    return {
        "name": app,
        "label": name.split("(", maxsplit=1)[0],
        "w": first,
        "v": second,
        "u": third,
        "a": rng.choice(APPS.adjectives),
        "z": rng.choice(APPS.users),
        "b": benefit,
        "e": another_benefit,
        "k": str(rng.randint(2, 9)),
        "x": rng.choice(NEWS.latin),
    }


def question_pair(rng: Random, *, same: bool) -> tuple[str, str]:
    """Return two customers' questions about consumer credit: one intent and product if `same`, else not.

    Of the pairs that differ, 7 in 10 differ in the intent, the others in the product or in both.
    """
    parts = [intent.positives if same else intent.negatives for intent in QUESTIONS.intents.values()]
    intent = rng.choices(list(QUESTIONS.intents), parts)[0]
    product, another_product = rng.sample(QUESTIONS.products, 2)
    if same:
        first, second = rng.sample(QUESTIONS.intents[intent].questions, 2)
        return _ask(rng, first, product), _ask(rng, second, product)
    change = rng.random()
    other_intent = intent if change < 0.15 else rng.choice([key for key in QUESTIONS.intents if key != intent])
    other_product = product if change >= 0.3 else another_product
    first, second = (
        rng.choice(QUESTIONS.intents[intent].questions),
        rng.choice(QUESTIONS.intents[other_intent].questions),
    )
    return _ask(rng, first, product), _ask(rng, second, other_product)


def frequent_questions(rng: Random, *, num_questions: int) -> list[str]:
    """Return the lines of a page of questions on one product: each in two wordings, then its answer."""
    product = rng.choice(QUESTIONS.products)
    lines = []
    for name in rng.sample(list(QUESTIONS.intents), num_questions):
        first, second = rng.sample(QUESTIONS.intents[name].questions, 2)
        lines.append(f"问：{_ask(rng, first, product)}（也有人问：{_ask(rng, second, product)}）")
        answer = rng.choice(QUESTIONS.intents[name].answers).format(p=product, k=rng.randint(2, 28))
        lines.append(f"答：{answer}")
    return lines


def _ask(rng: Random, question: str, product: str) -> str:
    """Return `question` about `product` with what people say before and after a question."""
    return (
        rng.choice(QUESTIONS.openers) + question.format(p=product, k=rng.randint(2, 28)) + rng.choice(QUESTIONS.closers)
    )


def statements(rng: Random, relations: Sequence[str]) -> tuple[str, list[str]]:
    """Return a premise and one hypothesis for each of `relations` (entailment, contradiction, neutral)."""
    scenes, opinions, facts = PREMISES.scenes, PREMISES.opinions, PREMISES.facts
    kinds = ((scenes, _scene_slots(rng)), (opinions, _opinion_slots(rng)), (facts, _fact_slots(rng)))
    templates, slots = rng.choices(kinds, (5, 3, 3))[0]
    premise = rng.choice(templates.premises).format_map(slots)
    hypotheses = [rng.choice(getattr(templates, relation)).format_map(slots) for relation in relations]
    return premise, hypotheses


def _scene_slots(rng: Random) -> dict[str, str]:
    """Return a value for every slot of the scenes."""
    scenes = PREMISES.scenes
    count, noun = rng.choice(scenes.people)
    place, side = rng.choice(scenes.places)
    away, other_side = rng.choice([pair for pair in scenes.places if pair[1] != side])
    activity, kind, opposite = rng.choice(scenes.activities)
    colour, another_colour = rng.sample(scenes.colours, 2)
    return {
        "who": count + noun,
        "noun": noun,
        "place": place,
        "side": side,
        "away": away,
        "other_side": other_side,
        "act": activity,
        "kind": kind,
        "opp": opposite,
        "colour": colour,
        "colour2": another_colour,
        "k": str(rng.randint(4, 10)),
        "purpose": rng.choice(scenes.purposes),
    }


def _opinion_slots(rng: Random) -> dict[str, str]:
    """Return a value for every slot of the opinions; either judgement may be good or bad."""
    subject, thing, *poles = rng.choice(PREMISES.opinions.subjects)
    aspect, *other_poles = rng.choice(PREMISES.opinions.aspects)
    bad, other_bad = rng.randint(0, 1), rng.randint(0, 1)
    return {
        "x": subject,
        "thing": thing,
        "adj": poles[bad],
        "opp": poles[1 - bad],
        "aspect": aspect,
        "adj2": other_poles[other_bad],
        "opp2": other_poles[1 - other_bad],
        "conj": "也很" if bad == other_bad else "却很",
        "merit": ("优点", "缺点")[bad],
        "aside": rng.choice(PREMISES.opinions.asides).format(k=rng.randint(2, 9)),
        "c": rng.choice(NEWS.cities),
        "y": str(rng.randint(1998, 2021)),
        "k": str(rng.randint(2, 9)),
    }


def _fact_slots(rng: Random) -> dict[str, str]:
    """Return a value for every slot of the facts; {half} is about half of {n}."""
    organisation, verb, unit, thing = rng.choice(PREMISES.facts.organisations)
    city, another_city = rng.sample(NEWS.cities, 2)
    number = rng.randint(3, 90) * 100
    more, less, fewer = rng.choice((("增加", "减少", "少"), ("减少", "增加", "多")))
    return {
        "org": organisation,
        "verb": verb,
        "unit": unit,
        "obj": thing,
        "more": more,
        "less": less,
        "fewer": fewer,
        "n": str(number),
        "half": str(number // 200 * 100),
        "c": city,
        "d": another_city,
        "y": str(rng.randint(1998, 2021)),
        "k": str(rng.randint(2, 9)),
    }
