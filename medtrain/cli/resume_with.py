"""`resume` is read by the run's own copy of medtrain: found here, without what that copy may read otherwise."""

from __future__ import annotations

from medtrain.cli.arguments import take_values
from medtrain.cli.renamed_flags import for_older_copy
from medtrain.core.errors import InputError
from medtrain.runs.code_snapshot import UPDATE_CODE, exec_snapshot, has_old_names, replace_snapshot
from medtrain.runs.run import Run, is_path, run_folder
from medtrain.slurm import job_environment


def resume_with(arguments: list[str]) -> list[str]:
    """Let the run's own copy read what follows `resume`; with --update-code the installed medtrain replaces it first.

    Returns the arguments that are left for the medtrain that runs here. --update-code (which older scripts have by
    another name) is about which medtrain reads the others, so it is taken off before.
    """
    words = [word for word in arguments if word.replace("_", "-") not in (UPDATE_CODE, "--thaw")]
    updates = words != arguments
    try:
        runs = (take_values([*words], ("--runs",)) or ["runs"])[-1]
    except InputError:
        return words  # and it is said there what is wrong
    run = Run(run_folder(runs, words[0])) if words else Run(runs)
    if not words or not run.config_file.exists():
        return words
    if is_path(words[0]):  # which older copies take for a name
        take_values(words, ("--runs",))
        words[:1] = [run.name, "--runs", str(run.folder.parent)]
    if updates and not {"-h", "--help", "--help-all", "--help_all"} & set(words):
        replace_snapshot(run)
    # That copy may be older than what keeps another job's variables out of its jobs and ranks.
    if run.job_file.exists() and not {"--here", "--here=True"} & set(words):
        job_environment.leave()
    else:
        job_environment.reconcile_environment()
    exec_snapshot(run, ["resume", *(for_older_copy(run, words) if has_old_names(run) else words)])
    return words
