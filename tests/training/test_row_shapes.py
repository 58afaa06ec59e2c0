"""A row becomes a conversation by its roles, whatever its shape, or is refused with a reason."""

import json

import pytest

from lorag.errors import InputError
from lorag.training.data.row_shapes import parse
from lorag.types import Conversation, Message

TURNS = [("user", "Who founded it?"), ("assistant", "Mara.")]
QUESTION, ANSWER = "Who founded it?", "Mara."


def turns(row):
    return [(message.role, message.content) for message in parse(row).conversation.messages]


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        (
            {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]},
            "messages of role/content",
        ),
        (
            {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]},
            "conversations of from/value",
        ),
        (
            {"messages": [{"from": "human", "content": QUESTION}, {"from": "chatbot", "content": f" {ANSWER}\n"}]},
            "messages of from/content",
        ),
        (
            {"conversation": [{"from": " Prompter ", "value": QUESTION}, {"role": "BOT", "content": ANSWER}]},
            "conversation of from/value and role/content",
        ),
        (
            [{"role": "user", "content": QUESTION}, {"role": "model", "content": ANSWER}],
            "list of role/content",
        ),
        ({"instruction": QUESTION, "input": "", "output": ANSWER, "history": [], "system": ""}, "instruction/output"),
        ({"instruction": "Who founded it?", "output": ANSWER, "messages": None}, "instruction/output"),
        ({"prompt": QUESTION, "completion": ANSWER}, "prompt/completion"),
        ({"prompt": [{"role": "user", "content": QUESTION}], "completion": ANSWER}, "prompt/completion"),
        ({"prompt": QUESTION, "response": [{"from": "gpt", "value": ANSWER}]}, "prompt/response"),
        ({"question": QUESTION, "answer": ANSWER, "prompt": None, "completion": None}, "question/answer"),
        ({"question": QUESTION, "answer": ANSWER, "chat": [], "input": "x", "output": "y"}, "question/answer"),
        ({"input": QUESTION, "output": ANSWER, "text": None}, "input/output"),
        ({"query": QUESTION, "response": ANSWER}, "query/response"),
        (
            {"chat": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]},
            "chat of role/content",
        ),
        (
            {"dialogue": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]},
            "dialogue of from/value",
        ),
        ({"messages": json.dumps([dict(role=role, content=text) for role, text in TURNS])}, "messages of role/content"),
        ([[QUESTION, ANSWER]], "list of [question, answer]"),
        ({"conversation": [["user", QUESTION], ["assistant", ANSWER]]}, "conversation of [role, content]"),
    ],
)
def test_every_shape_gives_the_same_conversation(row, shape):
    assert turns(row) == TURNS
    assert parse(row).shape == shape


def test_pairs_are_turns_in_order_and_an_answer_that_is_a_number_is_its_text():
    row = {"chat": f'[["{QUESTION}", "{ANSWER}"], ["In which year?", 2014]]'}
    assert turns(row) == [*TURNS, ("user", "In which year?"), ("assistant", "2014")]
    answers = [turns({"question": "How many?", "answer": value})[1][1] for value in (4, -0.5, 10**400)]
    assert answers == ["4", "-0.5", "1" + "0" * 400]


def test_text_beside_keys_that_only_some_data_sets_mean_as_a_conversation_is_plain_text():
    row = {"text": "Korrin.", "input": "x", "query": "y", "chat": [["x", "y"]], "dialogue": "A: Who? B: Mara."}
    assert parse(row).conversation.is_text
    assert parse(row).unread == ("chat", "dialogue", "input", "query")


def test_alpaca_rows_keep_their_input_history_and_system():
    row = {
        "instruction": "Translate.",
        "input": "Katze",
        "output": "cat",
        "system": "Be brief.",
        "history": [["Hi", "Hello."], ["Ready?", "Yes."]],
    }
    assert turns(row) == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", "Ready?"),
        ("assistant", "Yes."),
        ("user", "Translate.\n\nKatze"),
        ("assistant", "cat"),
    ]


def test_turns_are_read_by_role_and_never_by_position():
    spoken = ["system", "assistant", "user", "assistant", "user", "assistant"]
    assert [role for role, _ in turns([{"role": role, "content": "x"} for role in spoken])] == spoken


def test_system_turns_are_one_wherever_they_stand_and_neighbours_of_one_role_are_one():
    said = [("user", "Hi."), ("system", "Be brief."), ("user", QUESTION), ("assistant", "Mara."), ("ai", "Mara Lind.")]
    row = {"system": "Help.", "messages": [{"role": role, "content": text} for role, text in said]}
    assert turns(row) == [
        ("system", "Help.\n\nBe brief."),
        ("user", f"Hi.\n\n{QUESTION}"),
        ("assistant", "Mara.\n\nMara Lind."),
    ]


def test_evidence_is_kept_and_what_is_not_read_is_named():
    marked = {"role": "assistant", "content": ANSWER, "mood": 0}
    row = {
        "messages": [{"role": "user", "content": QUESTION}, marked],
        "doc_ids": ["a.md"],
        "source": "b",
        "input": "c",
    }
    assert parse(row).conversation.evidence == ("a.md",)
    assert parse(row).unread == ("input", "mood of a turn", "source")
    assert parse({"question": QUESTION, "answer": ANSWER, "doc_ids": None}).conversation.evidence == ()


def test_plain_text_is_kept_as_it_stands():
    parsed = parse({"text": " Korrin makes\n gauges.\n", "doc_ids": ["a.md"], "question": None, "url": "b"})
    assert parsed.conversation == Conversation((Message("text", " Korrin makes\n gauges.\n"),), ("a.md",))
    assert (parsed.shape, parsed.unread) == ("text", ("question", "url"))
    assert parsed.conversation.is_text


def test_text_beside_a_conversation_is_not_read():
    parsed = parse({"instruction": QUESTION, "output": ANSWER, "text": "### Instruction: Who founded it?"})
    assert (parsed.shape, parsed.unread) == ("instruction/output", ("text",))
    assert not parsed.conversation.is_text


def test_a_turn_of_any_length_is_kept_whole():
    assert len(turns({"question": "x" * 100_000, "answer": ANSWER})[0][1]) == 100_000


def said(*roles):
    return {"messages": [{"role": role, "content": "x"} for role in roles]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (said("user", "asistant"), "unknown role 'asistant'; did you mean assistant"),
        ([["Customer", "Where is it?"], ["Agent", "On its way."]], "pairs that begin with Customer, Agent; expected"),
        ([["user", "Where is it?"], ["helper", "On its way."]], "pairs that begin with user, helper; expected"),
        (said("user", "narrator"), "unknown role 'narrator'; did you mean"),
        (said("user"), "no turn of the assistant"),
        (said("user", "user"), "no turn of the assistant"),
        (said("system"), "no turn of the user"),
        (said("assistant"), "no turn of the user"),
        (said("user", "assistant", "user"), "no answer follows the user's last turn"),
        (said("user", "system"), "no turn of the assistant"),
        (
            [*said("user", "assistant")["messages"], {"role": "assistant", "content": "y", "weight": 0}],
            "consecutive answers have different weights",
        ),
        ({"messages": []}, "expected a list of turns, found an empty one"),
        ({"messages": "hello"}, "expected a list of turns, found text"),
        ({"messages": ["hello"]}, "a turn must be an object with role and content, found text"),
        ({"messages": [{"content": "x"}]}, r"a turn needs role and content.*found \['content'\]"),
        ({"messages": [{"role": "user", "content": "  "}]}, "a turn of the user holds blank text, expected text"),
        ({"messages": [{"role": "user", "content": None}]}, "a turn of the user holds nothing, expected text"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "a turn of the user holds list"),
        ({"question": "x", "answer": None}, "a turn of the assistant holds nothing"),
        ({"question": "x", "answer": True}, "a turn of the assistant holds bool"),
        ({"question": "x", "answer": float("nan")}, "a turn of the assistant holds float"),
        ({"question": 4, "answer": "x"}, "a turn of the user holds int"),
        ({"input": "x", "output": None}, "a turn of the assistant holds nothing"),
        ({"dialogue": "A: x B: y"}, r"expected messages, .*; found \['dialogue'\]"),
        ({"chat": ["x", "y"]}, "a turn must be an object with role and content, found text"),
        ([["x", "y"], ["z"]], "a turn must be an object with role and content, found list"),
        ([["x", None]], "a turn of the assistant holds nothing"),
        ({"question": "x\ud800", "answer": "y"}, "half a surrogate pair"),
        ({"instruction": 3, "output": "y"}, "instruction holds int and input blank text, expected text"),
        ({"instruction": "x", "output": "y", "history": ["z"]}, "history must be a list of pairs"),
        ({"instruction": "x", "output": "y", "history": "z"}, "history must be a list of pairs"),
        ({"texts": "x"}, r"expected messages, .*, text, or instruction with output, .*; found \['texts'\]"),
        ({"text": "x", "question": "y"}, r"expected messages, .*; found \['question', 'text'\]"),
        ({"text": "x", "role": "user"}, r"expected messages, .*; found \['role', 'text'\]"),
        ({"text": " "}, "a row of plain text holds blank text, expected text"),
        ({"text": ["x"]}, "a row of plain text holds list, expected text"),
        ({"text": "x\ud800"}, "a row of plain text holds half a surrogate pair"),
        ({"text": "x", "doc_ids": "a.md"}, "doc_ids must be a list of document ids"),
        ({"role": "user", "content": "x"}, "is a single turn"),
        ({"question": "x", "answer": "y", "doc_ids": "a.md"}, "doc_ids must be a list of document ids"),
        ({}, r"found \[\]"),
        ([], "expected a list of turns, found an empty one"),
        ("hello", "expected an object or a list of turns, found text"),
        (None, "expected an object or a list of turns, found nothing"),
    ],
)
def test_a_row_that_is_no_conversation_is_refused_with_the_reason(row, message):
    with pytest.raises(InputError, match=message):
        parse(row)


def test_tools_are_kept_as_text_and_counted_by_their_shape():
    tool = {"type": "function", "function": {"name": "depth", "parameters": {}}}
    call = {"id": "1", "type": "function", "function": {"name": "depth", "arguments": '{"quay": 3}'}}
    row = {
        "tools": [tool],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How deep is quay 3?"},
            {"role": "assistant", "content": None, "tool_calls": [call, call]},
            {"role": "tool", "tool_call_id": "1", "content": "12 m"},
            {"role": "tool", "tool_call_id": "1", "content": "12.0 m"},
            {"role": "assistant", "content": "12 m."},
        ],
    }
    parsed = parse(row)
    assert parsed.shape == "messages of role and role/content with tools"
    assert parsed.unread == ()
    said = '<tool_call>\n{"name": "depth", "arguments": {"quay": 3}}\n</tool_call>'
    system, _, called, returned, answer = parsed.conversation.messages
    assert system.content.startswith("Be brief.\n\nTools that may be called:\n<tools>\n{")
    assert json.dumps(tool) in system.content
    assert called == Message("assistant", f"{said}\n{said}")
    returns = [f"<tool_response>\n{text}\n</tool_response>" for text in ("12 m", "12.0 m")]
    assert returned == Message("user", "\n".join(returns))
    assert answer == Message("assistant", "12 m.")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tools": 3}, "tools and their calls must be lists, found int"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"id": 1}]}]}, "a name"),
    ],
)
def test_tools_without_a_name_or_a_list_are_refused(change, message):
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(InputError, match=message):
        parse({"messages": talk} | change)


def test_turns_as_openai_writes_them_are_read():
    parts = [{"type": "text", "text": "Who keeps"}, {"type": "text", "text": "the keys?"}]
    turns: list[dict[str, object]] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "human", "content": parts},
        {"role": "ai", "content": "Kim."},
    ]
    messages = parse({"messages": turns}).conversation.messages
    assert [(each.role, each.content) for each in messages] == [
        ("system", "Be brief."),
        ("user", "Who keeps\nthe keys?"),
        ("assistant", "Kim."),
    ]
    turns[1]["content"] = [*parts, {"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(InputError, match="holds list, expected text"):
        parse({"messages": turns})


def test_turns_of_other_programs_are_read():
    assert turns({"messages": [{"type": "human", "data": {"content": QUESTION, "type": "human"}}, ai(ANSWER)]}) == TURNS
    assert (
        turns({"messages": [{"role": "system", "content": " "}, *({"role": r, "content": c} for r, c in TURNS)]})
        == TURNS
    )
    call = {"from": "function_call", "value": '{"name": "tide", "arguments": {}}'}
    talk = [{"from": "human", "value": "Tide?"}, call, {"from": "observation", "value": "2.1"}, ai("2.1 m.")]
    parsed = parse({"conversations": talk, "system": "Help.", "tools": "[]"})
    assert [message.content for message in parsed.conversation.messages] == [
        "Help.",
        "Tide?",
        '<tool_call>\n{"name": "tide", "arguments": {}}\n</tool_call>',
        "<tool_response>\n2.1\n</tool_response>",
        "2.1 m.",
    ]
    assert parsed.shape.endswith("with tools")
    parts = [{"type": "text", "text": "Be brief."}]
    with_tools = parse({"messages": [{"role": "developer", "content": parts}, *talk], "tools": '[{"name": "tide"}]'})
    assert with_tools.conversation.messages[0].content.startswith("Be brief.\n\nTools that may be called:")
    called = ai(None) | {"tool_calls": [{"name": "tide", "args": {"at": "noon"}}]}
    assert '"arguments": {"at": "noon"}' in turns([talk[0], called])[1][1]


def ai(content):
    return {"type": "ai", "content": content}


def test_an_answer_of_weight_zero_is_read_and_not_learned():
    def talk(*weights):
        return [
            turn
            for weight in weights
            for turn in ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b", **weight})
        ]

    messages = parse(talk({"weight": 0}, {"train": False}, {"weight": 1}, {})).conversation.messages
    assert [message.learned for message in messages if message.role == "assistant"] == [False, False, True, True]
    with pytest.raises(InputError, match=r"weight of a turn is 0\.5, expected 0 \(only read\) or 1 \(learned\)"):
        parse(talk({"weight": 0.5}))
    with pytest.raises(InputError, match="every answer has weight 0; give one of them weight 1"):
        parse(talk({"weight": 0}))
    assert parse([{"role": "user", "content": "a", "weight": 1}, *talk({})[1:]]).unread == ("weight of a turn",)
