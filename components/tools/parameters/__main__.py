"""`python -m components.tools.parameters [STAGE]`: a line for each mistake; stages start it."""

import sys

from components.core.text.terminal import guard_terminal
from components.tools.parameters.check import find_mistakes


def main(first: str = "") -> int:
    """Print what is wrong with params.yaml; 1 if anything is."""
    guard_terminal()
    mistakes = find_mistakes(first)
    for mistake in mistakes:
        print(" ".join(str(mistake).split()))
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
