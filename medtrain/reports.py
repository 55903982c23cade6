"""For a release: the old place of `medtrain.label_report`."""

import warnings

from medtrain.datasets.report_labeler import label_report as label_report

warnings.warn("medtrain.reports has moved: from medtrain import label_report", DeprecationWarning, stacklevel=2)
