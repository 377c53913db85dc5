"""What numbers from outside may be: kinds of fields for msgspec, which refuses others, NaN among them."""

from typing import Annotated

from msgspec import Meta

HIGHEST_RATE_HZ = 1000.0  # pictures a second
LATEST_S = 1e9  # of a part of a video, of a length
MOST_BYTES = 1 << 60

Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Bytes = Annotated[int, Meta(ge=0, le=MOST_BYTES)]
Rate = Annotated[float, Meta(ge=0, le=HIGHEST_RATE_HZ)]
Seconds = Annotated[float, Meta(ge=0, le=LATEST_S)]
Side = Annotated[int, Meta(ge=0, le=1 << 16)]
"""Pixels of a picture; 0 where there is none."""
