"""For a release: how the command lines of jobs begin that were sent when medtrain was one flat folder."""

from medtrain.core.processes import begin as begin
