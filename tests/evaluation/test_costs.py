"""What arms cost: from seconds and tokens of their rows, at the user's prices, and which arm is worth it."""

import json
from dataclasses import replace

import pytest

from lorag.errors import DataError
from lorag.evaluation.comparison import BASE, BOTH, FINETUNED, RETRIEVAL, compare_rows
from lorag.evaluation.cost.arm_costs import arm_costs
from lorag.evaluation.cost.price_list import Prices, Rates, read_prices
from lorag.evaluation.cost.worth import NO_ASSISTANT, Price, arm_prices, break_evens, harm_steps, worth_steps
from lorag.evaluation.report.cost_tables import break_even_table, cost_table, cost_tables, worth_table
from lorag.evaluation.report.factor_table import BEHIND, factor_table
from lorag.evaluation.report.html_page import html
from lorag.evaluation.report.json_record import read_result, result_json
from lorag.evaluation.results import Built, compared
from lorag.settings import VerdictSettings
from lorag.types import Usage

USED = {BASE: Usage(100, 10, 0, 0.3, 0.1), FINETUNED: Usage(100, 20, 0, 0.6, 0.1)}
USED |= {RETRIEVAL: Usage(900, 20, 0.02, 1.6, 1.0), BOTH: Usage(500, 20, 0.02, 1.0, 0.4)}
RIGHT = {BASE: 0.1, FINETUNED: 0.4, RETRIEVAL: 0.6, BOTH: 0.8}
BUILT = Built(36.0, 720.0, 5_000_000, 1_000_000_000, 1_020_000_000)


@pytest.fixture(scope="module")
def finished(synthetic):
    """Four arms of one hundred questions, whose seconds and tokens are those of ``USED``, with an update."""
    from lorag.evaluation.comparison import compare_rows

    world = synthetic(100, updated=True)
    rows = [
        replace(row, answer=replace(row.answer, usage=USED[arm]))
        for phase in ("before", "after")
        for arm, share in RIGHT.items()
        for row in world.rows(phase, arm, lambda i, share=share: i % 10 < 10 * share)
    ]
    settings = VerdictSettings(draws=200)
    result = compare_rows(rows, world.examples(), settings=settings, update_seconds={RETRIEVAL: 2.0})
    return replace(result, built=BUILT)


def at(prices, finished):
    return {price.arm: price for price in arm_prices(replace(finished, prices=prices))}


def test_each_arm_has_the_seconds_of_its_parts_and_its_size(finished):
    costs = {each.arm: each for each in arm_costs(finished)}
    assert list(costs) == [BASE, FINETUNED, RETRIEVAL, BOTH]
    assert [costs[arm].build_seconds for arm in costs] == [0.0, 720.0, 36.0, 756.0]
    assert [costs[arm].update_seconds for arm in costs] == [0.0, None, 2.0, None]  # no finetune followed it
    assert costs[BASE].search is None
    retrieval = costs[RETRIEVAL]
    assert retrieval.search is not None
    assert retrieval.first_token is not None
    assert retrieval.generation is not None
    assert retrieval.search.median == pytest.approx(0.02)
    assert retrieval.first_token.p95 == pytest.approx(1.0)
    assert retrieval.generation.mean == pytest.approx(0.6)
    assert [costs[arm].bytes for arm in (FINETUNED, RETRIEVAL, BOTH)] == [1_020_000_000, 1_005_000_000, 1_025_000_000]


def test_answers_are_paid_by_the_hour_or_by_tokens_where_these_have_a_price(finished):
    hour = at(Prices("EUR", rates=Rates(machine_hour=3.6)), finished)
    assert hour[FINETUNED].thousand == pytest.approx(0.6)
    assert hour[RETRIEVAL].thousand == pytest.approx(1.62)
    assert hour[RETRIEVAL].build == pytest.approx(0.036)
    rates = Rates(machine_hour=3.6, million_tokens_in=1.0, million_tokens_out=10.0)
    own = replace(rates, million_tokens_out=20.0, build=25.0)
    tokens = at(Prices("EUR", rates=rates, arms={FINETUNED: own}), finished)
    assert tokens[RETRIEVAL].thousand == pytest.approx(0.02 + 0.9 + 0.2)
    assert tokens[FINETUNED].thousand == pytest.approx(0.1 + 0.4)
    assert tokens[FINETUNED].build == pytest.approx(0.72 + 25)
    assert {each.whole_thousand for each in tokens.values()} == {None}


def test_building_and_updates_are_spread_over_the_questions_that_will_be_asked(finished):
    found = at(Prices("EUR", questions=2000, updates=9, rates=Rates(machine_hour=3.6)), finished)
    assert found[RETRIEVAL].whole_thousand == pytest.approx(1.62 + (0.036 + 9 * 0.002) / 2)
    assert found[FINETUNED].whole_thousand is None  # what an update of it takes was not measured


def test_without_prices_hours_of_the_machine_are_counted(finished):
    assert at(None, finished)[FINETUNED].thousand == pytest.approx(1000 * 0.6 / 3600)
    assert "1,000 questions, machine hours" in [row[0] for row in cost_table(finished).rows]


def test_a_dearer_build_pays_after_the_questions_by_which_it_is_cheaper_to_ask():
    cheap = Price(RETRIEVAL, build=1.0, update=0.0, thousand=2.0, whole_thousand=None)
    dear = Price(FINETUNED, build=11.0, update=0.5, thousand=1.0, whole_thousand=None)
    (found,) = break_evens([Price(BASE, 0.0, 0.0, 5.0, None), cheap, dear])
    assert (found.dear, found.cheap, found.questions, found.per_update) == (FINETUNED, RETRIEVAL, 10_000, 500)
    assert break_evens([cheap, replace(dear, thousand=2.0)]) == ()
    assert break_evens([cheap, replace(dear, thousand=None)]) == ()
    (unknown,) = break_evens([cheap, replace(dear, update=None)])
    assert unknown.per_update is None


def test_the_choice_moves_to_the_arm_that_is_right_more_often_as_right_answers_are_worth_more(finished):
    priced = replace(finished, prices=Prices("EUR", rates=Rates(machine_hour=3.6)))
    steps = worth_steps(priced)
    assert [step.arm for step in steps] == [BASE, FINETUNED, BOTH]  # both cost less than retrieval and are better
    asked, right = {each.arm: each.thousand for each in arm_prices(priced) if each.thousand is not None}, RIGHT
    assert steps[1].worth == pytest.approx((asked[FINETUNED] - asked[BASE]) / 1000 / (right[FINETUNED] - right[BASE]))
    for worth in (0.0, 0.0005, 0.0011, 0.01):
        best = max(right, key=lambda arm: worth * right[arm] - asked[arm] / 1000)
        assert best == [step.arm for step in steps if step.worth <= worth][-1]
    required = replace(priced, settings=replace(priced.settings, require=("prompt_tokens<=200",)))
    assert [step.arm for step in worth_steps(required)] == [BASE, FINETUNED]


def test_the_choice_moves_to_the_arm_that_is_wrong_less_often_as_wrong_answers_do_more_harm(synthetic, compare):
    """Retrieval is right on fewer questions than both, and refuses those; each arm fails on one."""
    world = synthetic(40)
    patterns = {BASE: lambda i: False, RETRIEVAL: lambda i: i % 2 == 0, BOTH: lambda i: i % 8 != 1}
    result = compare(world, patterns)
    rows = tuple(
        replace(row, answer=replace(row.answer, text="The documents do not answer this."))
        if row.arm == RETRIEVAL and not scores["correct"]
        else row
        for row, scores in zip(result.rows, result.scores, strict=True)
    )
    steps = harm_steps(compare_rows(rows, result.examples, settings=result.settings))
    assert [(step.arm, step.worth) for step in steps] == [(BOTH, 0.0), (RETRIEVAL, pytest.approx(0.375 / 0.125))]
    wrong = harm_steps(result)  # the same answers, but wrong ones instead of refusals
    assert [(step.arm, step.worth) for step in wrong] == [(BOTH, 0.0), (NO_ASSISTANT, pytest.approx(0.875 / 0.125))]


def test_the_report_and_the_record_have_the_costs_and_a_record_keeps_its_prices(finished, tmp_path):
    priced = replace(finished, prices=Prices("EUR", 5000, rates=Rates(1.0), arms={BOTH: Rates(2.0)}))
    page = html(priced)
    assert all(caption in page for caption in cost_tables(priced))
    assert "1,000 questions, EUR" in page
    (cost,) = (cells for name, *cells in factor_table(priced).rows if name == "1,000 questions, EUR")
    assert [cell[0] for cell in cost] == ["✓", BEHIND, BEHIND, BEHIND]
    assert all(name != "minutes to build" for name, *_ in factor_table(priced).rows)
    assert worth_table(priced).rows[0] == ("0 EUR or more", BASE)
    assert break_even_table(priced).rows[0][0] == "finetuned over retrieval"
    (tmp_path / "result.json").write_text(result_json(priced))
    assert read_result(tmp_path / "result.json") == priced
    record = json.loads(result_json(priced))["costs"]
    assert record["currency"] == "EUR"
    assert record["arms"][2]["first_token"]["median"] == pytest.approx(1.0)
    assert record["worth"][0] == {"worth": 0.0, "arm": BASE}


def prices_in(folder, text):
    (folder / "prices.toml").write_text(text)
    return read_prices(folder / "prices.toml", compared((BASE, FINETUNED, RETRIEVAL, BOTH)))


def test_a_price_file_is_read_whole_and_an_arm_has_its_own_prices_before_the_others(tmp_path):
    text = 'currency = "EUR"\nquestions = 9\nmachine_hour = 2\nmillion_tokens_in = 1\n[arms.both]\nmachine_hour = 3.5\n'
    prices = prices_in(tmp_path, text)
    assert (prices.currency, prices.questions, prices.updates) == ("EUR", 9, 0)
    assert prices.of(RETRIEVAL) == Rates(machine_hour=2, million_tokens_in=1)
    assert prices.of(BOTH) == Rates(machine_hour=3.5, million_tokens_in=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("machine_hour = -1", "machine_hour is -1; expected a number of 0 or above"),
        ("machine_hour = nan", "machine_hour is nan"),
        ("machine_hour = true", "machine_hour is True"),
        ('machine_hour = "2"', "machine_hour is '2'"),
        ("machine_hours = 1", "unknown price 'machine_hours'; did you mean machine_hour?"),
        ("build = 1", "unknown price 'build'"),
        ("machine_hour = 1\n[arms.finetune]\nbuild = 1", "unknown arm 'finetune'; did you mean finetuned?"),
        ("machine_hour = 1\n[arms.both]\nbiuld = 1", "unknown price 'biuld'; did you mean build?"),
        ("[arms.both]\nbuild = -0.5", "build is -0.5"),
        ("arms = 3", r"arms is not a table; expected \[arms.NAME\]"),
        ("machine_hour = 0", "holds no price above 0; expected one of"),
        ("machine_hour = 1\nquestions = 0", "questions is 0; expected a whole number of 1 or above"),
        ("machine_hour = 1\nupdates = 1.5", "updates is 1.5; expected a whole number of 0 or above"),
        ('machine_hour = 1\ncurrency = ""', "currency is ''; expected 1 to 12 characters"),
        ("machine_hour =", "broken TOML"),
    ],
)
def test_a_wrong_price_is_refused_by_name(tmp_path, text, said):
    with pytest.raises(DataError, match=rf"prices\.toml: .*{said}"):
        prices_in(tmp_path, text)
