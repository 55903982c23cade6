"""One module a command or a family of commands.

Imported by: `cli.main` alone, by name.
Door: the functions that `cli.main` names.
"""
