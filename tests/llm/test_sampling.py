"""Every generation setting takes part, as transformers' own processors and ``generate`` mean it, or is refused."""

import math

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from lorag.errors import InputError
from lorag.llm.decoding.sampling import choose, shares
from lorag.llm.decoding.stop_texts import cut, settled
from lorag.llm.rendering import render
from lorag.types import Message, Sampling

QUESTION = (Message("user", "What is the capital of France?"),)
LIST = (Message("user", "Name three colours, then three animals."),)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_tokens": 0}, "max_tokens 0 is not valid; expected 1 or above"),
        ({"max_tokens": 2**31}, "max_tokens 2147483648 is not valid"),
        ({"temperature": -0.1}, r"temperature -0\.1 is not valid"),
        ({"temperature": math.nan}, "temperature nan is not valid"),
        ({"temperature": 1e-300}, r"temperature 1e-300 is not valid; expected 0 \(greedy\) or 0\.001 to 100"),
        ({"temperature": 1e300}, r"temperature 1e\+300 is not valid"),
        ({"top_p": 0.0}, r"top_p 0\.0 is not valid; expected above 0 and at most 1"),
        ({"top_p": 1.5}, r"top_p 1\.5 is not valid"),
        ({"top_k": -1}, "top_k -1 is not valid"),
        ({"top_k": 2**31}, "top_k 2147483648 is not valid"),
        ({"repetition_penalty": 0.0}, r"repetition_penalty 0\.0 is not valid"),
        ({"repetition_penalty": 1e9}, r"repetition_penalty 1000000000\.0 is not valid"),
        ({"num_beams": -1}, "num_beams -1 is not valid"),
        ({"seed": -1}, "seed -1 is not valid"),
        ({"stop": ("",)}, "stop .* is not valid; expected a tuple of strings that are not empty"),
        ({"stop": "END"}, "stop 'END' is not valid"),
    ],
)
def test_an_invalid_setting_is_named(settings, message):
    with pytest.raises(InputError, match=message):
        Sampling(**settings)


SETTINGS = [
    Sampling(temperature=1.0),
    Sampling(temperature=0.3),
    Sampling(temperature=1.7, top_k=5),
    Sampling(temperature=1.0, top_p=0.6),
    Sampling(temperature=0.7, top_k=40, top_p=0.9),
    Sampling(temperature=1.2, repetition_penalty=1.8),
    Sampling(temperature=0.1, top_k=10, top_p=0.75, repetition_penalty=1.3),
    Sampling(temperature=1.0, top_k=10_000),
    Sampling(temperature=1.0, top_p=1e-6),
]


@pytest.mark.parametrize("temperature", [0.001, 100])
@pytest.mark.parametrize("penalty", [0.01, 100])
def test_the_most_extreme_settings_still_draw_a_token(temperature, penalty):
    logits = 30 * torch.randn(2, 50)
    kept, _ = shares(logits, Sampling(temperature=temperature, repetition_penalty=penalty, top_p=1e-9), [[1], [2]])
    assert torch.isfinite(kept).all()
    assert (kept.sum(-1) > 0).all()


def by_the_library(logits, seen, sampling):
    """The shares that transformers' processors leave, in the order of its ``generate``."""
    processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)])
    processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    return torch.softmax(processors(seen, logits.clone()), -1)


@pytest.mark.parametrize("sampling", SETTINGS, ids=str)
def test_the_shares_drawn_from_are_those_of_the_librarys_processors(sampling):
    torch.manual_seed(0)
    logits, seen = 3 * torch.randn(4, 500), torch.randint(0, 500, (4, 40))
    kept, tokens = shares(logits, sampling, seen.tolist())
    ours = torch.zeros(4, 500).scatter(-1, tokens, kept / kept.sum(-1, keepdim=True))
    theirs = by_the_library(logits, seen, sampling)
    assert torch.equal(ours > 0, theirs > 0)
    torch.testing.assert_close(ours, theirs)


def test_draws_fall_as_often_as_their_shares_say():
    torch.manual_seed(0)
    logits, sampling = 2 * torch.randn(1, 50), Sampling(temperature=0.8, top_k=12, top_p=0.95)
    n = 20_000
    drawn = [int(choose(logits, sampling, [[]], (i + 0.5) / n)) for i in range(n)]
    found = torch.bincount(torch.tensor(drawn), minlength=50) / n
    torch.testing.assert_close(found, by_the_library(logits, torch.zeros(1, 0).long(), sampling)[0], atol=2e-4, rtol=0)


def test_the_ends_of_a_draw_stay_among_the_tokens_kept():
    logits = torch.tensor([[0.0, 5.0, 4.0, -2.0]])
    for top_k, likeliest in ((1, {1}), (2, {1, 2})):
        drawn = {int(choose(logits, Sampling(temperature=1.0, top_k=top_k), [[]], c)) for c in (0.0, 0.5, 1 - 1e-16)}
        assert drawn == likeliest


def library_text(weights, prompt, **settings):
    """What transformers' own ``generate`` says."""
    ids = torch.tensor([render(weights.tokenizer, prompt, reply=True).ids])
    plain = {"temperature": None, "top_k": None, "top_p": None} if not settings.get("do_sample") else {}
    with torch.inference_mode():
        out = weights.model.generate(ids, attention_mask=torch.ones_like(ids), **plain, **settings)
    return weights.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()


def test_a_repetition_penalty_acts_on_prompt_and_answer_as_in_the_librarys_generate(shallow):
    plain, penalised = (Sampling(max_tokens=16, repetition_penalty=p) for p in (1.0, 1.6))
    texts = [c.text for c in shallow.generate([LIST, QUESTION], penalised)]
    for prompt, text in zip([LIST, QUESTION], texts, strict=True):
        theirs = library_text(
            shallow.weights, prompt, max_new_tokens=16, do_sample=False, num_beams=1, repetition_penalty=1.6
        )
        assert text == theirs
    assert texts != [c.text for c in shallow.generate([LIST, QUESTION], plain)]


def test_one_likeliest_token_is_the_greedy_one_at_any_temperature(tiny):
    greedy = tiny.generate([LIST], Sampling(max_tokens=12))[0].text
    assert tiny.generate([LIST], Sampling(max_tokens=12, temperature=5.0, top_k=1))[0].text == greedy
    assert tiny.generate([LIST], Sampling(max_tokens=12, temperature=5.0, top_p=1e-9))[0].text == greedy
    assert tiny.generate([LIST], Sampling(max_tokens=12, temperature=5.0))[0].text != greedy


def test_beams_find_what_the_librarys_beam_search_finds(tiny):
    sampling = Sampling(max_tokens=10, num_beams=3)
    for prompt, completion in zip([LIST, QUESTION], tiny.generate([LIST, QUESTION], sampling), strict=True):
        theirs = library_text(tiny.weights, prompt, max_new_tokens=10, num_beams=3, do_sample=False)
        assert completion.text == theirs == "".join(tiny.stream(prompt, sampling))
    one, none = (tiny.generate([LIST], Sampling(max_tokens=10, num_beams=n))[0].text for n in (1, 0))
    assert one == none


def test_beams_find_a_text_at_least_as_likely_as_the_greedy_one(smollm):
    def log_likelihood(text):
        prompt = render(smollm.weights.tokenizer, LIST, reply=True).ids
        said = smollm.weights.tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = smollm.weights.model(torch.tensor([[*prompt, *said]])).logits[0, len(prompt) - 1 : -1]
        return float(torch.log_softmax(logits, -1)[range(len(said)), said].sum())

    greedy, searched = (smollm.generate([LIST], Sampling(max_tokens=10, num_beams=n))[0].text for n in (0, 4))
    assert greedy != searched
    assert log_likelihood(searched) > log_likelihood(greedy)


def test_drawn_beams_repeat_with_their_seed_and_leave_the_callers_draws_alone(tiny):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    drawn = Sampling(max_tokens=8, num_beams=2, temperature=1.5, seed=1)
    first = tiny.generate([LIST], drawn)[0].text
    assert torch.equal(torch.rand(3), expected)
    assert tiny.generate([LIST], drawn)[0].text == first


def test_a_drawn_row_does_not_depend_on_its_batch(tiny):
    drawn = Sampling(max_tokens=8, temperature=1.2, top_k=30, seed=2)
    together = tiny.generate([LIST, QUESTION], drawn)
    assert [tiny.generate([prompt], drawn)[0].text for prompt in (LIST, QUESTION)] == [c.text for c in together]
    assert "".join(tiny.stream(LIST, drawn)) == together[0].text


@pytest.mark.parametrize(
    ("text", "stops", "shown", "kept"),
    [
        ("one two", (), "one two", ("one two", False)),
        ("one EN", ("END",), "one ", ("one EN", False)),
        ("one END two", ("END",), "one END two", ("one ", True)),
        ("a\n", ("\n\n", "\nQ:"), "a", ("a\n", False)),
        ("aab", ("aabaac",), "", ("aab", False)),
        ("x STOP END", ("END", "STOP"), "x STOP END", ("x ", True)),
    ],
)
def test_an_answer_ends_before_the_first_stop_text(text, stops, shown, kept):
    assert settled(text, stops) == shown
    assert cut(text, stops) == kept
