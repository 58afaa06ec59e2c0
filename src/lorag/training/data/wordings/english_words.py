"""English words and their forms, as far as rules need them to turn a question into a clause or a statement.

There is no tagger: a verb is one that is listed here. A sentence with none of them is left as it is.
"""

from __future__ import annotations

import re


def bare_words(text: str) -> str:
    """The words of a text in lower case, with a space between them: texts that differ in nothing else are equal."""
    return " ".join(re.findall(r"\w+", text.lower()))


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


BE = frozenset({"is", "are", "was", "were"})
DO = frozenset({"do", "does", "did"})
HAVE = frozenset({"has", "have", "had"})
MODALS = word_set("can could may might must shall should will would")
AUXILIARIES = BE | DO | HAVE | MODALS
WH_WORDS = word_set("what which who whom whose when where why how")
DETERMINERS = word_set(
    "the a an this that these those its their my our your his her any each every some no all both another"
)
PRONOUNS = word_set("i you he she it we they there someone somebody anyone")
PREPOSITIONS = word_set(
    "about above across after against along among around as at before behind below beneath beside between beyond by"
    " despite during except for from in inside into near of off on onto out outside over per since than through"
    " throughout to toward towards under until up upon via with within without"
)
SUBORDINATORS = word_set(
    "after although because before if once since so that though unless until when where whether which while who whom"
    " whose"
)
PARTICLES = word_set("away back down in off on out up")
ADVERBS = word_set("also always ever first last never normally now often once only originally soon still")
PREDICATE_ADJECTIVES = word_set(
    "able absent active allowed available capable closed common compatible dependent different due effective equal"
    " essential famous free full guilty important independent involved known legal liable likely native necessary"
    " notable offline online open popular possible present ready related responsible rich safe similar subject"
    " sufficient true unable useful valid visible"
)
UNITS_OF_TIME = word_set(
    "second seconds minute minutes hour hours day days week weeks month months year years decade decades century"
    " centuries"
)
UNITS_OF_LENGTH = word_set(
    "mm cm m km millimetre millimetres centimetre centimetres metre metres kilometre kilometres millimeter millimeters"
    " centimeter centimeters meter meters kilometer kilometers inch inches foot feet yard yards mile miles"
)
MONTHS = word_set("january february march april may june july august september october november december")
FOREIGN = word_set(
    "ist sind wird kann wie viel wer wo wann welche welcher welches der das und ein eine einer nicht für est une quel"
    " quelle quels quelles combien où qui les dans avec pour qué cuál cuánto dónde quién cuándo es una los las het een"
    " wat hoeveel waar wanneer welke niet il lo gli che dove quando quanto"
)
"""Words of German, French, Spanish, Dutch and Italian that a question in those languages hardly avoids."""

_IRREGULAR = """
become became become|begin began begun|bear bore borne|beat beat beaten|bind bound bound|bring brought brought
break broke broken|build built built|buy bought bought|catch caught caught|choose chose chosen|come came come
cost cost cost|cut cut cut|deal dealt dealt|do did done|draw drew drawn|drink drank drunk|drive drove driven
eat ate eaten|fall fell fallen|feed fed fed|feel felt felt|fight fought fought|find found found|fit fitted fitted
flee fled fled|fly flew flown|forbid forbade forbidden|forget forgot forgotten|get got got|give gave given
go went gone|grow grew grown|have had had|hear heard heard|hide hid hidden|hit hit hit|hold held held
keep kept kept|know knew known|lay laid laid|lead led led|learn learned learned|leave left left|lend lent lent
let let let|lie lay lain|lose lost lost|make made made|mean meant meant|meet met met|pay paid paid|put put put
read read read|ride rode ridden|ring rang rung|rise rose risen|run ran run|say said said|see saw seen
seek sought sought|sell sold sold|send sent sent|set set set|shake shook shaken|shine shone shone|shoot shot shot
show showed shown|shut shut shut|sing sang sung|sink sank sunk|sit sat sat|sleep slept slept|speak spoke spoken
spend spent spent|spread spread spread|stand stood stood|steal stole stolen|stick stuck stuck|strike struck struck
swear swore sworn|swim swam swum|take took taken|teach taught taught|tell told told|think thought thought
throw threw thrown|understand understood understood|wear wore worn|win won won|write wrote written
"""
_REGULAR = (
    "accept accompany account achieve acquire act adapt add address adopt advance affect agree aid aim allow "
    "analyse analyze announce answer apologize appear apply appoint approach approve argue arise arrive ask "
    "assign assist assume attach attack attempt attend attract avoid base believe belong benefit border bore "
    "bridge calibrate call cancel carry cause change charge check claim classify close collapse collect combine "
    "commission compare compete complain complete comprise compute conclude conduct connect conquer consider "
    "consist contain continue contribute control convert cool correspond cover create cross cultivate damage date "
    "decide declare decline decrease dedicate deduct defeat defend define deliver demand demonstrate depend "
    "deploy derive describe design destroy detect determine develop die differ direct disappear discover discuss "
    "dispatch display divide dominate donate drop earn elect emerge employ enable encounter encourage end endorse "
    "engage enjoy ensure enter equal erupt escape establish estimate evolve exceed exchange exist expand expect "
    "expire explain explore express extend fail favor favour file finish fix flow focus follow force form found "
    "fuel function fund gain generate graduate grant guarantee guard handle happen hate head help host house "
    "identify ignore implement imply import improve include increase indicate influence inform inherit inhibit "
    "inject insist inspect inspire install integrate intend interact interpret introduce invade invent invest "
    "invite involve issue join judge jump justify kill label lack land last launch level limit link list live "
    "load locate look love lower maintain manage manufacture mark marry match matter measure mention migrate "
    "mirror mount move name need nominate note notice obey observe obtain occupy occur offer open operate oppose "
    "order organize originate own pack participate pass patronize perform permit persecute persuade place plan "
    "play point possess power practice practise predict prefer prepare present press prevent produce prohibit "
    "promise promote propose protect prove provide publish pump purchase purge pursue push question raise range "
    "reach react receive recognize recommend record recover reduce refer reflect refund refuse regard register "
    "regulate reject relate release rely remain remember remove rename renew rent repair repeat replace reply "
    "report represent request require research reserve reset resist resolve respect respond rest restore restrict "
    "result retain retire return reveal review ruin rule save search secure select separate serve settle share "
    "ship sign signify solve sound sponsor stabilize start state stay stop store study submit succeed suffer "
    "suggest supply support surround survive switch symbolize take talk target tend term test tighten tolerate "
    "touch track trade train transfer transform translate transmit travel treat try turn undergo undermine unite "
    "update upgrade use vanish vary view violate visit vote wait walk want warn wash weigh wish work worship "
    "yield"
)
_DOUBLED = word_set("admit control drop fit occur permit plan prefer refer ship stop submit transfer")
NOUNS_TOO = word_set(
    "account act address advance aid aim answer approach attack attempt base benefit border call cause change charge"
    " check claim close control cost cover cross cut damage date deal decline decrease demand design display drop"
    " drink drive end escape exchange fall favor favour feed feel fight file finish fit fix flow focus force form found"
    " fuel function fund gain grant guarantee guard head help host house import increase influence issue judge jump"
    " kill label lack land launch lead level limit link list load look love mark match matter measure mention mount"
    " move name need note notice offer open order pack pass place plan play point power practice present press pump"
    " purchase purge push question raise range record refund regard release rent repair reply report request research"
    " reserve reset rest result return review ride rise rule run save search set share ship shot show sign sound spread"
    " stand start state stay stop store study supply support switch talk target term test touch track trade train"
    " transfer travel treat turn update upgrade use view visit vote wait walk wash wear win wish work"
)
"""Verbs that are nouns as well, and so may end the name of a thing."""


def _table() -> dict[str, tuple[str, str]]:
    forms: dict[str, tuple[str, str]] = {}
    for base in _REGULAR.split():
        forms[base] = (_regular_past(base),) * 2
    for entry in _IRREGULAR.strip().replace("\n", "|").split("|"):
        base, past, participle = entry.split()
        forms[base] = (past, participle)
    forms["undergo"] = ("underwent", "undergone")
    return forms


def _regular_past(base: str) -> str:
    if base.endswith("e"):
        return f"{base}d"
    if base.endswith("y") and base[-2] not in "aeiou":
        return f"{base[:-1]}ied"
    return f"{base}{base[-1]}ed" if base in _DOUBLED else f"{base}ed"


_FORMS = _table()
BASES = frozenset(_FORMS)
"""Verbs as they stand after do, does and did."""
PARTICIPLES = frozenset(participle for _, participle in _FORMS.values()) - {"read", "set", "put", "cost", "cut"} | {
    "born"
}
_PASTS = frozenset(past for past, _ in _FORMS.values())


def past(base: str) -> str:
    """The past of a verb that is listed: reach -> reached, begin -> began."""
    return _FORMS[base][0]


def third_person(base: str) -> str:
    """The present of a verb after he, she or it: reach -> reaches, carry -> carries, have -> has."""
    if base in ("have", "do", "go"):
        return {"have": "has", "do": "does", "go": "goes"}[base]
    if base.endswith("y") and base[-2] not in "aeiou":
        return f"{base[:-1]}ies"
    return f"{base}es" if base.endswith(("s", "sh", "ch", "x", "z")) else f"{base}s"


_THIRD = frozenset(third_person(base) for base in BASES)


def is_finite(word: str) -> bool:
    """Whether a word looks like the verb of a sentence whose subject stands before it; nouns may look so as well."""
    return word in _THIRD or word in _PASTS or word in AUXILIARIES


def is_past(word: str) -> bool:
    """Whether a verb is in the past and in no other form: founded, was; not set."""
    return word in ("was", "were", "had", "did") or (word in _PASTS and word not in BASES)


def is_participle(word: str) -> bool:
    """Whether a word is a listed past participle, or looks like a regular one."""
    return word in PARTICIPLES or (word.endswith("ed") and len(word) > 4 and not word.endswith(("eed", "hundred")))


def is_plural(noun_phrase: str) -> bool:
    """Whether the head of a noun phrase, the word before its first preposition, looks like a plural."""
    words = noun_phrase.split()
    ends = (i for i, word in enumerate(words) if i and (word.lower() in PREPOSITIONS or word.lower() in SUBORDINATORS))
    head = words[next(ends, len(words)) - 1].strip(".,").lower() if words else ""
    return head in ("people", "men", "women", "children") or (
        head.endswith("s") and not head.endswith(("ss", "us", "is", "'s")) and head not in ("series", "species", "gas")
    )
