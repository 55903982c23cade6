"""`python -m medtrain`: the command line."""

from medtrain.cli.main import main

main()
