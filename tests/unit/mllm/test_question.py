import json

import pytest

from components.mllm.question import ask_text, system_text
from components.mllm.reading import InvalidAnswer, read_answer

GOOD = {
    "who": [{"category": "violin", "count": 2}],
    "when": [{"category": "violin", "seconds": [0, 2]}],
    "where": [{"second": 2, "category": "violin", "box": [0, 10, 500.5, 1000]}],
}


def read(answer: object, modality: str = "audio_video"):
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return read_answer(text, modality=modality, categories=("dog", "violin"), length_s=3)


def test_a_good_answer_is_read():
    sounding = read(GOOD)
    assert sounding.counts == {"violin": 2}
    assert sounding.seconds == {"violin": frozenset({0, 2})}
    assert sounding.boxes == {2: (("violin", (0.0, 10.0, 500.5, 1000.0)),)}


def test_nothing_sounds():
    sounding = read({"who": [], "when": [], "where": []})
    assert (sounding.counts, sounding.seconds, sounding.boxes) == ({}, {}, {})


def test_a_code_fence_and_upper_case_are_form_not_content():
    fenced = "```json\n" + json.dumps(GOOD).replace("violin", "Violin") + "\n```\n"
    assert read(fenced) == read(GOOD)


def test_without_a_picture_no_boxes_are_asked():
    assert read(GOOD, modality="audio").boxes is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"who": [{"category": "drum", "count": 1}]}, "who.0: 'drum' is none of the categories"),
        ({"who": [{"category": "dog", "count": 0}]}, "who.0.count"),
        ({"who": [{"category": "dog", "count": "many"}]}, "who.0.count"),
        ({"who": [{"category": "dog", "count": 1}] * 2}, "who.1: dog is named twice"),
        ({"who": [{"category": "dog", "count": 10**400}]}, "who.0.count"),
        ({"when": [{"category": "dog", "seconds": [10**400]}]}, "when.0.seconds.0"),
        ({"when": [{"category": "dog", "seconds": [3]}]}, "when.0.seconds.0: second 3 is not in 0 … 2"),
        ({"when": [{"category": "dog", "seconds": [0.5]}]}, "when.0.seconds.0"),
        ({"where": [{"second": 0, "category": "dog", "box": [5, 0, 5, 9]}]}, "where.0: box"),
        ({"where": [{"second": 0, "category": "dog", "box": [0, 0, 5, 1001]}]}, "where.0: box"),
        ({"where": [{"second": 0, "category": "dog", "box": [0, 0, 5]}]}, "where.0.box"),
        ({"when": {}}, "when: not a list"),
    ],
)
def test_anything_else_is_invalid_and_says_where(change, says):
    with pytest.raises(InvalidAnswer, match=says.replace(".", r"\.")):
        read(GOOD | change)


@pytest.mark.parametrize(
    "text", ["", "I hear a violin.", json.dumps(GOOD)[:-5], "[]", "{" * 100_000, " " * 2_000_000]
)
def test_text_that_is_no_such_object_is_invalid(text):
    with pytest.raises(InvalidAnswer):
        read(text)


def test_missing_lists_are_not_guessed():
    with pytest.raises(InvalidAnswer, match="where"):
        read({"who": [], "when": []})


def test_the_question_names_categories_and_seconds():
    text = ask_text("audio_video", ("dog", "violin"), 12)
    assert "0 to 11" in text and "dog, violin" in text and "1000" in text
    assert "empty list" in ask_text("audio", ("dog",), 12)


@pytest.mark.parametrize("wording", [1, 2, 3])
def test_every_wording_says_all_that_an_answer_needs(wording):
    text = ask_text("audio_video", ("dog", "violin"), 12, wording=wording, box_unit="percent")
    for needed in ("dog, violin", "0 to 11", '"who"', '"when"', '"where"', '"count"', '"seconds"', '"box"'):
        assert needed in text
    assert "to 100 (right" in text and "$" not in text
    assert "JSON" in system_text(wording)
    assert "empty list" in ask_text("audio", ("dog",), 12, wording=wording)


def test_wordings_differ():
    assert len({ask_text("video", ("dog",), 12, wording=n) + system_text(n) for n in (1, 2, 3)}) == 3
