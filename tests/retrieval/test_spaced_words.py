import numpy as np

from lorag.retrieval.backends.lance_store import LanceStore
from lorag.retrieval.spaced_words import spaced
from lorag.types import Chunk


def test_scripts_without_spaces_become_pairs_and_others_stay():
    assert spaced("The winch’s déjà-vu Гарантия") == "The winch’s déjà-vu Гарантия"
    assert spaced("灯台は赤い") == " 灯台 台は は赤 赤い "
    assert spaced("第5岸壁") == " 第 5 岸壁 "
    assert spaced("ที่ดิน") == " ทด ดน "


def test_words_are_found_in_scripts_without_spaces(tmp_path):
    texts = ["岸壁の水深は十二メートルです。", "灯台は赤い色をしています。", "ประภาคารสูงสิบสองเมตร", "The quay is long."]
    chunks = [Chunk(str(at), "v", 0, len(text), text) for at, text in enumerate(texts)]
    store = LanceStore(tmp_path, 2, 100)
    store.add(chunks, np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(texts), 1)), texts)
    for query, found in (("灯台の色", "1"), ("水深", "0"), ("ประภาคาร", "2"), ("quays", "3")):
        (hits,) = store.search_lexical([query], 3)
        assert hits[0].chunk.document_id == found
    assert store.chunks()[0].text == texts[0]
