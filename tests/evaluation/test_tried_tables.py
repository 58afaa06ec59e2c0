"""What was tried stands in the report with its figures and intervals, the choice marked."""

from lorag.evaluation.prompt_choice import PromptChoice, TriedPrompt
from lorag.evaluation.report.tried_tables import curve_table, prompts_table, recipe_table
from lorag.settings import PromptSettings


def probed(recall, reading, loss):
    return {"facts": 12, "recall": recall, "reading": reading, "general_loss": loss}


RUNG = {"method": "lora", "learning_rate": 5e-4, "passes": 3, "conversations": 519, "updates": 534, "seconds": 570.0}
RECIPE = {
    "before": probed(0.0, 1.0, 3.67),
    "rungs": [{**RUNG, "learning_rate": 1e-3, "passes": 1, "probed": probed(0.25, None, 3.8)}],
    "final": {**RUNG, "probed": probed(2 / 3, 11 / 12, 4.47)},
    "strengths": [
        {"share": 1.0, "probed": probed(2 / 3, 11 / 12, 4.47)},
        {"share": 0.75, "probed": probed(10 / 12, 1.0, 4.07)},
    ],
}


def test_every_training_and_strength_has_a_row_with_intervals():
    table = recipe_table({"recipe": RECIPE})
    assert [row[0] for row in table.rows] == [
        "base model",
        "rung: lora, rate 0.001, 1 pass",
        "training: lora, rate 0.0005, 3 passes",
        "at 0.75 of its strength",
    ]
    assert table.rows[0][2] == "0 (0-24)"
    assert table.rows[1][3] == "–"
    assert table.rows[2][1:] == ("12", "67 (39-86)", "92 (65-99)", "4.47", "519", "9.5")
    assert table.rows[3][2] == "83 (55-95)"
    assert all(len(row) == len(table.headings) for row in table.rows)


def test_a_learning_curve_has_a_row_per_pass():
    curve = [{"passes": 1, "updates": 178, "recall": 0.25, "low": 0.089, "high": 0.532}]
    assert curve_table({"recipe": {**RECIPE, "curve": curve}}).rows == (("pass 1", "178", "25 (9-53)"),)


def test_prompts_are_listed_by_arm_the_one_that_was_taken_first():
    tried = tuple(
        TriedPrompt(PromptSettings(examples=count), questions, right, 0.0, None, 1.5, 240.0)
        for count, questions, right in ((3, 16, 0.75), (0, 6, 0.5))
    )
    table = prompts_table({"prompts": {"retrieval": PromptChoice(tried[0].prompt, tried).to_json()}})
    assert [row[0] for row in table.rows] == [
        "retrieval: question after sources, 3 examples (taken)",
        "retrieval: question after sources",
    ]
    assert table.rows[0][1:] == ("16", "75 (51-90)", "0", "–", "–", "1.50", "240")


def test_nothing_tried_makes_no_rows():
    assert (
        recipe_table({}).rows
        == prompts_table({}).rows
        == curve_table({}).rows
        == curve_table({"recipe": RECIPE}).rows
        == ()
    )
