"""What any module may use and what knows nothing of training: errors, the console, durable files, processes.

Imported by: everybody.
Door: `errors` (problem, fix, exit code), `console.say`, `files.write_whole`, `processes.command`.
"""
