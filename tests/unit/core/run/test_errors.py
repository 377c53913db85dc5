"""The one message for the user stays one message, whatever a stranger wrote."""

from components.core.run.errors import AvisError


def test_a_number_of_thousands_of_digits_does_not_fill_the_terminal() -> None:
    error = AvisError(f"{'7' * 4000} is no number", where=f"a.json, row {'9' * 5000}", fix="Mend it.")
    assert len(str(error)) < 3500
    assert error.what.startswith("777") and error.what.endswith("777 is no number")
    assert str(error).endswith("999). Mend it.") and "(a.json, row 999" in str(error)


def test_what_is_not_too_long_is_said_as_it_is() -> None:
    assert AvisError("x" * 2000).what == "x" * 2000
