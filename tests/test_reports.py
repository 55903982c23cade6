"""medtrain.reports: sentences written for this test, and the real OpenI reports against their manual labels."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from medtrain.datasets import openi
from medtrain.labels import ABSENT, PATHOLOGIES, PRESENT, UNCERTAIN, UNMENTIONED
from medtrain.reports import label_report, report_states

DATA = Path(__file__).parents[2] / "shared" / "data" / "openi"

STATED = {
    "There is a small left pleural effusion.": {"Effusion": PRESENT},
    "No pneumothorax, pleural effusion, or focal consolidation.": {
        "Pneumothorax": ABSENT,
        "Effusion": ABSENT,
        "Consolidation": ABSENT,
    },
    "Pneumothorax is not seen.": {"Pneumothorax": ABSENT},
    "The previously seen effusion has resolved.": {"Effusion": ABSENT},
    "Lungs are free of infiltrate, but there is a nodule on the right.": {"Infiltration": ABSENT, "Nodule": PRESENT},
    "No effusion, the heart is mildly enlarged.": {"Effusion": ABSENT, "Cardiomegaly": PRESENT},
    "No effusion, there is a mass in the left upper lobe.": {"Effusion": ABSENT, "Mass": PRESENT},
    "The heart is not enlarged.": {"Cardiomegaly": ABSENT},
    "Heart size is upper limits of normal.": {"Cardiomegaly": UNMENTIONED},
    "The heart is borderline in size.": {"Cardiomegaly": PRESENT},
    "Enlarged cardiac silhouette.": {"Cardiomegaly": PRESENT},
    "Opacity in the left base may represent pneumonia.": {"Pneumonia": UNCERTAIN},
    "A small pneumothorax cannot be excluded.": {"Pneumothorax": UNCERTAIN},
    "Cannot exclude a small effusion.": {"Effusion": UNCERTAIN},
    "Findings concerning for pneumonia.": {"Pneumonia": UNCERTAIN},
    "Hyperexpanded lungs, suggestive of emphysema.": {"Emphysema": UNCERTAIN},
    "Pneumonia is unlikely.": {"Pneumonia": ABSENT},
    "Bibasilar atelectasis versus infiltrate.": {"Atelectasis": PRESENT, "Infiltration": PRESENT},
    "History of pneumonia.": {"Pneumonia": UNCERTAIN},
    "No change in the right effusion.": {"Effusion": PRESENT},
    "Effusion without significant change.": {"Effusion": PRESENT},
    "No new infiltrate.": {"Infiltration": UNCERTAIN},
    "Pericardial effusion.": {"Effusion": UNMENTIONED},
    "Subcutaneous emphysema.": {"Emphysema": UNMENTIONED},
    "No mass effect.": {"Mass": UNMENTIONED},
    "Changes of cystic fibrosis.": {"Fibrosis": UNMENTIONED},
    "Soft tissue edema.": {"Edema": UNMENTIONED},
    "Mild biapical pleural thickening.": {"Pleural_Thickening": PRESENT},
    "Large hiatal hernia.": {"Hernia": PRESENT},
    "XXXX pneumothorax or pleural effusion.": {"Pneumothorax": UNCERTAIN, "Effusion": UNCERTAIN},
    "1. Cardiomegaly. 2. No edema.": {"Cardiomegaly": PRESENT, "Edema": ABSENT},
    "Possible nodule. Nodule in the right lung.": {"Nodule": PRESENT},
    "No nodule in the left lung. Possible nodule in the right.": {"Nodule": UNCERTAIN},
}


@pytest.mark.parametrize("text", STATED)
def test_what_a_sentence_states(text: str) -> None:
    named = {label: state for label, state in report_states(text).items() if state != UNMENTIONED}
    assert named == {label: state for label, state in STATED[text].items() if state != UNMENTIONED}


def test_what_is_not_known_is_none() -> None:
    labels = label_report("Small effusion. No pneumothorax. Possible pneumonia.")
    assert list(labels) == list(PATHOLOGIES)
    assert (labels["Effusion"], labels["Pneumothorax"], labels["Pneumonia"], labels["Mass"]) == (1, 0, None, None)
    assert set(label_report("").values()) == {None}


@pytest.mark.skipif(
    not DATA.exists(), reason="!!! NOT TESTED on real data: no OpenI reports here (../shared/data/openi)"
)
def test_the_manual_labels_of_openi(openi_root: Path) -> None:
    texts = {report.study: report.text for report in openi.reports(openi_root)}
    with (DATA / "labels_dev.csv").open() as file:
        gold = {row["filename"].removeprefix("CXR"): row for row in csv.DictReader(file)}
    labels = [label for label in PATHOLOGIES if label != "Hernia"]  # all zero there, by mistake
    counts = {label: [0, 0, 0] for label in labels}  # right, too many, missed
    for study, row in gold.items():
        said = label_report(texts[study])
        for label in labels:
            wrong = (said[label] == 1) - int(row[label])
            counts[label][0 if wrong == 0 else 1 if wrong > 0 else 2] += wrong != 0 or row[label] == "1"
    right, many, missed = (sum(column) for column in zip(*counts.values(), strict=True))
    assert len(gold) == 3080
    assert 2 * right / (2 * right + many + missed) >= 0.93, counts
    for label in ("Effusion", "Pneumothorax"):
        assert counts[label][0] / sum(counts[label][:2]) >= 0.95, counts
