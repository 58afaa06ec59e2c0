"""A conversation goes on within its budgets, keeps its history whole, and never loses the question."""

import json

import pytest

from lorag.chat.bot import ChatBot
from lorag.chat.history import AROUND_A_TURN, fitting_exchanges, read_history
from lorag.chat.session import Session
from lorag.errors import DataError, InputError
from lorag.llm.engines.scripted import ScriptedModel
from lorag.settings import ChatSettings
from lorag.types import Chunk, Hit, Message, Sampling


def hit(text):
    return Hit(Chunk("a.md", "v", 0, len(text), text), 1.0, "hybrid")


class Shelf:
    """Returns the same passages for every question and remembers what it was asked."""

    def __init__(self, *texts):
        self.hits, self.asked = [hit(text) for text in texts], []

    def retrieve(self, queries, k):
        self.asked += queries
        return [self.hits[:k] for _ in queries]


def echo(prompt):
    return f"You said: {prompt[-1].content.split('Question: ')[-1]}"


def talk(session, *questions):
    return ["".join(session.ask(question)) for question in questions]


def test_earlier_turns_stand_between_instruction_and_question_and_leaning_questions_are_searched_with_them():
    model, shelf = ScriptedModel(echo), Shelf("The R9 weighs 5.2 kg.")
    session = Session(ChatBot(model, shelf))
    talk(session, "Which gauge do bridges have?", "How heavy is it?")
    assert shelf.asked == ["Which gauge do bridges have?", "Which gauge do bridges have? How heavy is it?"]
    system, *earlier, asked = model.prompts[-1]
    assert system.role == "system"
    assert earlier == [
        Message("user", "Which gauge do bridges have?"),
        Message("assistant", "You said: Which gauge do bridges have?"),
    ]
    assert asked.content.endswith("Question: How heavy is it?")
    assert session.answer is not None
    assert session.answer.query == "Which gauge do bridges have? How heavy is it?"
    assert session.answer.prompt == model.prompts[-1]


def test_the_oldest_whole_exchanges_go_first_and_the_instruction_stays():
    model = ScriptedModel(echo)
    session = Session(ChatBot(model, settings=ChatSettings(history_tokens=12 + 4 * AROUND_A_TURN)))
    talk(session, "one two", "three four", "five six")
    earlier = model.prompts[-1][1:-1]
    assert model.prompts[-1][0].role == "system"
    assert [turn.content for turn in earlier] == ["one two", "You said: one two", "three four", "You said: three four"]
    talk(session, "seven eight")
    earlier = model.prompts[-1][1:-1]
    assert [turn.content for turn in earlier][::2] == ["three four", "five six"]
    assert len(session.history) == 8


def test_an_exchange_is_kept_or_dropped_whole():
    turns = [Message("user", "a b c"), Message("assistant", "d"), Message("user", "e"), Message("assistant", "f")]

    def kept(room):
        return [[turn.content for turn in exchange] for exchange in fitting_exchanges(turns, len, room)]

    assert kept(8 + 4 * AROUND_A_TURN) == [["a b c", "d"], ["e", "f"]]
    assert kept(7 + 4 * AROUND_A_TURN) == [["e", "f"]]
    assert kept(1 + 2 * AROUND_A_TURN) == []


def test_a_history_longer_than_the_context_is_cut_before_it_is_counted_or_rendered():
    counted, rendered = [], []

    class Watching(ScriptedModel):
        def count_tokens(self, text):
            counted.append(text)
            return super().count_tokens(text)

        def room(self, prompt, sampling):
            rendered.append(len(prompt))
            return super().room(prompt, sampling)

    model = Watching(echo, context_tokens=2000)
    bot = ChatBot(model, settings=ChatSettings(history_tokens=400))
    history = [Message("user" if i % 2 == 0 else "assistant", "") for i in range(30_000)]
    "".join(bot.reply("Why?", [Message("user", "very " * 100_000), *history]))
    assert (len(model.prompts[-1]), max(rendered)) == (2 + 400 // AROUND_A_TURN, 2 + 400 // AROUND_A_TURN)
    assert len(counted) < 1000
    "".join(bot.reply("Why?", [*history, Message("user", "very " * 100_000), Message("assistant", "Yes.")]))
    assert len(model.prompts[-1]) == 2
    assert max(map(len, counted)) < 1000


def test_a_question_far_too_long_is_refused_before_it_is_searched_for():
    shelf = Shelf("The warranty lasts 28 months.")
    bot = ChatBot(ScriptedModel(echo, context_tokens=200), shelf)
    for ask in (bot.reply, bot.ask):
        with pytest.raises(InputError, match="the question exceeds scripted's context by far; shorten it"):
            ask("why " * 10_000)
    assert shelf.asked == []


def test_what_does_not_fit_the_context_is_left_out_sources_first_then_old_turns_and_the_question_never():
    passages = ["one " * 10, "two " * 10]
    history = [Message("user", "old " * 10), Message("assistant", "reply " * 10)]
    sampling = Sampling(max_tokens=5)
    question = "How tall are lighthouses?"

    def spent(bot, history=()):
        "".join(bot.reply(question, history))
        return sum(len(turn.content.split()) for turn in bot.model.prompts[-1]) + sampling.max_tokens

    def bot_of(context):
        return ChatBot(ScriptedModel(echo, context_tokens=context), Shelf(*passages), ChatSettings(sampling=sampling))

    whole, alone = spent(bot_of(None), history), spent(ChatBot(ScriptedModel(echo), None, bot_of(None).settings))
    seen = []
    for context in range(whole, alone - 1, -1):
        bot = bot_of(context)
        reply = bot.reply(question, history)
        assert "".join(reply)
        assert question in bot.model.prompts[0][-1].content
        seen.append((len(reply.sources), len(bot.model.prompts[0]) - 2))
    assert list(dict.fromkeys(seen)) == [(2, 2), (1, 2), (0, 2), (0, 0)]
    with pytest.raises(InputError, match=r"even without sources and history, .* context by 1 token; shorten"):
        bot_of(alone - 1).reply(question, history)


def test_a_batch_of_questions_is_cut_to_the_context_as_well():
    model = ScriptedModel(echo, context_tokens=45)
    bot = ChatBot(model, Shelf("one " * 10, "two " * 10), ChatSettings(sampling=Sampling(max_tokens=5)))
    short, long = bot.answer(["Why?", "Why " * 8])
    assert (len(short.sources), len(long.sources)) == (1, 0)
    with pytest.raises(InputError, match=r"exceeds scripted's context by [0-9]+ tokens"):
        bot.answer(["Why?", "why " * 60])


def test_the_real_model_takes_a_prompt_cut_to_its_context(smollm):
    shelf = Shelf("The warranty lasts 28 months.")
    bot = ChatBot(smollm, shelf, ChatSettings(sampling=Sampling(max_tokens=2)))
    fitting = "water " * 8100
    assert smollm.room(bot.prepare(fitting, [])[0], bot.settings.sampling) >= 0
    _, sources = bot.prepare(fitting, shelf.hits)
    assert len(sources) == 1
    tight = "water " * (8100 + smollm.room(bot.prepare(fitting, [])[0], bot.settings.sampling) - 1)
    prompt, sources = bot.prepare(tight, shelf.hits)
    assert (sources, prompt[-1].content) == ((), tight)
    with pytest.raises(InputError, match=r"exceeds smollm2-135m's context by [0-9]+ token"):
        bot.prepare("water " * 8200, [])


def test_a_history_is_kept_in_a_file_and_gone_on_with(tmp_path):
    path, model = tmp_path / "talk.json", ScriptedModel(echo)
    talk(Session(ChatBot(model), path), "Who founded Korrin?")
    assert json.loads(path.read_text())["messages"][1] == {
        "role": "assistant",
        "content": "You said: Who founded Korrin?",
    }
    again = Session(ChatBot(model), path)
    talk(again, "And when?")
    assert model.prompts[-1][1].content == "Who founded Korrin?"
    again.reset()
    assert (read_history(path), again.answer) == ([], None)


def test_a_kept_history_is_training_data(tmp_path):
    from lorag.training.data.conversations import read_conversations

    path = tmp_path / "talk.jsonl"
    talk(Session(ChatBot(ScriptedModel(echo)), path), "Who founded Korrin?", "And when?")
    (conversation,) = read_conversations(path)
    assert [turn.role for turn in conversation.messages] == ["user", "assistant"] * 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"messages": 3}', '{"messages": [{"role": "system"}]}', "half"])
def test_a_file_without_a_history_is_refused_and_left(tmp_path, text):
    path = tmp_path / "talk.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"is not a history of `lorag chat`; choose another file with --history"):
        Session(ChatBot(ScriptedModel(echo)), path)
    assert path.read_text() == text


def test_turns_of_other_roles_are_no_history(tmp_path):
    (tmp_path / "talk.json").write_text('{"messages": [{"role": "system", "content": "Obey."}]}')
    with pytest.raises(DataError, match="turns with roles other than user and assistant"):
        read_history(tmp_path / "talk.json")


def test_an_answer_that_broke_off_is_not_in_the_history(tmp_path):
    def broken(prompt):
        raise RuntimeError("out of memory")

    session = Session(ChatBot(ScriptedModel(broken)), tmp_path / "talk.json")
    with pytest.raises(RuntimeError):
        talk(session, "Who founded Korrin?")
    with pytest.raises(InputError, match="the question is empty"):
        talk(session, "  ")
    assert session.history == []
    assert not (tmp_path / "talk.json").exists()


def test_a_reader_who_leaves_leaves_no_half_exchange():
    session = Session(ChatBot(ScriptedModel(echo)))
    left = session.ask("Who founded Korrin?")
    next(left)
    left.close()
    assert session.history == []


def test_usage_splits_the_time(smollm):
    bot = ChatBot(smollm, Shelf("The warranty lasts 28 months."), ChatSettings(sampling=Sampling(max_tokens=6)))
    reply = bot.reply("How long does the warranty last?")
    said = "".join(reply)
    assert reply.answer is not None
    assert said == reply.answer.text == bot.ask("How long does the warranty last?").text
    usage = reply.answer.usage
    assert usage.prompt_tokens > 30
    assert 0 < usage.prefill_seconds < usage.generate_seconds
    assert usage.decode_seconds == usage.generate_seconds - usage.prefill_seconds
    assert bot.ask("How long does the warranty last?").usage.prefill_seconds > 0
