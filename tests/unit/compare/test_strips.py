from components.compare.strips import choose


def test_clips_are_spread_from_worst_to_best():
    scored = [("e", 90.0), ("a", 10.0), ("c", 50.0), ("b", 50.0), ("d", 70.0)]
    assert choose(scored, 3) == ["a", "c", "e"]
    assert choose(scored, 1) == ["c"]
    assert choose(scored, 9) == ["a", "b", "c", "d", "e"]
    assert choose(scored, 0) == []
