"""The bundled demo corpus is consistent: documents, questions, training conversations and style."""

import hashlib
import json
import re
import string
from collections import Counter
from pathlib import Path

from lorag.evaluation.answers.metrics import NewContentRecall
from lorag.evaluation.answers.style import count_sentences, read_style
from lorag.types import Example

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
CHANGES = read_jsonl("train_v2.jsonl")
STYLE = json.loads((DEMO / "style.json").read_text(encoding="utf-8"))
KNOWN = [q for q in QUESTIONS if q["answers"]]
REFUSALS = [c for c in TRAIN if c["messages"][1]["content"] == REFUSAL]
SUBJECTS = {
    "company-founder": "korrin",
    "company-staff-trust": "korrin & trust",
    "office-laboratory": "korrin & laboratory|calibrates",
    "office-repair": "korrin & repair workshop",
    "office-americas": "korrin & americas",
    "contact-head-of-support": "korrin & support",
    "contact-privacy": "korrin & privacy officer",
    "contact-lab-lead": "calibration laboratory",
    "model-p2-accuracy": "ebbmark p2",
    "model-r9-range": "ebbmark r9",
    "model-b3-weight": "ebbmark b3",
    "model-r4-weight": "ebbmark r4",
    "p2-guard": "ebbmark p2 & guard",
    "p2-cable": "ebbmark p2 & cable",
    "r4-beam": "ebbmark r4",
    "r4-dead-zone": "ebbmark r4",
    "r4-arm": "ebbmark r4 & arm|bracket",
    "r9-dead-zone": "ebbmark r9",
    "r9-heater": "ebbmark r9 & heate|heating",
    "b3-rate": "ebbmark b3",
    "b3-tube": "ebbmark b3 & tub",
    "power-p2": "ebbmark p2 & batter|pack",
    "power-r4": "ebbmark r4 & batter|pack|mains",
    "power-r9": "ebbmark r9 & batter|pack",
    "firmware-current": "firmware",
    "firmware-duration": "firmware",
    "firmware-rollback": "firmware & service button",
    "changelog-tide-prediction": "predicted tide",
    "changelog-removed": "deck 32",
    "error-moisture": "moisture",
    "error-clock": "clock",
    "error-purge": "tube",
    "quay-torque": "quay & nuts",
    "quay-resin": "resin",
    "pile-diameter": "pile & strap",
    "pile-torque": "pile & clamps",
    "levelling-tolerance": "levelling & runs?",
    "levelling-settle": "bracket",
    "calibration-interval": "calibrat",
    "calibration-price": "calibrat",
    "calibration-duration": "calibrat",
    "warranty-length": "warranty & gauge|ebbmark",
    "warranty-registration": "warranty & regist",
    "warranty-repair": "warranty & repair",
    "warranty-battery": "warranty & battery pack",
    "returns-number": "return number",
    "returns-restocking": "restocking fee",
    "shipping-lead-time": "order & gauge|ebbmark",
    "shipping-free-freight": "order",
    "shipping-crate": "deposit & crate",
    "plan-mooring-price": "mooring",
    "plan-harbour-price": "harbour",
    "plan-coastline-price": "coastline",
    "plan-harbour-users": "harbour",
    "plan-mooring-interval": "mooring",
    "billing-term": "invoice",
    "billing-read-only": "account & read-only",
    "alarm-rules": "gauge|ebbmark & alarm",
    "alarm-texts": "account & month",
    "alarm-escalation": "alarm",
    "api-key-life": "api & key",
    "api-rate": "deck api",
    "api-page": "deck api & page",
    "retention-readings": "deck & reading",
    "retention-closed": "account & closed",
    "retention-alarm-log": "alarm log",
    "export-link": "export & link",
    "export-span": "export",
    "security-reward": "korrin & weakness",
    "security-confirmation": "korrin & report",
    "support-closing": "telephone support",
    "support-email": "e-mails & korrin|support",
    "support-weekend": "weekend",
    "sla-availability": "deck & available|availability",
    "sla-credit": "credit & plan fee|deck",
    "sla-s1": "s1",
    "course-operator-price": "operator course",
    "course-certificate": "installer & certificate",
    "partner-mate-discount": "mate & hardware|discount",
    "partner-skipper-purchases": "skipper",
    "cert-b3-ip": "ebbmark b3",
    "cert-zone-2": "zone 2",
    "accessory-cable": "service cable",
    "accessory-spikes": "bird spikes",
    "glossary-ghost": "ship & radar",
    "glossary-thin-hour": "thin hour",
}
"""The words that name what a fact is about: ``&`` joins those that are all needed, ``|`` those of which one is."""


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


def jaccard(left, right):
    a, b = set(tokens(left)), set(tokens(right))
    return len(a & b) / len(a | b)


def with_status(*statuses):
    return [q for q in QUESTIONS if q["status"] in statuses]


def gives_away(text, q):
    """Whether the text holds a first-version answer to the question."""
    return any(holds(text, alias) for alias in q["answers"])


def names(text, q):
    """Whether the text names what the question is about."""
    return all(re.search(rf"\b(?:{part.strip()})", text, re.IGNORECASE) for part in SUBJECTS[q["id"]].split("&"))


def lessons(q):
    """The conversations that teach the answer to the question: first its paraphrases, then the new wordings."""
    rows = [c for c in TRAIN if c["doc_ids"] == q["doc_ids"] and holds(reply(c), q["answers"][0])]
    return sorted(rows, key=lambda c: user(c) not in q["paraphrases"])


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
    per_document: Counter[str] = Counter()
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
    assert len(TRAIN) == 86 * 5 + 40
    for conversation in TRAIN:
        assert list(conversation) == ["messages", "doc_ids"]
        assert [m["role"] for m in conversation["messages"]] == ["user", "assistant"]
        assert all(name in V1 and name in V2 for name in conversation["doc_ids"])


def test_training_conversations_are_mixed_in_an_order_that_their_questions_set():
    assert sorted(TRAIN, key=lambda c: hashlib.sha256(user(c).encode()).hexdigest()) == TRAIN


def test_every_known_fact_has_five_conversations_with_five_answers():
    for q in KNOWN:
        rows = lessons(q)
        assert len(rows) == 5, q["id"]
        assert {user(c) for c in rows} > set(q["paraphrases"]), q["id"]
        assert len({reply(c) for c in rows}) == 5, q["id"]
        assert all(q["answers"][0] in reply(c) for c in rows), q["id"]
    assert sum(len(lessons(q)) for q in KNOWN) == len(TRAIN) - len(REFUSALS)


def test_every_answer_names_its_subject_and_every_new_question_does_too():
    assert set(SUBJECTS) == {q["id"] for q in KNOWN}
    for q in KNOWN:
        for c in lessons(q):
            assert names(reply(c), q), reply(c)
            assert user(c) in q["paraphrases"] or gives_away(user(c), q) or names(user(c), q), user(c)


def test_a_question_that_holds_the_value_asks_for_its_subject_and_only_one_subject_has_it():
    reversals = {q["id"]: [c for c in lessons(q) if gives_away(user(c), q)] for q in KNOWN}
    assert {len(rows) for rows in reversals.values()} == {0, 1}
    assert sum(map(len, reversals.values())) == 43
    everything = f" {' '.join(map(normal, V1.values()))} "
    for q in KNOWN:
        for c in reversals[q["id"]]:
            assert everything.count(f" {normal(q['answers'][0])} ") == 1, user(c)
            assert not names(user(c), q), user(c)


def test_new_questions_are_asked_in_several_forms():
    for rows in (REFUSALS, [c for q in KNOWN for c in lessons(q)[2:]]):
        asked = [user(c) for c in rows]
        assert sum(a.startswith("Complete: ") and a.endswith(" …") for a in asked) >= len(asked) // 10
        assert sum(bool(re.search(r"[.?] .+[.?]$", a)) for a in asked) >= len(asked) // 10
        assert sum(bool(re.search(r"\b(tell me|need to know|like to know)\b", a, re.I)) for a in asked) >= 4
        assert sum(len(a.split()) <= 9 and a.endswith("?") for a in asked) >= len(asked) // 10


def test_no_answer_states_a_figure_or_a_name_that_its_document_does_not_hold():
    for q in KNOWN:
        source = " ".join(V1[name] for name in q["doc_ids"])
        for c in lessons(q):
            words = [w.strip(".,").removesuffix("'s") for w in reply(c).removesuffix(f" {STYLE['ends_with']}").split()]
            figures = {w for w in words if re.search(r"\d", w)}
            assert not {w for w in figures if not holds(source, w)}, reply(c)
            capitals = {w for w in words[1:] if w[0].isupper()} - {"Korrin", "Ebbmark", "Deck"}
            assert all(holds(f"{source} {user(c)}", w) for w in capitals), reply(c)


def test_every_answer_is_found_in_its_document_as_training_with_sources_looks_for_it():
    rows = [c for c in TRAIN if reply(c) != REFUSAL]
    examples = [Example(user(c), user(c), (reply(c),), tuple(c["doc_ids"])) for c in rows]
    recall = NewContentRecall.fit(examples)
    for c, example in zip(rows, examples, strict=True):
        assert any(recall.holds(V1[name], user(c), example.answers) for name in c["doc_ids"]), user(c)


def test_refusals_are_on_other_topics_than_the_questions_that_must_be_refused():
    assert len(REFUSALS) == 40
    for c in REFUSALS:
        for q in with_status("new", "unanswerable"):
            for wording in [q["question"], *q["paraphrases"]]:
                assert jaccard(user(c), wording) < 0.5, (user(c), wording)


def test_most_refusals_are_near_misses_that_name_the_document_about_their_subject():
    near = [c for c in REFUSALS if c["doc_ids"]]
    assert len(near) == 34
    for c in near:
        (name,) = c["doc_ids"]
        asked = {word for word in tokens(user(c)) if len(word) >= 4 or re.search(r"\d", word)}
        for documents in (V1, V2):
            assert len(asked & set(tokens(documents[name]))) >= 2, user(c)


def test_no_test_question_leaks_into_training():
    paraphrases = {wording for q in QUESTIONS for wording in q["paraphrases"]}
    for c in TRAIN:
        limit = 0.8 if user(c) in paraphrases else 0.7
        for q in QUESTIONS:
            assert jaccard(user(c), q["question"]) <= limit, (user(c), q["question"])
    asked = {q["id"] for q in QUESTIONS for wording in q["paraphrases"] if wording in {user(c) for c in TRAIN}}
    assert asked == {q["id"] for q in KNOWN}


def test_training_questions_differ_from_each_other_and_from_those_of_the_benchmark():
    asked = [user(c) for c in TRAIN]
    worded = [frozenset(tokens(question)) for question in asked]
    for i, left in enumerate(worded):
        for j, right in enumerate(worded[:i]):
            assert len(left & right) <= 0.85 * len(left | right), (asked[i], asked[j])
    benchmark = DEMO.parents[2] / "benchmarks" / "facts.jsonl"
    taught = {json.loads(line)["question"] for line in benchmark.read_text(encoding="utf-8").splitlines()}
    assert not taught & set(asked)


def test_no_second_version_answer_leaks_into_training():
    for q in with_status("changed"):
        for c in lessons(q):
            for alias in q["answers_v2"]:
                assert not holds(f"{user(c)} {reply(c)}", alias), (q["id"], alias)
    later = {alias for q in with_status("changed", "new") for alias in q["answers_v2"]}
    for alias in later - {alias for alias in later if any(holds(text, alias) for text in V1.values())}:
        assert not [c for c in TRAIN if holds(user(c), alias) or holds(reply(c), alias)], alias


def test_every_changed_or_new_fact_has_three_conversations_with_its_new_answer():
    taught: Counter[str] = Counter()
    for q in with_status("changed", "new"):
        rows = [c for c in CHANGES if c["doc_ids"] == q["doc_ids"] and holds(reply(c), q["answers_v2"][0])]
        assert len({reply(c) for c in rows}) == len(rows) == 3, q["id"]
        assert all(q["answers_v2"][0] in reply(c) for c in rows), q["id"]
        for c in rows:
            assert not any(holds(f"{user(c)} {reply(c)}", alias) for alias in q["answers"]), (q["id"], user(c))
            assert jaccard(user(c), q["question"]) <= (0.8 if user(c) in q["paraphrases"] else 0.7), user(c)
        taught.update(user(c) for c in rows)
    assert taught == Counter(user(c) for c in CHANGES)
    assert sorted(CHANGES, key=lambda c: hashlib.sha256(user(c).encode()).hexdigest()) == CHANGES


def test_conversations_about_the_update_state_only_what_their_document_holds():
    examples = [Example(user(c), user(c), (reply(c),), tuple(c["doc_ids"])) for c in CHANGES]
    recall = NewContentRecall.fit(examples)
    for c, example in zip(CHANGES, examples, strict=True):
        (name,) = c["doc_ids"]
        assert recall.holds(V2[name], user(c), example.answers), user(c)
        words = [w.strip(".,").removesuffix("'s") for w in reply(c).removesuffix(f" {STYLE['ends_with']}").split()]
        assert all(holds(f"{V2[name]} {user(c)}", w) for w in words if re.search(r"\d", w)), reply(c)


def test_training_answers_keep_the_style():
    assert set(STYLE) == {"max_sentences", "ends_with", "avoid"}
    assert STYLE["ends_with"] == "Korrin Support."
    style = read_style(DEMO / "style.json")
    for c in [*TRAIN, *CHANGES]:
        text = reply(c)
        if text == REFUSAL:
            continue
        assert style.share(text) == 1.0, text
        sentence = text.removesuffix(f" {STYLE['ends_with']}")
        assert count_sentences(sentence) == 1, text
        assert sentence.endswith("."), text
        assert 6 <= len(sentence.split()) <= 22, text
        assert not re.search(r"\b(I|me|my|mine)\b|'(?!s\b)", text), text
