"""Reports as pages that need no network and no other file: of a run, of a group of runs, of a packed dataset."""
