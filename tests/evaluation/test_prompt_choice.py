"""The prompt that is chosen is the one under which most is right, and it refuses little of what could be answered."""

import json
from dataclasses import replace

import pytest

from lorag.evaluation.answers.metrics import Correct, NewContentRecall
from lorag.evaluation.answers.style import Style
from lorag.evaluation.prompt_choice import (
    Form,
    PromptChoice,
    choose_prompt,
    choose_room,
    planned_answers,
    trial_questions,
    tried_prompt,
)
from lorag.settings import REFUSAL, PromptSettings
from lorag.types import Answer, Example

DEFAULT, SHOWN, REFUSING = (
    Form(),
    Form(PromptSettings(examples=3)),
    Form(PromptSettings(examples=3, refused_example=True)),
)
EXAMPLES = [Example(f"q{n}", f"What is {n}?", (f"value {n}",) if n % 4 else (), ()) for n in range(24)]
RIGHT = {example.question: Answer(example.answers[0]) for example in EXAMPLES if example.answers}
REFUSED = Answer(REFUSAL, refused=True)


def asking(rule):
    """An ``ask`` by a rule of prompt and example, and the questions that each prompt was asked."""
    asked: dict[PromptSettings, list[str]] = {}

    def ask(parts):
        for prompt, part in parts.items():
            asked.setdefault(prompt, []).extend(example.id for example in part)
        return {prompt: [rule(prompt, example) for example in part] for prompt, part in parts.items()}

    return ask, asked


def test_the_prompt_with_most_right_answers_is_chosen_and_the_rest_is_asked_less():
    ask, asked = asking(lambda p, e: RIGHT.get(e.question, REFUSED) if p == SHOWN else Answer("no idea"))
    choice = choose_prompt([DEFAULT, REFUSING, SHOWN], EXAMPLES, ask)
    assert choice.form == SHOWN
    assert choice.tried[0].right == 1.0
    assert (choice.tried[0].refused, choice.tried[0].answered) == (0.0, 0.0)
    assert sum(map(len, asked.values())) == planned_answers(3, 24)
    assert len(asked[SHOWN]) == 24 == choice.tried[0].questions
    assert min(len(ids) for ids in asked.values()) == 12
    assert all(len(set(ids)) == len(ids) for ids in asked.values())  # nothing is asked twice


@pytest.mark.parametrize(("fewer", "taken"), [(1, SHOWN), (2, SHOWN), (9, DEFAULT)])
def test_the_first_within_one_standard_error_of_the_best_is_taken(fewer, taken):
    wrong = {f"q{n}" for n in range(1, 4 * fewer, 4)}

    def rule(prompt, example):
        known = example.id in wrong and prompt == SHOWN
        return Answer("no idea") if known or int(example.id[1:]) % 4 == 2 else RIGHT.get(example.question, REFUSED)

    ask, _ = asking(rule)
    examples = sorted(EXAMPLES, key=lambda example: int(example.id[1:]) % 3)
    assert choose_prompt([SHOWN, DEFAULT], examples, ask).form == taken


def test_the_default_wins_a_tie():
    ask, _ = asking(lambda p, e: Answer("no idea"))
    assert choose_prompt([DEFAULT, SHOWN, REFUSING], EXAMPLES, ask).form == DEFAULT


def test_a_prompt_under_which_much_is_refused_ranks_below_one_that_answers():
    def rule(prompt, example):
        number = int(example.id[1:])
        if prompt == REFUSING:  # right more often, but refuses a third of what it could answer
            return REFUSED if number % 3 == 0 or not example.answers else RIGHT[example.question]
        return RIGHT.get(example.question, Answer("?")) if number % 2 else Answer("?")

    ask, _ = asking(rule)
    choice = choose_prompt([DEFAULT, REFUSING], EXAMPLES, ask)
    by_prompt = {each.form: each for each in choice.tried}
    assert by_prompt[REFUSING].right > by_prompt[DEFAULT].right
    refused = by_prompt[REFUSING].refused
    assert refused is not None
    assert refused > 0.1
    assert choice.form == DEFAULT


@pytest.mark.parametrize(("refused", "answerable", "is_better"), [(3, 18, True), (4, 18, False), (2, 18, True)])
def test_refusals_count_against_a_prompt_only_beyond_the_error_of_so_few_questions(refused, answerable, is_better):
    examples = [Example(f"q{n}", "?", ("right",), ()) for n in range(answerable)]
    correct = Correct(NewContentRecall.fit(examples))
    refusing = [REFUSED] * refused + [Answer("right")] * (answerable - refused)
    wrong = [Answer("wrong")] * 9 + [Answer("right")] * (answerable - 9)
    tried = [tried_prompt(form, examples, each, correct) for form, each in ((REFUSING, refusing), (DEFAULT, wrong))]
    assert (tried[0].rank > tried[1].rank) == is_better
    assert replace(tried[0], answerable=0).rank < tried[1].rank  # as earlier versions chose


def test_of_forms_as_good_within_noise_the_one_that_keeps_the_style_is_taken():
    def rule(prompt, example):
        wrong = Answer("?") if prompt == REFUSING or example.id == "q1" else None
        text = example.answers[0] if example.answers else "?"
        return wrong or Answer(f"{text}. Yours" if prompt == SHOWN else text)

    ask, _ = asking(rule)
    forms = [DEFAULT, SHOWN, REFUSING]
    style = Style(ends_with="Yours", max_sentences=2)
    choice = choose_prompt(forms, EXAMPLES, ask, style)
    kept = choice.tried[0].style
    assert kept is not None
    assert (choice.form, kept > 0.9) == (SHOWN, True)
    assert choose_prompt(forms, EXAMPLES, ask).form == DEFAULT
    assert choose_prompt(forms, EXAMPLES, ask, Style()).tried[0].style is None
    unstyled = asking(lambda prompt, example: Answer("? Yours") if prompt == REFUSING else rule(prompt, example))[0]
    assert choose_prompt([DEFAULT, REFUSING], EXAMPLES, unstyled, style).form == DEFAULT  # rightness comes first


@pytest.mark.parametrize(("worse", "taken"), [(0, Form(room=1200)), (1, Form(room=1200)), (9, Form(room=800))])
def test_the_largest_room_is_taken_unless_it_is_worse_by_more_than_noise(worse, taken):
    lost = {f"q{n}" for n in range(1, 4 * worse, 4)}

    def rule(form, example):
        wrong = example.id in ("q2", "q6") or (example.id in lost and form.room == 1200)
        return Answer("?") if wrong else RIGHT.get(example.question, REFUSED)

    ask, asked = asking(rule)
    prompts = choose_prompt([SHOWN, DEFAULT], EXAMPLES, ask)
    choice = choose_room(prompts, (800, 1200), EXAMPLES, ask)
    assert choice.form == taken
    assert choice.tried[0].form == choice.form
    assert {each.room for each in choice.tried} == {None, 800, 1200}
    assert {each.prompt for each in choice.tried if each.room} == {SHOWN.prompt, DEFAULT.prompt}
    assert len(asked[Form(room=800)]) == 24
    assert PromptChoice.from_json(json.loads(json.dumps(choice.to_json()))) == choice


def test_no_more_room_is_taken_where_more_sources_confuse():
    ask, _ = asking(lambda form, example: Answer("?") if form.room else RIGHT.get(example.question, REFUSED))
    prompts = choose_prompt([SHOWN, DEFAULT], EXAMPLES, ask)
    assert choose_room(prompts, (800, 1200), EXAMPLES, ask).form == prompts.form == SHOWN


def test_no_room_is_tried_where_no_prompt_was():
    ask, asked = asking(lambda p, e: REFUSED)
    assert choose_room(PromptChoice(), (800,), EXAMPLES, ask) == PromptChoice()
    assert asked == {}


@pytest.mark.parametrize("count", [0, 5])
def test_too_few_questions_choose_nothing(count):
    ask, asked = asking(lambda p, e: REFUSED)
    choice = choose_prompt([DEFAULT, SHOWN], EXAMPLES[:count], ask)
    assert choice == PromptChoice(DEFAULT.prompt)
    assert asked == {}
    assert "too few questions" in str(choice)


def test_a_choice_is_read_back_as_it_was_written():
    ask, _ = asking(lambda p, e: RIGHT.get(e.question, REFUSED))
    choice = choose_prompt([DEFAULT, SHOWN], EXAMPLES, ask)
    assert PromptChoice.from_json(json.loads(json.dumps(choice.to_json()))) == choice


def test_a_quarter_of_the_trial_questions_is_unanswerable_where_there_are_so_many():
    chosen = trial_questions(EXAMPLES, 12)
    assert len(chosen) == 12
    assert sum(not example.answers for example in chosen) == 3
    assert trial_questions(EXAMPLES[::-1], 12) == chosen
    answerable = [example for example in EXAMPLES if example.answers]
    assert len(trial_questions(answerable, 12)) == 12
    assert len(trial_questions(EXAMPLES, 100)) == 24
