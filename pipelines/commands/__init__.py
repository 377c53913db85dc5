"""The commands of `avis`: a folder for each group of `avis --help`, in it a file for each command.

A file holds the command of its own name, its options, its help and its body: a function, or a typer.Typer of
sub-commands. A new one is such a file, and its name in the table of pipelines/cli.py. What is slow to import
is imported inside functions, because `avis --help` imports all of these files.
"""
