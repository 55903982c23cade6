"""For a release: what packing jobs run that were sent when medtrain was one flat folder."""

import sys

from medtrain.shards.packing_jobs import main

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
