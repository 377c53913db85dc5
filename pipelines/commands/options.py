"""Options that several commands take."""

from enum import StrEnum


class Split(StrEnum):
    """Of the data set."""

    train = "train"
    val = "val"
    test = "test"
