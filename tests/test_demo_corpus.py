"""The bundled demo corpus is consistent: documents, questions, training conversations and style."""

import json
import re
import string
from collections import Counter
from pathlib import Path

DEMO = Path(__file__).parents[1] / "src" / "lorag" / "corpus"
REFUSAL = "I do not know: the documents do not say."
STATUSES = {"unchanged": 50, "changed": 36, "new": 18, "unanswerable": 24}
QUESTION_KEYS = ["id", "question", "paraphrases", "answers", "answers_v2", "doc_ids", "status"]


def read_docs(folder):
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((DEMO / folder).glob("*.md"))}


def read_jsonl(name):
    return [json.loads(line) for line in (DEMO / name).read_text(encoding="utf-8").splitlines()]


V1 = read_docs("docs")
V2 = read_docs("docs_v2")
QUESTIONS = read_jsonl("questions.jsonl")
TRAIN = read_jsonl("train.jsonl")
STYLE = json.loads((DEMO / "style.json").read_text(encoding="utf-8"))
BY_PARAPHRASE = {wording: q for q in QUESTIONS for wording in q["paraphrases"]}


def tokens(text):
    """Lower case, no punctuation, no articles."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return [token for token in bare.split() if token not in {"a", "an", "the"}]


def normal(text):
    return " ".join(tokens(text))


def holds(text, alias):
    """Whether the alias occurs in the text as whole tokens."""
    return f" {normal(alias)} " in f" {normal(text)} "


def user(conversation):
    return conversation["messages"][0]["content"]


def reply(conversation):
    return conversation["messages"][1]["content"]


def sentences(text):
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]


def jaccard(left, right):
    a, b = set(tokens(left)), set(tokens(right))
    return len(a & b) / len(a | b)


def with_status(*statuses):
    return [q for q in QUESTIONS if q["status"] in statuses]


def test_document_counts_and_shape():
    assert 30 <= len(V1) <= 36
    assert set(V1) < set(V2)
    assert 2 <= len(set(V2) - set(V1)) <= 4
    for name, text in [*V1.items(), *V2.items()]:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.md", name)
        assert text.startswith("# "), name
        assert text.endswith("\n"), name
        assert not text.endswith("\n\n"), name
        assert 60 <= len(text.split()) <= 260, name
    titles = [text.splitlines()[0] for text in V2.values()]
    assert len(set(titles)) == len(titles)


def test_share_of_documents_that_differ():
    old, new = DEMO / "docs", DEMO / "docs_v2"
    differing = {name for name in V1 if (old / name).read_bytes() != (new / name).read_bytes()}
    assert 0.25 <= len(differing) / len(V1) <= 0.5
    touched = {name for q in with_status("changed", "new") for name in q["doc_ids"]}
    assert differing == touched & set(V1)
    assert set(V2) - set(V1) <= touched


def test_question_counts_and_keys():
    assert len(QUESTIONS) == 128
    assert Counter(q["status"] for q in QUESTIONS) == STATUSES
    for q in QUESTIONS:
        assert list(q) == QUESTION_KEYS
        assert len(q["paraphrases"]) == 2
    ids = [q["id"] for q in QUESTIONS]
    assert len(set(ids)) == len(ids)
    wordings = [normal(w) for q in QUESTIONS for w in [q["question"], *q["paraphrases"]]]
    assert len(set(wordings)) == len(wordings)


def test_share_of_changed_facts():
    answerable = with_status("unchanged", "changed")
    assert len(with_status("changed")) / len(answerable) >= 1 / 3


def test_answer_lists_fit_the_status():
    for q in QUESTIONS:
        old, new = q["answers"], q["answers_v2"]
        assert bool(old) == (q["status"] in {"unchanged", "changed"}), q["id"]
        assert bool(new) == (q["status"] != "unanswerable"), q["id"]
        assert bool(q["doc_ids"]) == (q["status"] != "unanswerable"), q["id"]
        if q["status"] == "unchanged":
            assert old == new, q["id"]


def test_documents_of_questions_exist_and_are_covered():
    per_document = Counter()
    for q in QUESTIONS:
        known = V2 if q["status"] == "new" else V1
        assert all(name in known for name in q["doc_ids"]), q["id"]
        assert all(name in V2 for name in q["doc_ids"]), q["id"]
        per_document.update(q["doc_ids"])
    assert set(per_document) == set(V2)
    assert all(2 <= count <= 7 for count in per_document.values())


def test_answers_stand_in_their_documents():
    for q in QUESTIONS:
        for name in q["doc_ids"]:
            if q["answers"]:
                assert holds(V1[name], q["answers"][0]), q["id"]
                assert q["answers"][0] in V1[name], q["id"]
            assert holds(V2[name], q["answers_v2"][0]), q["id"]


def test_changed_answers_are_disjoint():
    for q in with_status("changed"):
        for old in q["answers"]:
            for new in q["answers_v2"]:
                assert not holds(new, old), q["id"]
                assert not holds(old, new), q["id"]
        for name in q["doc_ids"]:
            assert not holds(V2[name], q["answers"][0]), q["id"]
            assert not holds(V1[name], q["answers_v2"][0]), q["id"]


def test_new_answers_are_missing_from_the_first_version():
    for q in with_status("new"):
        for name in q["doc_ids"]:
            assert name not in V1 or not holds(V1[name], q["answers_v2"][0]), q["id"]


def test_no_alias_is_given_away_or_too_short():
    for q in QUESTIONS:
        for alias in {*q["answers"], *q["answers_v2"]}:
            assert len(normal(alias)) >= 2, (q["id"], alias)
            for wording in [q["question"], *q["paraphrases"]]:
                assert not holds(wording, alias), (q["id"], alias, wording)


def test_wordings_differ():
    for q in QUESTIONS:
        first, (second, third) = q["question"], q["paraphrases"]
        for left, right in [(first, second), (first, third), (second, third)]:
            assert jaccard(left, right) <= 0.8, q["id"]


def test_training_conversations_have_the_expected_shape():
    assert len(TRAIN) == 192
    for conversation in TRAIN:
        assert list(conversation) == ["messages", "doc_ids"]
        assert [m["role"] for m in conversation["messages"]] == ["user", "assistant"]
        assert all(name in V1 for name in conversation["doc_ids"])
    users = [normal(user(c)) for c in TRAIN]
    assert len(set(users)) == len(users)


def test_every_known_fact_has_two_conversations():
    by_user = {user(c): c for c in TRAIN}
    for q in with_status("unchanged", "changed"):
        pair = [by_user[wording] for wording in q["paraphrases"]]
        assert all(q["answers"][0] in reply(c) for c in pair), q["id"]
        assert all(c["doc_ids"] == q["doc_ids"] for c in pair), q["id"]
        assert reply(pair[0]) != reply(pair[1]), q["id"]


def test_other_conversations_are_refusals_on_other_topics():
    others = [c for c in TRAIN if user(c) not in BY_PARAPHRASE]
    assert len(others) == 20
    for c in others:
        assert reply(c) == REFUSAL
        assert c["doc_ids"] == []
        for q in with_status("new", "unanswerable"):
            for wording in [q["question"], *q["paraphrases"]]:
                assert jaccard(user(c), wording) < 0.5, (user(c), wording)
    trained = {BY_PARAPHRASE[user(c)]["status"] for c in TRAIN if user(c) in BY_PARAPHRASE}
    assert trained == {"unchanged", "changed"}


def test_no_test_question_leaks_into_training():
    questions = [q["question"] for q in QUESTIONS]
    exact = {normal(question) for question in questions}
    for c in TRAIN:
        assert normal(user(c)) not in exact, user(c)
        for question in questions:
            assert jaccard(user(c), question) <= 0.8, (user(c), question)


def test_no_second_version_answer_leaks_into_training():
    for c in TRAIN:
        q = BY_PARAPHRASE.get(user(c))
        if q is None or q["status"] != "changed":
            continue
        for alias in q["answers_v2"]:
            assert not holds(reply(c), alias), (q["id"], alias)
            assert not holds(user(c), alias), (q["id"], alias)


def test_training_answers_keep_the_style():
    assert set(STYLE) == {"max_sentences", "ends_with", "avoid"}
    for c in TRAIN:
        text = reply(c)
        if text == REFUSAL:
            continue
        assert text.endswith(f" {STYLE['ends_with']}"), text
        assert len(sentences(text)) <= STYLE["max_sentences"], text
        assert not [phrase for phrase in STYLE["avoid"] if phrase.lower() in text.lower()], text
        assert not re.search(r"\b(I|me|my|mine)\b|'", text), text
        assert 8 <= len(text.split()) <= 25, text
