"""The check of all of params.yaml: every block, every rule, all mistakes at once."""

from pathlib import Path

# what they hold registers itself
import components.tools.parameters.data
import components.tools.parameters.machine
import components.tools.parameters.models  # noqa: F401
from components.core.run.checked_params import remember
from components.core.run.errors import AvisError
from components.core.run.params import ALLOWED_BLOCKS, PARAMS, parse_params
from components.tools.parameters.blocks import read_blocks
from components.tools.parameters.rules import GRAPH, RULES, STAGES, Facts, read_graph


def find_mistakes(first: str = "", path: Path = PARAMS) -> list[AvisError]:
    """All that is wrong with a parameter file, in the file's order; nothing if it is right.

    Args:
        first: the stage that is about to run, as DVC calls it: what ran before it needs no files.
        path: the parameter file, from the current folder, which its paths start from.
    """
    graph = read_graph()
    if first and (not GRAPH.is_file() or first.partition("@")[0] not in graph.stages):
        return []  # a stage of another pipeline, whose graph may lie elsewhere: only it knows what it needs
    try:
        file = parse_params(path)
    except AvisError as error:
        return [error]
    facts = Facts(file, graph, first)
    blocks = read_blocks(
        file, required=[name for name in ALLOWED_BLOCKS if name in graph.blocks or name == "engine"]
    )
    mistakes = blocks.mistakes
    for needed, rule in RULES:
        if all(name in blocks.values for name in needed):
            mistakes += rule(facts, *(blocks.values[name] for name in needed))
    if not mistakes and path == PARAMS:
        may_run = [stage for stage in STAGES if facts.may_run(stage)]
        remember(may_run, {path, GRAPH, *facts.files}, facts.environment)
    return list(
        {str(mistake): mistake for mistake in mistakes}.values()
    )  # variants share mistakes of `train`
