"""What a stage does: one package per stage, each runnable as `python -m components.<stage>`."""

import os
import resource

# Where OpenBLAS, which NumPy, SciPy and OpenCV each bring, gets no memory while it is loaded, it asks
# for ever, or crashes. Measured with two cores: 400 MB of data, 1000 MB of addresses; a core adds threads.
_LIMITS = ("d", resource.RLIMIT_DATA, 400 << 20), ("v", resource.RLIMIT_AS, 1000 << 20)
_PER_CORE = 40 << 20
for _letter, _limit, _least in _LIMITS:
    _allowed = resource.getrlimit(_limit)[0]
    _needed = _least + (os.cpu_count() or 1) * _PER_CORE
    if _allowed != resource.RLIM_INFINITY and _allowed < _needed:
        raise SystemExit(
            f"This process may take {_allowed >> 20} MB of memory (ulimit -{_letter}), and the libraries"
            f" alone need {_needed >> 20} MB here. Allow more: ulimit -{_letter} unlimited, or what your"
            " batch system calls it."
        )
