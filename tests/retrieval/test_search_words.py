import numpy as np
import pytest

from lorag.retrieval.backends.lance_store import LanceStore
from lorag.retrieval.backends.postgres_database import Database
from lorag.retrieval.backends.postgres_index import PostgresIndex
from lorag.retrieval.search_words import STEMMED, asked_words, indexed_words, language_of
from lorag.types import Chunk

TEXTS = {
    "cs": ("Každý rok se musí dotáhnout všechny šrouby v držácích přístroje.", "šroub držáku"),
    "da": ("Hvert år skal alle skruerne i apparatets beslag spændes efter.", "apparat beslagene"),
    "de": ("Die Schrauben der Halterung müssen jedes Jahr nachgezogen werden.", "Schraube Halterungen"),
    "es": ("Los tornillos de los soportes se deben apretar todos los años.", "tornillo soporte"),
    "fi": ("Kaikki kannattimen ruuvit on kiristettävä uudelleen joka vuosi keväällä.", "ruuvi kannattimessa"),
    "fr": ("Les vis et les boulons des supports doivent être resserrés chaque année.", "boulon support"),
    "hu": ("A tartók csavarjait minden évben újra meg kell húzni a műszeren.", "csavar tartóban"),
    "it": ("Le viti dei supporti devono essere serrate di nuovo ogni anno.", "vite supporto"),
    "nl": ("Alle schroeven van de houders moeten elk jaar opnieuw worden aangedraaid.", "schroef houder"),
    "pl": ("Wszystkie śruby w uchwytach urządzenia należy dokręcać każdego roku.", "śruba uchwyt"),
    "pt": ("Os parafusos dos suportes devem ser apertados novamente todos os anos.", "parafuso suporte"),
    "ru": ("Все винты креплений прибора необходимо подтягивать каждый год.", "винт крепление"),
    "sv": ("Varje år måste alla skruvarna i apparatens fästen dras åt igen.", "skruv apparaten"),
    "tr": ("Cihazın bağlantı vidaları her yıl yeniden sıkılmalı ve kontrol edilmelidir.", "vida cihazlar"),
}
"""A text and a question in other forms of its words, of which none stands in the text as it is asked."""
ENGLISH = "Every year all screws of the gauge's brackets have to be tightened again by a technician."


def test_scripts_without_spaces_become_pairs_and_others_stay():
    assert indexed_words("The winch’s déjà-vu Гарантия") == "The winch’s déjà-vu Гарантия"
    assert indexed_words("灯台は赤い") == " 灯台 台は は赤 赤い "
    assert indexed_words("第5岸壁") == " 第 5 岸壁 "
    assert indexed_words("ที่ดิน") == " ทด ดน "


def test_english_stays_as_it_is_and_a_short_text_is_taken_for_it():
    assert indexed_words(ENGLISH) == ENGLISH
    assert language_of("Die Schrauben der Halterung") is None


def test_a_text_keeps_its_words_and_gets_stems_of_those_in_its_alphabet():
    text = "Die Schrauben der Halterung EB4 müssen jedes Jahr mit Молоток nachgezogen werden."
    words = indexed_words(text)
    assert words.startswith(f"{text} de0die de0schraub ")
    assert words.count("EB4") == words.count("Молоток") == 1
    assert asked_words("EB4").split() == ["EB4"]


def test_an_english_question_is_asked_in_english_alone_and_a_german_one_in_german_too():
    for question in ("How often is the winch of the crane serviced?", "Which HIV-1 infection do children have?"):
        assert asked_words(question) == question
    stems = " ".join(f"de0{stem}" for stem in ("wie", "lang", "gilt", "die", "garanti"))
    assert asked_words("Wie lange gilt die Garantie?").startswith(f"Wie lange gilt die Garantie? {stems}")


def test_a_long_word_is_cut_so_that_it_stays_findable():
    text = (
        "Auch für alle Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamten gilt das heute nicht mehr."
    )
    long = next(word for word in indexed_words(text).split() if word.startswith("de0donau"))
    assert len(long) < 40
    assert long in asked_words("Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamten")


@pytest.fixture(params=["folder", "postgres"])
def store(request, tmp_path):
    if request.param == "folder":
        return LanceStore(tmp_path, 2, 100)
    return PostgresIndex.open(Database(request.getfixturevalue("database_url")), {"made": "here"}, 2, 100).store


@pytest.fixture
def add(store):
    def added(texts):
        chunks = [Chunk(name, "v" * 16, 0, len(text), text) for name, text in texts.items()]
        store.add(chunks, np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(texts), 1)), list(texts.values()))

    return added


def test_inflected_words_are_found_in_every_language_beside_the_others(store, add):
    add({"en": ENGLISH, **{language: text for language, (text, _) in TEXTS.items()}})
    assert set(TEXTS) <= STEMMED.keys()
    for language, (text, question) in TEXTS.items():
        assert language_of(text) == language
        for word in question.split():
            assert word.lower() not in text.lower().replace(".", "").split()
            (hits,) = store.search_lexical([word], 3)
            assert language in [hit.chunk.document_id for hit in hits], word
    (hits,) = store.search_lexical(["screw bracket"], 3)
    assert hits[0].chunk.document_id == "en"


def test_an_english_text_that_is_taken_for_danish_is_found_and_does_not_come_first(store, add, monkeypatch):
    rows = {f"{n}": f"The gauge number {n} of the quay is in the shed of the depot in the north." for n in range(20)}
    wanted = "The winch of the crane in the harbour is serviced by the technician of the depot every ten weeks."
    mistaken = "References of the depot in the harbour: the newspaper of the north, opened in the spring."
    with monkeypatch.context() as mistake:
        mistake.setattr("lorag.retrieval.search_words.language_of", lambda text: "da" if text == mistaken else None)
        add({**rows, "wanted": wanted, "mistaken": mistaken})
    (hits,) = store.search_lexical(["How often is the winch of the crane in the harbour serviced?"], 3)
    assert hits[0].chunk.document_id == "wanted"
    (hits,) = store.search_lexical(["newspapers"], 3)
    assert [hit.chunk.document_id for hit in hits] == ["mistaken"]


def test_an_index_of_texts_as_they_are_is_still_searched(store, add, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr("lorag.retrieval.search_words.language_of", lambda text: None)
        add({"old": TEXTS["de"][0], "en": ENGLISH})
    (hits,) = store.search_lexical(["Halterung"], 3)
    assert [hit.chunk.document_id for hit in hits] == ["old"]


def test_words_are_found_in_scripts_without_spaces(store, add):
    texts = ["岸壁の水深は十二メートルです。", "灯台は赤い色をしています。", "ประภาคารสูงสิบสองเมตร", "The quay is long."]
    add({str(at): text for at, text in enumerate(texts)})
    for query, found in (("灯台の色", "1"), ("水深", "0"), ("ประภาคาร", "2"), ("quays", "3")):
        (hits,) = store.search_lexical([query], 3)
        assert hits[0].chunk.document_id == found
    assert store.chunks()[0].text == texts[0]
