"""For a release: the old place of `medtrain.evaluation.predict`."""

import warnings

from medtrain.evaluation.predict import EchoPredictor as EchoPredictor
from medtrain.evaluation.predict import MURAPredictor as MURAPredictor

warnings.warn(
    "medtrain.predict has moved: from medtrain.evaluation.predict import ...", DeprecationWarning, stacklevel=2
)
