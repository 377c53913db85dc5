"""Answers as models write them: read if they mean one thing, invalid otherwise."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.mllm.reading import _WORDS, InvalidAnswer, read_answer
from components.mllm.sounding import Sounding

CATEGORIES = ("dog", "violin", "lawn_mover", "bass")
LENGTH_S = 12
PLAIN = {
    "who": [{"category": "dog", "count": 2}],
    "when": [{"category": "dog", "seconds": [1, 3]}],
    "where": [{"second": 1, "category": "dog", "box": [100, 200, 300, 400]}],
}


def read(answer: object, modality: str = "audio_video", **given: object) -> Sounding:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return read_answer(text, modality=modality, categories=CATEGORIES, length_s=LENGTH_S, **given)


MEANT = read(PLAIN)
JSON = json.dumps(PLAIN)


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{JSON}\n```",
        f"Here it is:\n```\n{JSON}\n```\nI hope this {{helps}}!",
        f'<think>Perhaps {{"who": [], "when": [], "where": []}}? No.</think>{JSON}',
        f"<THINK>\nhm\n</THINK>\n{JSON}",
        f"{JSON}\n\nAgain: {JSON}",
        json.dumps({"answer": PLAIN}),
        json.dumps(PLAIN | {"confidence": 0.9}),
    ],
)
def test_what_stands_around_the_answer_is_left_aside(text):
    assert read(text) == MEANT


@pytest.mark.parametrize(
    ("part", "row"),
    [
        ("who", {"category": "a Dog ", "count": "two"}),
        ("who", {"category": "dogs", "count": 2.0}),
        ("who", {"category": "puppy", "count": "2"}),
        ("when", {"category": "dog", "seconds": ["0:01", "00:03"]}),
        ("when", {"category": "dog", "seconds": ["1s", "3 seconds"]}),
        ("when", {"category": "dog", "seconds": ["0:00:01", "three"]}),
        ("where", {"second": "0:01", "category": "dog", "box": ["10%", "20 %", "30.0%", "40%"]}),
        ("where", {"second": 1, "category": "dog", "bbox_2d": ["64px", "72px", "192px", "144px"]}),
    ],
)
def test_ways_to_say_the_same(part, row):
    assert read(PLAIN | {part: [row]}, size=lambda: (640.0, 360.0)) == MEANT


@pytest.mark.parametrize(
    ("unit", "box"),
    [("percent", [10, 20, 30, 40]), ("fraction", [0.1, 0.2, 0.3, 0.4]), ("pixels", [64, 72, 192, 144])],
)
def test_plain_numbers_have_the_unit_that_was_asked_for(unit, box):
    found = read(
        PLAIN | {"where": [{"second": 1, "category": "dog", "box": box}]},
        box_unit=unit,
        size=lambda: (640.0, 360.0),
    )
    assert found.boxes[1][0][1] == pytest.approx((100, 200, 300, 400))


def test_words_that_only_one_category_goes_by():
    row = {"category": "Lawn-Mower", "count": 1}
    assert read(PLAIN | {"who": [row]}).counts == {"lawn_mover": 1}
    assert read(PLAIN | {"who": [{"category": "bass", "count": 1}]}).counts == {"bass": 1}
    with pytest.raises(InvalidAnswer, match="none of the categories"):
        read(PLAIN | {"who": [{"category": "guitar", "count": 1}]})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (f"<think>{JSON}", "no JSON object"),
        (f'{JSON} or {{"who": [], "when": [], "where": []}}', "2 JSON objects say different things"),
        (JSON.replace('"who"', '"who": [], "who"'), "no JSON object"),
        (JSON.replace("[1, 3]", '["1-3"]'), "'1-3' is no second"),
        (JSON.replace("[1, 3]", '["0:61"]'), "no second"),
        (JSON.replace("[1, 3]", "[1.5]"), "no second"),
        (JSON.replace("[1, 3]", "[true]"), "no second"),
        (JSON.replace("[1, 3]", "[NaN]"), "no JSON object"),
        (JSON.replace('"count": 2', '"count": "a few"'), "no number of objects"),
        (JSON.replace("[100, 200, 300, 400]", "[100, 200, 300]"), "not four numbers"),
        (JSON.replace("[100, 200, 300, 400]", '["1cm", 2, 3, 4]'), "is no number"),
        (JSON.replace("[100, 200, 300, 400]", '["1px", 2, 3, 4]'), "was not shown"),
        (JSON.replace("[100, 200, 300, 400]", "[300, 200, 100, 400]"), "x0 < x1"),
        (JSON.replace("[100, 200, 300, 400]", "[1e400, 2, 3, 4]"), "is no number"),
        (JSON.replace("dog", "Hund"), "'Hund' is none"),
        ("<html><body>504 Gateway Timeout</body></html>", "no JSON object"),
        ("{" * 100_000, "no JSON object"),
        ('{"a":' * 100_000, "no JSON object"),
        ("x" * 1_000_001, "more than 1,000,000 letters"),
    ],
)
def test_what_has_no_or_two_meanings_is_invalid(text, says):
    with pytest.raises(InvalidAnswer, match=says):
        read(text)


def test_without_pictures_no_where_is_needed():
    assert read({"who": [], "when": []}, modality="audio").boxes is None
    with pytest.raises(InvalidAnswer, match="where: missing"):
        read({"who": [], "when": []})


_NAMES = {
    "dog": ("dog", "Dogs", "a puppy"),
    "violin": ("violin", "THE VIOLIN", "fiddle"),
    "bass": ("double bass",),
}


@st.composite
def written(draw: st.DrawFn) -> tuple[str, Sounding]:
    """A sounding, and one of the ways in which a model may write it."""
    truth = draw(
        st.dictionaries(
            st.sampled_from(sorted(_NAMES)),
            st.tuples(st.integers(1, 20), st.frozensets(st.integers(0, LENGTH_S - 1), min_size=1)),
        )
    )
    boxes: dict[int, list] = {}
    who, when, where = [], [], []

    def name(category: str) -> str:
        return draw(st.sampled_from(_NAMES[category]))

    for category, (count, seconds) in truth.items():
        who.append(
            {"category": name(category), "count": draw(st.sampled_from([count, str(count), _WORDS[count]]))}
        )
        said = [draw(st.sampled_from([s, f"0:{s:02d}", f"{s} s", _WORDS[s], float(s)])) for s in seconds]
        when.append({"category": name(category), "seconds": said})
        for second in seconds:
            left, top = draw(st.integers(0, 98)), draw(st.integers(0, 98))
            right, bottom = draw(st.integers(left + 1, 99)), draw(st.integers(top + 1, 99))
            box = [left, top, right, bottom]
            wrote = draw(
                st.sampled_from([[10 * x for x in box], [f"{x}%" for x in box], [f"{10 * x}" for x in box]])
            )
            where.append({"second": second, "category": name(category), "box": wrote})
            boxes.setdefault(second, []).append((category, tuple(10.0 * x for x in box)))
    text = json.dumps({"who": who, "when": when, "where": where}, indent=draw(st.sampled_from([None, 2])))
    around = draw(
        st.sampled_from(["{}", "```json\n{}\n```", "<think>a {{ b</think>{}", "Sure! {} Anything else?"])
    )
    meant = Sounding(
        LENGTH_S,
        {category: count for category, (count, _) in truth.items()},
        {category: seconds for category, (_, seconds) in truth.items()},
        {second: tuple(named) for second, named in boxes.items()},
    )
    return around.format(text), meant


@given(written())
def test_however_it_is_written_the_same_is_read(case):
    text, meant = case
    assert read(text) == meant


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["dog", "0:01"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["who", "when", "where", "category", "count", "seconds", "second", "box", "x"]),
            inner,
        )
    ),
    max_leaves=20,
)


@given(
    st.one_of(
        st.text(), _JSON.map(json.dumps), _JSON.map(lambda x: json.dumps(PLAIN | {"who": x, "where": x}))
    )
)
def test_nothing_else_than_an_answer_or_invalid_comes_of_any_text(text):
    try:
        found = read(text)
    except InvalidAnswer:
        return
    assert set(found.counts) <= set(CATEGORIES) and all(count >= 1 for count in found.counts.values())
    assert all(0 <= second < LENGTH_S for seconds in found.seconds.values() for second in seconds)
    for named in found.boxes.values():
        assert all(0 <= b[0] < b[2] <= 1000 and 0 <= b[1] < b[3] <= 1000 for _, b in named)
