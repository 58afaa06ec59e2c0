"""The prompt holds the passages, whole and within budget; refusals are seen; a reply streams what an answer holds."""

from dataclasses import asdict, replace

import pytest

from lorag.chat.bot import ChatBot, answer_together
from lorag.chat.prompts import (
    WorkedExample,
    as_served,
    as_served_with_sources,
    is_refusal,
    question_prompt,
    source_text,
)
from lorag.chat.thoughts import without_thoughts
from lorag.errors import InputError
from lorag.llm.engines.completion_cache import CachedModel
from lorag.llm.engines.openai import RemoteModel
from lorag.llm.engines.scripted import ScriptedModel
from lorag.settings import REFUSAL, ChatSettings, PromptSettings
from lorag.types import Chunk, Completion, Conversation, Hit, Message, Sampling, ThinkingSampling, TokenLogprob


def hit(text: str, heading: str = "", score: float = 1.0) -> Hit:
    return Hit(Chunk("a.md", "v", 0, len(text), text, heading), score, "hybrid")


class Shelf:
    """Returns the same passages for every question and remembers what it was asked."""

    def __init__(self, *hits: Hit) -> None:
        self.hits = list(hits)
        self.asked: list[str] = []

    def retrieve(self, queries, k):
        self.asked += queries
        return [self.hits[:k] for _ in queries]


def test_the_prompt_holds_the_passages_numbered_with_their_headings():
    model = ScriptedModel(lambda prompt: "28 months.")
    bot = ChatBot(model, Shelf(hit("The warranty lasts 28 months.", "Warranty"), hit("Cables are vented.")))
    answer = bot.ask("How long is the warranty?")
    sent = model.prompts[0][-1].content
    assert "[1] Warranty\nThe warranty lasts 28 months.\n\n[2]\nCables are vented." in sent
    assert sent.endswith("Question: How long is the warranty?")
    assert answer.prompt == model.prompts[0]
    assert [source.chunk.text for source in answer.sources] == ["The warranty lasts 28 months.", "Cables are vented."]
    assert answer.text == "28 months."
    assert answer.refused is False


def test_without_a_retriever_the_question_stands_alone_under_the_same_instruction():
    model = ScriptedModel(lambda prompt: "x")
    ChatBot(model).ask("Why?")
    ChatBot(model, Shelf(hit("Because."))).ask("Why?")
    assert model.prompts[0][0] == model.prompts[1][0]
    assert model.prompts[0][1] == Message("user", "Why?")


def test_only_whole_passages_go_in_and_the_best_always_does():
    passages = [hit("one " * 10), hit("two " * 10), hit("three " * 10)]
    model = ScriptedModel(lambda prompt: "x")
    for room, expected in ((25, 2), (11, 1), (1, 1), (100, 3)):
        bot = ChatBot(model, Shelf(*passages), ChatSettings(context_tokens=room))
        assert len(bot.ask("?").sources) == expected
        assert model.prompts[-1][-1].content.count("[") == expected


def test_answers_come_in_the_order_of_questions_and_one_search_serves_them_all():
    shelf = Shelf(hit("x"))
    bot = ChatBot(ScriptedModel(lambda prompt: prompt[-1].content.split("Question: ")[1]), shelf)
    questions = [f"Question number {n}?" for n in range(5)]
    assert [a.text for a in bot.answer(questions)] == questions == shelf.asked
    assert bot.answer([]) == []


def test_a_part_of_a_table_is_quoted_under_its_header():
    row = "| Harbour | 2 |\n"
    part = Hit(Chunk("a.md", "v", 30, 30 + len(row), row, "Prices", "| plan | price |"), 0.5, "hybrid")
    assert source_text(2, part) == "[2] Prices\n| plan | price |\n| Harbour | 2 |"


def test_an_empty_question_is_refused():
    with pytest.raises(InputError, match="the question is empty"):
        ChatBot(ScriptedModel(lambda prompt: "x")).answer(["ok?", "  "])


class Sieve:
    """Finds a passage for questions on gauges and nothing for others."""

    def retrieve(self, queries, k):
        return [[hit("It reads the level.")] if "gauge" in query else [] for query in queries]


def test_a_gate_answers_for_the_model_where_nothing_was_found():
    model = ScriptedModel(lambda prompt: prompt[-1].content.split("Question: ")[1])
    settings = ChatSettings(response_template="No idea.")
    bot = ChatBot(model, Sieve(), settings, gated=True)
    answers = bot.answer(["One gauge?", "Pancakes?", "Two gauges?", "Tennis?"])
    assert [answer.text for answer in answers] == ["One gauge?", "No idea.", "Two gauges?", "No idea."]
    assert [answer.refused for answer in answers] == [False, True, False, True]
    assert len(model.prompts) == 2
    refused = answers[1]
    assert (refused.prompt, refused.sources, refused.error) == ((), (), None)
    assert (refused.usage.prompt_tokens, refused.usage.generate_seconds) == (0, 0.0)
    reply = bot.reply("Pancakes?", (Message("user", "Hello"), Message("assistant", "Good day.")))
    assert list(reply) == ["No idea."]
    assert reply.answer is not None
    assert (reply.answer.text, reply.answer.refused, reply.answer.prompt) == ("No idea.", True, ())
    assert len(model.prompts) == 2
    assert "".join(bot.reply("One gauge?")) == "One gauge?"


def test_without_a_gate_the_model_is_asked_whatever_was_found():
    model = ScriptedModel(lambda prompt: "Flour.")
    assert ChatBot(model, Sieve()).ask("Pancakes?").text == "Flour."
    assert ChatBot(model, gated=True).ask("Pancakes?").text == "Flour."


def test_a_reply_streams_what_the_answer_holds_and_remembers_the_history():
    model = ScriptedModel(lambda prompt: "It lasts 28 months.")
    bot = ChatBot(model, Shelf(hit("The warranty lasts 28 months.")))
    history = (Message("user", "Hello"), Message("assistant", "Good day."))
    reply = bot.reply("How long?", history)
    before, said, answer = reply.answer, "".join(reply), reply.answer
    assert before is None
    assert answer is not None
    assert said == "It lasts 28 months." == answer.text
    assert model.prompts[0][1:3] == history
    assert answer.prompt == model.prompts[0]
    assert answer.sources == reply.sources
    assert answer.usage.completion_tokens == 4


@pytest.mark.parametrize(
    "text",
    [
        REFUSAL,
        "I do not know: the documents do not say",
        "I don\u2019t know.",
        "Sorry, the sources do not mention a price.",
        "The interest rate is not specified in the sources.",
        "There is no information about that.",
        "I cannot answer this from the documents.",
    ],
)
def test_refusals_are_seen(text):
    assert is_refusal(text, REFUSAL)


@pytest.mark.parametrize(
    "text",
    [
        "The warranty lasts 28 months.",
        "Do not open the housing.",
        "Customers who do not pay are reminded.",
        "Know that the gauge is in Halifax.",
        "",
    ],
)
def test_answers_are_not_taken_for_refusals(text):
    assert not is_refusal(text, REFUSAL)


def test_training_conversations_take_the_form_that_is_served():
    plain = Conversation((Message("user", "Why?"), Message("assistant", "Because.")), ("a.md",))
    served = as_served(plain, REFUSAL)
    assert served.messages[:-1] == question_prompt("Why?", (), REFUSAL)
    assert as_served(served, REFUSAL) == served
    with_sources = as_served_with_sources(plain, [hit("Because.")], REFUSAL)
    assert with_sources.messages[:-1] == question_prompt("Why?", [hit("Because.")], REFUSAL)
    assert with_sources.messages[-1] == plain.messages[-1]
    assert with_sources.evidence == ("a.md",)


EXAMPLES = (
    WorkedExample("How far?", (hit("It is 5 km."),), "5 km."),
    WorkedExample("How old?", (hit("9 years."),), "9."),
)


def test_worked_examples_are_turns_before_the_question_with_sources_where_it_has_some():
    model = ScriptedModel(lambda prompt: "x")
    ChatBot(model, Shelf(hit("Because.")), examples=EXAMPLES).ask("Why?")
    ChatBot(model, examples=EXAMPLES).ask("Why?")
    with_sources, without = model.prompts
    assert [m.role for m in with_sources] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert "It is 5 km." in with_sources[1].content
    assert with_sources[1].content.endswith("Question: How far?")
    assert [m.content for m in without[1:]] == ["How far?", "5 km.", "How old?", "9.", "Why?"]


def test_worked_examples_give_way_before_sources_do():
    model = ScriptedModel(lambda prompt: "x", context_tokens=60)
    settings = ChatSettings(sampling=Sampling(max_tokens=8))
    bot = ChatBot(model, Shelf(hit("Because of the tide.")), settings, examples=EXAMPLES * 3)
    answer = bot.ask("Why?")
    assert "Because of the tide." in answer.prompt[-1].content
    assert len(answer.prompt) < 2 + 2 * 6


def test_the_question_may_stand_first_and_the_refusal_may_be_left_out():
    prompt = question_prompt("Why?", [hit("Because.")], REFUSAL, PromptSettings(question_first=True))
    assert prompt[-1].content.startswith("Question: Why?")
    assert prompt[-1].content.endswith("Answer the question in one short sentence from the sources.")
    assert REFUSAL in prompt[0].content
    bare = question_prompt("Why?", [], REFUSAL, PromptSettings(offer_refusal=False))
    assert REFUSAL not in bare[0].content


def test_chatbots_answer_together_what_each_answers_alone():
    model = ScriptedModel(lambda prompt: prompt[-1].content[-20:])
    other = ScriptedModel(lambda prompt: prompt[-1].content[:4])
    bots = [ChatBot(model), ChatBot(other), ChatBot(model, Shelf(hit("Because.")), examples=EXAMPLES)]
    questions = [["Why?", "How?"], ["Who?"], ["When?"]]
    alone = [[answer.text for answer in bot.answer(asked)] for bot, asked in zip(bots, questions, strict=True)]
    together = answer_together(list(zip(bots, questions, strict=True)))
    assert [[answer.text for answer in answers] for answers in together] == alone
    assert (len(model.prompts), len(other.prompts)) == (6, 2)


SHOWN, HIDDEN = ThinkingSampling(thinking="shown"), ThinkingSampling()
THOUGHT = "<think>\nThe sources say 28.\n</think>\n\n"


@pytest.mark.parametrize(
    ("said", "sampling", "text", "cut"),
    [
        (f"{THOUGHT}28 months.", Sampling(), "28 months.", False),
        (f"{THOUGHT}28 months.", HIDDEN, "28 months.", False),
        (f"{THOUGHT}28 months.", SHOWN, f"{THOUGHT}28 months.", False),
        ("<think>\n\n</think>\n\n28 months.", Sampling(), "28 months.", False),
        ("The sources say 28. </think> 28 months.", HIDDEN, "28 months.", False),
        ("28 months.", HIDDEN, "28 months.", False),
        ("<think> 28 or 29", Sampling(), "", True),
        ("<think> a b c d", Sampling(max_tokens=3), "", True),
        ("a b c d", Sampling(max_tokens=3), "a b c", True),
        ("a b c d", replace(HIDDEN, max_tokens=3), "", True),
        ("In HTML, <think> and </think> are unknown.", Sampling(), "In HTML, <think> and </think> are unknown.", False),
        ("In HTML, <think> and </think> are unknown.", HIDDEN, "In HTML, <think> and </think> are unknown.", False),
        ("Close it with </think> and go on.", Sampling(), "Close it with </think> and go on.", False),
        ("<b>28</b> months.", Sampling(), "<b>28</b> months.", False),
    ],
)
def test_thoughts_are_no_part_of_an_answer_whole_or_streamed_unless_they_are_shown(said, sampling, text, cut):
    bot = ChatBot(ScriptedModel(lambda prompt: said), settings=ChatSettings(sampling=sampling))
    whole, reply = bot.ask("How long?"), bot.reply("How long?")
    pieces = list(reply)
    assert reply.answer is not None
    assert (whole.text, whole.truncated) == (reply.answer.text, reply.answer.truncated) == (text, cut)
    assert "".join(pieces) == text
    assert len(pieces) > 1 or " " not in text or sampling is HIDDEN


def test_thoughts_that_a_servers_template_opened_are_left_out_without_being_asked_for(endpoint):
    said = ["The sources say 28. </think> I do not know: the documents do not say.", "It says 28 or", "29", "30"]
    replies = iter(said)
    model = RemoteModel(endpoint(ScriptedModel(lambda prompt: next(replies))).name)
    bot = ChatBot(CachedModel(model), settings=ChatSettings(sampling=Sampling(max_tokens=20)))
    answer = bot.ask("How long?")
    assert (answer.text, answer.refused) == (REFUSAL, True)
    cut = ChatBot(model, settings=ChatSettings(sampling=Sampling(max_tokens=2))).ask("How long is it?")
    assert (cut.text, cut.truncated) == ("", True)
    assert list(bot.reply("How?")) == ["29"]
    assert not model.opens_thoughts  # a whole answer without thoughts: the next one is not held back


def test_a_server_that_was_seen_to_begin_inside_thoughts_streams_none_of_them(endpoint):
    bot = ChatBot(RemoteModel(endpoint(ScriptedModel(lambda prompt: "It says 28. </think> 28 months")).name))
    assert bot.ask("How long?").text == "28 months"
    assert list(bot.reply("How long?")) == ["28", " months"]
    plain = ChatBot(RemoteModel(endpoint(ScriptedModel(lambda prompt: "<b> and </b> are bold")).name))
    assert (plain.ask("Why?").text, len(list(plain.reply("Why?")))) == ("<b> and </b> are bold", 5)


def test_log_probabilities_are_those_of_the_answer_alone():
    tokens = ("<think>", "Hm", "</", "think>", "28", ".")
    done = Completion("<think>Hm</think>28.", 1, 6, 0.0, "stop", 0.0, tuple(TokenLogprob(t, -1.0) for t in tokens))
    assert [token.text for token in without_thoughts(done, "off").logprobs] == ["28", "."]
    assert without_thoughts(done, "shown") is done


def test_a_choice_of_thinking_that_there_is_not_is_refused_and_the_usual_draw_has_no_field_of_it():
    with pytest.raises(InputError, match="thinking 'on' is not one of off, hidden, shown"):
        ThinkingSampling(thinking="on")  # type: ignore[arg-type]
    assert "thinking" not in asdict(Sampling())
    assert replace(HIDDEN, seed=3).thinking == "hidden"
