"""Long prompts that begin alike are answered as in batches, and what they share is read once."""

from lorag.llm.engines.one_by_one import one_by_one
from lorag.types import Message, Sampling

SAMPLING = Sampling(max_tokens=6)
SOURCES = "Sources:\n" + "\n".join(f"[{n}] The pier number {n} is {n} metres long." for n in range(1, 30))


def asked(n):
    return (Message("system", "Answer briefly."), Message("user", f"{SOURCES}\nQuestion: How long is pier {n}?"))


def test_answers_are_those_of_a_batch_and_what_prompts_share_is_read_once(shallow, counted):
    prompts = [asked(n) for n in (3, 17, 25)]
    assert shallow.merges
    with counted(shallow) as read:
        streamed = one_by_one(shallow)(prompts, SAMPLING)
    first, *later = [size for size in read if size > 1]
    assert first > 300
    assert len(later) == 2
    assert max(later) < 20
    assert [c.text for c in streamed] == [c.text for c in shallow.generate(prompts, SAMPLING)]
