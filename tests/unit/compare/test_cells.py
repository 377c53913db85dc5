from components.compare.cells import column, rows
from components.core.metrics.paired import Difference

CLEAR = Difference(value=35.0, other=40.0, low=-8.0, high=-2.0, p=0.01)
UNCLEAR = Difference(value=35.0, other=40.0, low=-12.0, high=2.0, p=0.2)


def test_the_best_is_marked_and_changes_are_against_the_first():
    first, second, third = column([40.0, 45.0, None])
    assert (first.best, second.best, third.best) == (False, True, False)
    assert first.reference and first.change is None
    assert second.change == 5.0 and second.direction == "up"
    assert third.value is None and third.change is None


def test_ties_are_both_best_and_one_row_is_not_best():
    assert [cell.best for cell in column([1.0, 1.0])] == [True, True]
    (only,) = column([1.0])
    assert not only.best and not only.reference


def test_less_is_better_for_errors():
    first, second = column([0.5, 0.2], less_is_better=True)
    assert second.best and not first.best and second.direction == "up"


def test_a_change_that_may_be_chance_has_no_direction():
    assert column([40.0, 35.0], [None, CLEAR])[1].direction == "down"
    unclear = column([40.0, 35.0], [None, UNCLEAR])[1]
    assert unclear.direction == "" and unclear.interval == UNCLEAR


def test_rows_are_columns_turned():
    turned = rows([column([1.0, 2.0]), column([3.0, None])])
    assert [[cell.value for cell in row] for row in turned] == [[1.0, 3.0], [2.0, None]]
