"""The judge model: its prompts, its judgements, and replies other than yes or no."""

import math

import pytest

from lorag.errors import DataError
from lorag.evaluation.answers.support.contrasts import contrasts
from lorag.evaluation.answers.support.judge import Asked, Reading, pairs_to_score, reading_of, score_with
from lorag.evaluation.answers.support.judging import cost, judged, readings_of
from lorag.evaluation.answers.support.standing import support, to_judge
from lorag.evaluation.comparison import BASE, EVIDENCE, RETRIEVAL, claims_to_judge, compare_rows
from lorag.evaluation.row_log import Row
from lorag.files import LineLog
from lorag.llm.engines.scripted import ScriptedModel
from lorag.settings import VerdictSettings
from lorag.types import Answer, Chunk, Example, Hit

TEXT = "The battery pack of the P2 lasts 19 months. The guard has to be renewed every 16 months."
QUESTION = "How long does the battery pack of the P2 last?"
SURE = Reading((-0.01, -0.01))
DOUBTING = Reading((-14.0, -12.0))


class Scorer(ScriptedModel):
    """Gives each token of an answer, a word, the likelihood that ``likely`` gives prompt and answer."""

    def __init__(self, likely):
        super().__init__(lambda prompt: "")
        self.likely, self.calls = likely, []

    def likelihoods(self, answered):
        self.calls.append(len(answered))
        return [[self.likely(prompt[-1].content, text)] * len(text.split()) for prompt, text in answered]


def passage(text=TEXT, name="d"):
    return Chunk(name, "1", 0, len(text), text, "Battery")


def asked(claim="19 months", before=""):
    return Asked(QUESTION, TEXT, before, claim)


def test_a_judge_is_asked_with_the_passage_the_claim_stands_in_and_what_was_said_before_it():
    other = passage("Bird spikes keep gulls away.", "e")
    first, second = to_judge("It lasts 16 months. A guard costs 40 EUR.", QUESTION, [other, passage()])
    assert first == Asked(QUESTION, f"Battery\n{TEXT}", "", "It lasts 16 months.")
    assert (second.before, second.claim) == ("It lasts 16 months.", "A guard costs 40 EUR.")
    # A reference that the answer gives is known to be right, and nothing is left to ask.
    assert to_judge("It lasts 19 months.", QUESTION, [passage()], ["19 months"]) == []
    assert to_judge("It lasts 19 months.", QUESTION, []) == []


def test_only_the_tokens_of_the_claim_count_and_those_before_it_are_its_condition():
    model = Scorer(lambda prompt, text: -1.0 if text == "one two three four five" else -3.0)
    (found,) = judged(model, [asked("three four five", "one two")])
    assert found == Reading((-1.0, -1.0, -1.0))
    assert model.calls == [2]
    assert [text for _, text in pairs_to_score(asked())] == ["19 months"]


@pytest.mark.parametrize(("answer", "standing"), [("It lasts 19 months.", "supported"), ("16 months", "contradicted")])
def test_a_reading_moves_the_rule_and_a_strong_one_turns_it(answer, standing):
    (open_claim,) = to_judge(answer, QUESTION, [passage()])
    (by_rule,) = support(answer, QUESTION, [passage()])
    assert by_rule.standing == standing
    (sure,), (doubting,) = (
        support(answer, QUESTION, [passage()], readings={open_claim: reading}) for reading in (SURE, DOUBTING)
    )
    assert sure.score > doubting.score
    assert (doubting.standing == "supported") is False
    assert (sure.sentence, sure.claim) == (by_rule.sentence, by_rule.claim)
    assert support(answer, QUESTION, [passage()], readings={}) == (by_rule,)


@pytest.mark.parametrize(
    ("reply", "score"), [("Yes, it does.", 1.0), ("no", -1.0), ("**No**", -1.0), ("banana", None), ("", None)]
)
def test_a_server_is_asked_for_yes_or_no_and_decides(reply, score):
    (found,) = judged(ScriptedModel(lambda prompt: reply), [asked()])
    assert (None if found is None else score_with(0.3, found)) == score


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0])
def test_what_is_no_likelihood_is_no_judgement(value):
    assert reading_of([[-1.0, value]]) is None
    assert reading_of([[-1.0, value], [-1.0]]) is None
    assert reading_of([[value, -1.0], [value]]) == Reading((-1.0,))  # only its own tokens count
    assert reading_of([[]]) is None


def test_claims_are_judged_once_their_cost_told_first_and_what_is_no_judgement_left_to_the_rule(tmp_path):
    claims = [asked("19 months"), asked("16 months"), Asked("What else?", TEXT, "", "nothing")]
    models, told = [], []

    def load():
        models.append(Scorer(lambda prompt, text: math.nan if text == "16 months" else -1.0))
        return models[-1]

    def progress(stage, done, total, note=""):
        told.append((done, total, note, len(models[0].calls) if models else 0))

    log = LineLog(tmp_path / "judged.jsonl")
    found = readings_of("j", claims, log, load, progress)
    assert set(found) == {claims[0], claims[2]}
    assert models[0].calls == [2, 1]  # the claims of one question together
    assert told[0] == (0, 3, cost(models[0], claims), 0)
    assert told[0][2].startswith("3 claims, about ")
    assert readings_of("j", claims, LineLog(log.path), load, progress) == found
    assert len(models) == 1
    readings_of("another", claims, LineLog(log.path), load, progress)
    assert len(models) == 2
    log.append([{"judge": "j"}])
    with pytest.raises(DataError, match="judgements of another version"):
        readings_of("j", claims, LineLog(log.path), load, progress)


def world():
    """Ten documents of two facts each, which retrieval gets right, and swaps in every third answer."""
    examples, rows = [], []
    for n in range(10):
        text = f"The pack of model K{n} lasts {20 + n} months. The guard of model K{n} is renewed every {40 + n} weeks."
        hits = (Hit(passage(text, f"d{n}"), 1.0, "hybrid"),)
        for name, asks, right, wrong in (
            ("pack", f"How long does the pack of model K{n} last?", f"{20 + n} months", f"{40 + n} weeks"),
            ("guard", f"How often is the guard of model K{n} renewed?", f"every {40 + n} weeks", f"{20 + n} months"),
        ):
            examples.append(Example(f"{name}{n}", asks, (right,), (f"d{n}",)))
            said = wrong if n % 3 == 0 else right
            rows.append(Row("before", BASE, examples[-1].id, Answer("I do not know.")))
            rows += [Row("before", arm, examples[-1].id, Answer(said, sources=hits)) for arm in (RETRIEVAL, EVIDENCE)]
    return examples, rows


def test_errors_of_the_check_stand_beside_the_verdict_with_and_without_a_judge():
    examples, rows = world()
    pairs = contrasts(examples, {row.example_id: [h.chunk for h in row.answer.sources] for row in rows})
    assert len(pairs) == 20
    assert {pair.right.split()[-1] for pair in pairs} == {"months", "weeks"}
    assert all(pair.right.split()[-1] != pair.wrong.split()[-1] for pair in pairs)
    settings = VerdictSettings(draws=200)
    by_rule = compare_rows(rows, examples, settings=settings)
    (note,) = [reason.text for reason in by_rule.verdict.reasons if "was tested on 20 right" in reason.text]
    assert "doubted" in note
    assert "judge" not in note
    claims = claims_to_judge(rows, examples)
    assert len(claims) == len(set(claims))
    questions = [claim.question for claim in claims]
    assert questions == sorted(questions, key=[example.question for example in examples].index)
    # A judge that passes everything.
    lenient = compare_rows(rows, examples, settings=settings, readings=dict.fromkeys(claims, Reading(says_yes=True)))
    assert lenient.at("before")[RETRIEVAL].estimates["unsupported"].mean == 0
    assert by_rule.at("before")[RETRIEVAL].estimates["unsupported"].mean > 0.2
    (note,) = [reason.text for reason in lenient.verdict.reasons if "was tested on" in reason.text]
    assert "with the judge: 0 % (0 to 16) of right answers are doubted, 100 % (84 to 100) of wrong ones pass" in note
