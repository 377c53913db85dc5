import json
from pathlib import Path

import pytest

from components.core.records.results import Result, read_results, write_results
from components.core.run.errors import AvisError


def test_results(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results = [Result(1, 2, 0.1 + 0.2, [None, {"size": [6, 8], "counts": "`1"}])]
    write_results(path, results)
    assert read_results(path) == results
    assert set(json.loads(path.read_text())[0]) == {"video_id", "score", "category_id", "segmentations"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "must be a JSON list"),
        ("[", "not valid JSON"),
        ('[{"video_id": 1}]', "row 0, field category_id"),
        ('[{"video_id": 1, "category_id": 1, "score": NaN, "segmentations": []}]', "row 0, field score"),
        (
            f'[{{"video_id": 1, "category_id": 1, "score": 1{"0" * 400}, "segmentations": []}}]',
            "row 0, field score",
        ),
        ('[{"video_id": 1, "category_id": 1, "score": 1, "segmentations": [[]]}]', "segmentations, frame 0"),
    ],
)
def test_bad_results_name_row_and_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(AvisError, match=message):
        read_results(path)
