"""Questions with a few answers: which are asked, what is right, what boxes say, what guessing scores."""

import asyncio
import json

import pytest

from components.core.records.annotations import AnnotationSet, Track, Video
from components.mllm.choices import Choice, Option, choices_of, chosen, guesses
from components.mllm.interview import Exam, interview
from components.mllm.params import MllmParams
from components.mllm.question import answer_schema, choice_text
from components.mllm.reading import InvalidAnswer, read_choice
from components.mllm.scores import differences, intervals, score, scored
from components.mllm.sounding import Sounding
from components.mllm.stage import _choices, _metrics, _scored
from tests.support.chat_server import CATEGORIES, completion, listening

LEFT, RIGHT, MIDDLE = (0.0, 0.0, 300.0, 900.0), (600.0, 0.0, 900.0, 900.0), (310.0, 0.0, 350.0, 900.0)
REFER = Choice("refer", "a", (Option("left", "dog", 150.0), Option("right", "dog", 750.0)), "right", 4)
ORDER = Choice(
    "order",
    "a",
    (Option("left dog", "dog", 150.0), Option("right dog", "dog", 750.0), Option("violin", "violin", None)),
    "left dog",
)


def seconds(box, *when):
    return dict.fromkeys(when, box)


def test_truth_of_two_alike_and_of_what_is_first():
    heard = [
        ("violin", seconds(LEFT, 2)),
        ("dog", seconds(RIGHT, 1, 3, 4, 5)),
        ("dog", seconds(LEFT, 0, 1)),
    ]
    # alone: the left one in 0, the right one in 3, 4, 5; the middle of these four is 4
    assert choices_of("a", heard) == [REFER, ORDER]
    assert ORDER.names == ("left dog", "right dog", "violin")


@pytest.mark.parametrize(
    ("heard", "kinds"),
    [
        ([], []),
        ([("dog", seconds(LEFT, 0))], []),
        ([("dog", seconds(LEFT, 0)), ("cat", {})], []),  # it never sounds
        ([("dog", seconds(LEFT, 0)), ("cat", seconds(LEFT, 0, 1))], []),  # both at once
        ([("dog", seconds(LEFT, 0)), ("cat", seconds(LEFT, 1))], ["order"]),
        ([("dog", seconds(LEFT, 0, 1)), ("dog", seconds(RIGHT, 0, 1))], []),  # never one alone
        ([("dog", seconds(LEFT, 0)), ("dog", seconds(RIGHT, 1))], ["refer", "order"]),
        ([("dog", seconds(LEFT, 0)), ("dog", seconds((60.0, 0.0, 300.0, 900.0), 1))], []),  # 30 apart
        # they change sides in second 1
        ([("dog", {0: LEFT, 1: RIGHT}), ("dog", {1: LEFT, 2: RIGHT, 3: RIGHT, 4: RIGHT})], []),
        ([("dog", seconds(LEFT, 0)), ("dog", seconds(RIGHT, 1)), ("dog", seconds(MIDDLE, 2))], []),
        ([*[("dog", seconds(LEFT, k)) for k in (1, 2, 3)], ("cat", seconds(RIGHT, 2))], ["order"]),
    ],
)
def test_what_the_labels_leave_open_is_not_asked(heard, kinds):
    assert [choice.kind for choice in choices_of("a", heard)] == kinds


def sounding(boxes):
    return Sounding(6, {}, {}, boxes)


@pytest.mark.parametrize(
    ("boxes", "refer", "order"),
    [
        ({4: (("dog", RIGHT),)}, "right", "right dog"),
        ({4: (("dog", MIDDLE),), 5: (("violin", LEFT),)}, "left", "left dog"),  # 330 is nearer to 150
        ({4: (("dog", LEFT), ("dog", RIGHT))}, None, None),
        ({0: (("violin", RIGHT),), 4: (("cat", LEFT),)}, None, "violin"),
        ({}, None, None),
        (None, None, None),
    ],
)
def test_what_boxes_say(boxes, refer, order):
    assert (chosen(REFER, sounding(boxes)), chosen(ORDER, sounding(boxes))) == (refer, order)


def test_masks_of_the_labels_answer_right():
    tracks = [
        Track(1, 7, 1, [None, box(10), box(10)]),
        Track(2, 7, 1, [box(60), box(60), None]),
        Track(3, 7, 2, [None, None, box(30)]),
    ]
    frames = [f"a/{k}.jpg" for k in range(3)]
    annotations = AnnotationSet({1: "dog", 2: "violin"}, [Video(7, "a", frames, 3, 40, 100)], tracks)
    refer, order = _choices(annotations)
    assert (refer.right, refer.second, order.right) == ("left", 2, "right dog")


def box(x):
    return [[float(x), 0.0, x + 20.0, 0.0, x + 20.0, 30.0, float(x), 30.0]]


def test_scores_and_chance_by_hand():
    truth = {name: sounding({}) for name in "abc"}
    other = Choice("refer", "b", REFER.options, "left", 2)
    said = {REFER: "right", other: "right", ORDER: None}
    found = scored(truth, [truth], ("dog",), chosen=[said])
    values = score(found)
    assert values["refer_accuracy"] == values["refer_chance"] == 50.0
    assert values["order_accuracy"] == 0.0 and values["order_chance"] == pytest.approx(100 / 3)
    low, high = intervals(found)["refer_accuracy"]  # some draws have neither clip: they say nothing
    assert low < 50 < high
    perfect = scored(truth, [truth], ("dog",), chosen=[{c: c.right for c in said}])
    gaps = differences(found, perfect)
    assert gaps["refer_accuracy"]["difference"] == -50.0 and "refer_chance" not in gaps
    assert "order_accuracy" not in score(scored(truth, [truth], ("dog",), chosen=[{REFER: "left"}]))


def test_baselines_guess():
    choices = [Choice("refer", f"clip{k}", REFER.options, "left" if k < 2 else "right", 1) for k in range(40)]
    guessed = guesses([*choices, ORDER])
    accuracy = {name: sum(said[c] == c.right for c in choices) / 40 for name, said in guessed.items()}
    assert accuracy.pop("chance") == pytest.approx(0.5, abs=0.25)
    assert accuracy == {"frequent": 0.95, "everything": 0.0, "silent": 0.0}
    assert guessed["frequent"][ORDER] == "left dog" and guessed == guesses([*choices, ORDER])


@pytest.mark.parametrize("wording", [1, 2, 3])
def test_every_wording_says_what_is_asked(wording):
    refer, order = choice_text(REFER, wording=wording), choice_text(ORDER, wording=wording)
    for needed in ("dog", "second 4", "frame 4", '{"answer": "left"}', '{"answer": "right"}'):
        assert needed in refer
    for needed in ("left dog, right dog, violin", '{"answer": NAME}'):
        assert needed in order
    assert "$" not in refer + order


def test_words_and_schemas_differ():
    assert len({choice_text(choice, wording=n) for choice in (REFER, ORDER) for n in (1, 2, 3)}) == 6
    assert answer_schema(REFER)["schema"]["properties"]["answer"]["enum"] == ["left", "right"]
    assert [answer_schema(c)["name"] for c in (None, REFER, ORDER)] == ["sounding", "refer", "order"]


@pytest.mark.parametrize(
    ("said", "choice", "read"),
    [
        ("right", REFER, "right"),
        ("The left one", REFER, "left"),
        ("Right dog", REFER, "right"),
        ("left puppy", ORDER, "left dog"),
        ("fiddle", ORDER, "violin"),
        ("the violin", ORDER, "violin"),
        ("both", REFER, None),
        ("left or right", REFER, None),
        ("dog", ORDER, None),
        ("dog", REFER, None),
        ("der linke", REFER, None),
        (1, REFER, None),
        (["left"], REFER, None),
    ],
)
def test_an_option_is_read_and_never_guessed(said, choice, read):
    text = f"<think>left?</think> ```json\n{json.dumps({'answer': said})}\n```"
    if read is None:
        with pytest.raises(InvalidAnswer, match="is not one of"):
            read_choice(text, choice)
    else:
        assert read_choice(text, choice) == read


@pytest.mark.parametrize("text", ["left", '{"answer": "left"} or {"answer": "right"}', '{"which": "left"}'])
def test_what_names_no_answer_is_invalid(text):
    with pytest.raises(InvalidAnswer):
        read_choice(text, REFER)


def test_planted_answers_have_the_scores_that_they_must_have(server, endpoint, exam, tmp_path):
    """Of clips 0 to 3 it names the right one of two in 0 and 1, the wrong one in 2, none in 3."""
    choices = [Choice("refer", f"clip{k}", REFER.options, "left" if k % 2 else "right", 1) for k in range(4)]
    texts = {0: "right", 1: "left", 2: "left", 3: "neither"}

    def reply(request):
        if "exactly one of the two" not in request.of("text")[-1]["text"]:
            return listening(request)
        seen = request.seen if request.seen is not None else request.heard
        return completion(json.dumps({"answer": texts[seen]}))

    server.reply = reply
    both = endpoint.model_copy(update={"modalities": ("video", "audio"), "response_format": "json_schema"})
    exam = Exam(exam.clips, exam.truth, CATEGORIES, choices)
    result = asyncio.run(interview(both, MllmParams(concurrency=2), exam, tmp_path))
    schemas = [r.body["response_format"]["json_schema"]["name"] for r in server.requests]
    assert (schemas.count("refer"), schemas.count("sounding")) == (8, 8 + 3)  # with the probes
    metrics = _metrics("m", result, _scored("m", result, exam))
    for source in ("m/video", "m/audio"):
        values = metrics[source]
        assert (values["refer_accuracy"], values["refer_chance"]) == (50.0, 50.0)
        assert (values["questions"], values["clips"], values["invalid"]) == (8, 4, 1)
        assert values["category_f1"] == 100.0 and "order_accuracy" not in values
    assert result.choice_records["video"][0][choices[3]]["message"].startswith("answer: 'neither'")
    asked = len(server.requests)
    asyncio.run(interview(both, MllmParams(), exam, tmp_path))
    assert len(server.requests) == asked
