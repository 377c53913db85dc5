"""`avis check`."""

import sys

import typer


def check() -> None:
    """Check params.yaml: every block, with the files that it names and this machine."""
    from components.core.run.params import ALLOWED_BLOCKS, PARAMS, read_variant_names
    from components.tools.parameters.check import find_mistakes

    mistakes = find_mistakes()
    if mistakes:
        for mistake in mistakes:
            print(mistake, file=sys.stderr)
        raise typer.Exit(1)
    print(f"{PARAMS}: {len(ALLOWED_BLOCKS)} blocks are valid; variants {', '.join(read_variant_names())}")
