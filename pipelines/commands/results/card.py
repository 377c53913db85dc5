"""`avis card`."""

from pathlib import Path
from typing import Annotated

import typer


def card(
    out: Annotated[Path, typer.Option(help="Folder for data.md and a file per model.")] = Path("cards"),
) -> None:
    """Write the data card and the models' cards."""
    from components.core.run.params import read_variant_names
    from components.core.run.paths import Paths
    from components.tools.cards import write_data_card, write_model_card

    write_data_card(out / "data.md")
    print(out / "data.md")
    for variant in read_variant_names():
        if (Paths().model(variant) / "run.json").is_file():
            write_model_card(variant, out / f"{variant}.md")
            print(out / f"{variant}.md")
