"""The command line: one module a command, which parses, calls a package below, and prints.

Imported by: nobody.
Door: `main.main()`.
"""
