"""Worked examples give no tested answer away, and no tested or shown question decides on a prompt."""

from dataclasses import replace

import pytest

from lorag.chat.kept_prompt import KeptPrompt, read_prompt
from lorag.chat.prompts import WorkedExample
from lorag.evaluation.prompt_choice import Form, PromptChoice, choose_prompt
from lorag.interfaces import no_progress
from lorag.llm.engines.scripted import ScriptedModel
from lorag.settings import REFUSAL, ChatSettings, CompareSettings, PromptSettings
from lorag.types import Answer, Chunk, Conversation, Example, Hit, Message
from lorag.workflows.comparing.arm_prompts import finetuned_forms
from lorag.workflows.comparing.prompt_trials import (
    WITHOUT_SOURCES,
    Prompting,
    chosen_prompt,
    gives_away,
    trials,
    worked_examples,
)
from lorag.workflows.comparing.sourced import Sourced


def sourced(question, reply, document, refused=False):
    text = f"About {document}: {reply}"
    hits = (Hit(Chunk(document, "1", 0, len(text), text), 1.0, "hybrid"),)
    other = Hit(Chunk("other.md", "1", 0, 5, "Other"), 0.5, "hybrid")
    conversation = Conversation((Message("user", question), Message("assistant", reply)), (document,))
    return Sourced(conversation, (other, *hits), hits, (other,), refused)


OWN = [sourced(f"What is the size of part {n}?", f"Part {n} measures {n} mm.", f"part-{n}.md") for n in range(10, 18)]
DECLINED = sourced("Who paints part 10?", REFUSAL, "part-10.md", refused=True)
TESTED = [Example("t", "How large is part ten?", ("10 mm",), ("part-10.md",), answers_after=("11 mm",))]


def test_examples_are_the_users_own_and_state_no_tested_answer_of_either_phase():
    shown = worked_examples([*OWN, DECLINED], TESTED, REFUSAL)
    assert shown.own
    assert not [e for e in shown.answered if "10 mm" in e.reply or "11 mm" in e.reply]
    assert len(shown.answered) == 6
    assert [example.question for example in shown.refused] == ["Who paints part 10?"]


def test_an_example_shows_the_one_passage_that_answers_it():
    shown = worked_examples([*OWN, DECLINED], [], REFUSAL)
    for example in (*shown.answered, *shown.refused):
        assert [example.reply in source.chunk.text for source in example.sources] == [True]


def test_an_example_near_a_tested_question_is_not_shown():
    near = Example("n", "What is the size of part 12", ("twelve",), ())
    shown = worked_examples(OWN, [near], REFUSAL)
    assert "What is the size of part 12?" not in [example.question for example in shown.answered]


def test_own_examples_are_preferred_and_neutral_ones_are_not():
    first = [worked_examples(given, [], REFUSAL).preferred[0] for given in (OWN, [])]
    assert first == [PromptSettings(examples=3), PromptSettings()]


def test_a_document_gives_at_most_one_example():
    twice = [*OWN, sourced("How big is part 13?", "It has 13 mm.", "part-13.md")]
    documents = [example.sources[0].chunk.document_id for example in worked_examples(twice, [], REFUSAL).answered]
    assert len(documents) == len(set(documents))


@pytest.mark.parametrize("given", [[], OWN[:2]])
def test_neutral_examples_stand_in_where_there_are_too_few(given):
    shown = worked_examples(given, TESTED, REFUSAL)
    assert not shown.own
    assert len(shown.under(PromptSettings(examples=3, refused_example=True))) == 4
    assert not [example for example in shown.answered if "part" in example.question]


def test_a_prompt_shows_what_it_says_with_the_refused_example_before_the_last():
    shown = worked_examples([*OWN, DECLINED], [], REFUSAL)
    assert shown.under(PromptSettings()) == ()
    replies = [example.reply == REFUSAL for example in shown.under(PromptSettings(examples=3, refused_example=True))]
    assert replies == [False, False, True, False]


def test_trial_questions_are_neither_tested_nor_shown_nor_answered_by_an_example():
    shown = worked_examples([*OWN, DECLINED], TESTED, REFUSAL)
    stated = shown.answered[0].reply.split()[-2:]
    untested = [Example("u1", "Which colour?", ("red",), ()), Example("u2", "Which size?", (" ".join(stated),), ())]
    found = trials([*TESTED, *untested], TESTED, [*OWN, DECLINED], shown, 20)
    questions = [example.question for example in found]
    assert "Which colour?" in questions
    assert "Which size?" not in questions
    assert TESTED[0].question not in questions
    assert not {e.question for e in (*shown.answered[:3], *shown.refused[:1])} & set(questions)
    assert len(questions) > 3


def test_a_choice_is_found_again_with_the_examples_it_was_made_with(tmp_path):
    path = tmp_path / "prompts" / "base.json"
    shown = worked_examples([*OWN, DECLINED], [], REFUSAL)
    model = ScriptedModel(lambda prompt: "7 mm" if len(prompt) > 2 else "no idea")
    questions = [Example(f"q{n}", f"What is the width of bolt {n}?", ("7 mm",), ()) for n in range(8)]

    def bot(prompting):
        return prompting.bot(model, None, CompareSettings())

    first = chosen_prompt("base", list(map(Form, WITHOUT_SOURCES)), shown, questions, bot, path, no_progress)
    assert first.choice.prompt == PromptSettings(examples=3)
    assert first.examples == shown.under(first.choice.prompt)
    asked = len(model.prompts)
    changed = worked_examples([], [], REFUSAL)
    assert chosen_prompt("base", list(map(Form, WITHOUT_SOURCES)), changed, questions, bot, path, no_progress) == first
    assert len(model.prompts) == asked
    assert read_prompt(path) == KeptPrompt(first.choice.prompt, first.examples, ChatSettings().context_tokens)


def test_examples_that_are_given_are_shown_as_they_are_and_neutral_ones_are_never_refused():
    given = worked_examples(OWN, [], REFUSAL).answered[:2]
    shown = replace(worked_examples(OWN, TESTED, REFUSAL), given=given)
    assert shown.under(PromptSettings()) == shown.under(PromptSettings(examples=3)) == given
    assert not {example.question for example in given} & {e.question for e in trials([], [], OWN, shown, 20)}
    numbers = [Example("n", "How many berths has the quay?", ("14",), ())]
    assert not any(map(gives_away(numbers), worked_examples([], numbers, REFUSAL).answered))
    assert gives_away(numbers)(WorkedExample("How many seats?", (), "It has 14 seats."))


def test_a_finetune_that_refuses_too_much_is_asked_without_the_offer_to_refuse():
    trained = PromptSettings(question_first=True)
    retrieval = Prompting(PromptChoice(PromptSettings(examples=2)))
    forms = finetuned_forms(trained, retrieval)
    assert forms == (trained, replace(trained, examples=2), replace(trained, offer_refusal=False))
    assert finetuned_forms(forms[2], retrieval) == (forms[2], replace(forms[2], examples=2))
    asked = [Example(f"q{n}", f"What is {n}?", (f"value {n}",)) for n in range(12)]

    def ask(parts):
        refused = Answer(REFUSAL, refused=True)
        return {
            form: [
                refused if form.prompt.offer_refusal and n % 3 == 0 else Answer(e.answers[0])
                for n, e in enumerate(part)
            ]
            for form, part in parts.items()
        }

    assert choose_prompt(list(map(Form, forms)), asked, ask).prompt == forms[2]
