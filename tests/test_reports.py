"""medtrain.reports: sentences written for this test. The real reports are read by test_labelling.py."""

from __future__ import annotations

import pytest

from medtrain.labels import ABSENT, PATHOLOGIES, PRESENT, UNCERTAIN, UNMENTIONED
from medtrain.reports import label_report, report_states

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
    "No effusion, possible pneumonia.": {"Effusion": ABSENT, "Pneumonia": UNCERTAIN},
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
    "Pneumothorax: None.": {"Pneumothorax": ABSENT},
    "Pleural effusion: none": {"Effusion": ABSENT},
    "Pneumothorax - none seen.": {"Pneumothorax": ABSENT},
    "Effusion (none), edema (absent).": {"Effusion": ABSENT, "Edema": ABSENT},
    "Effusion: no change.": {"Effusion": PRESENT},
    "Pneumothorax has been excluded.": {"Pneumothorax": ABSENT},
    "Pneumothorax is not excluded.": {"Pneumothorax": UNCERTAIN},
    "No pleural effusion (or pneumothorax).": {"Effusion": ABSENT, "Pneumothorax": ABSENT},
    "No focal consolidation (pneumonia), effusion.": {
        "Consolidation": ABSENT,
        "Effusion": ABSENT,
        "Pneumonia": ABSENT,
    },
    "No pneumothorax (small residual effusion).": {"Effusion": PRESENT, "Pneumothorax": ABSENT},
    "Atelectasis (no pneumonia), small effusion.": {"Atelectasis": PRESENT, "Effusion": PRESENT, "Pneumonia": ABSENT},
    "No consolidation; pneumothorax; or effusion.": {
        "Consolidation": ABSENT,
        "Effusion": ABSENT,
        "Pneumothorax": ABSENT,
    },
    "Small left pleural effusion, pneumothorax: none.": {"Effusion": PRESENT, "Pneumothorax": ABSENT},
    "Pneumothorax or effusion: none.": {"Effusion": ABSENT, "Pneumothorax": ABSENT},
    "Mild edema; no effusion; or pneumothorax.": {"Edema": PRESENT, "Effusion": ABSENT, "Pneumothorax": ABSENT},
    "No edema; small effusion or pleural thickening; or atelectasis.": {
        "Edema": ABSENT,
        "Effusion": PRESENT,
        "Pleural_Thickening": PRESENT,
        "Atelectasis": PRESENT,
    },
    "Heart size is normal.": {"Cardiomegaly": ABSENT},
    "Normal cardiac silhouette.": {"Cardiomegaly": ABSENT},
    "The cardiomediastinal silhouette is within normal limits.": {"Cardiomegaly": ABSENT},
    "Heart size is not normal.": {"Cardiomegaly": UNMENTIONED},
    "HEART: enlarged.": {"Cardiomegaly": PRESENT},
    "Heart size: Normal.": {"Cardiomegaly": ABSENT},
    "No consolidation; small effusion.": {"Consolidation": ABSENT, "Effusion": PRESENT},
    "No nodule in the left lung. Possible nodule in the right.": {"Nodule": UNCERTAIN},
    "No effusion or pneumothorax\nRight lower lobe pneumonia.": {
        "Effusion": ABSENT,
        "Pneumothorax": ABSENT,
        "Pneumonia": PRESENT,
    },
    "- No consolidation\n- Small effusion\n- Cardiomegaly": {
        "Consolidation": ABSENT,
        "Effusion": PRESENT,
        "Cardiomegaly": PRESENT,
    },
    "no effusion\n\ncardiomegaly": {"Effusion": ABSENT, "Cardiomegaly": PRESENT},
    "1) No effusion\r\n2) Cardiomegaly": {"Effusion": ABSENT, "Cardiomegaly": PRESENT},
    "No pleural effusion or\npneumothorax.": {"Effusion": ABSENT, "Pneumothorax": ABSENT},
    "NO EFFUSION OR\nPNEUMOTHORAX": {"Effusion": ABSENT, "Pneumothorax": ABSENT},
    "Pneumothorax: \nNone": {"Pneumothorax": ABSENT},
    "Unlikely pneumonia.": {"Pneumonia": ABSENT},
    "Atelectasis rather than pneumonia.": {"Atelectasis": PRESENT, "Pneumonia": UNCERTAIN},
    "Doubtful pneumonia, less likely edema.": {"Pneumonia": UNCERTAIN, "Edema": UNCERTAIN},
    "Follow-up to document resolution of pneumonia.": {"Pneumonia": UNCERTAIN},
    "Interval resolution of pneumonia.": {"Pneumonia": ABSENT},
    "Rule out pneumonia.": {"Pneumonia": UNCERTAIN},
    "CT rules out pneumonia.": {"Pneumonia": ABSENT},
    "No pleural or pericardial effusion.": {"Effusion": ABSENT},
    "No pneumothorax with small effusion.": {"Pneumothorax": ABSENT, "Effusion": PRESENT},
    "Opacities may be compatible with mild edema.": {"Edema": UNCERTAIN},
    "Known breast mass. Nodule in the left thyroid lobe.": {"Mass": UNMENTIONED, "Nodule": UNMENTIONED},
    "The heart is top normal in size.": {"Cardiomegaly": UNMENTIONED},
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
