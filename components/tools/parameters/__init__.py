"""All of params.yaml is checked before the first stage that runs, and by `avis check` alone.

What one block says of itself (types, ranges, what goes with what), its own type knows. Here is what no block
can know alone: rules between blocks, with files and with this machine.
"""
