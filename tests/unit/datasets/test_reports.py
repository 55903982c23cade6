"""datasets.report_labeler: sentences written for this test. The real reports are read by test_labelling.py."""

from __future__ import annotations

import pytest

from medtrain.datasets.labels import ABSENT, PATHOLOGIES, PRESENT, UNCERTAIN, UNMENTIONED
from medtrain.datasets.report_labeler import label_report, report_states

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
# A denied change, cure or neighbour leaves the finding where it is (pseudo-negations: Chapman et al. 2001, Harkema et
# al. 2009); a cue behind a finding denies it; a comma ends a denial before what can only be there.
THERE = {
    "Edema": (
        "No worsening of edema.", "No evidence of worsening edema.", "No significant interval worsening of edema.",
        "No improvement in edema.", "Without improvement of the edema.", "No deterioration of the edema.",
        "No worsening or improvement of edema.", "Edema is no worse.",
    ),
    "Pneumonia": (
        "Pneumonia has not resolved.", "Pneumonia has not yet cleared.", "Pneumonia failed to resolve.",
        "Incompletely resolved pneumonia.", "No resolution of the pneumonia.", "Pneumonia not improved.",
        "There is no doubt of pneumonia.", "Persistent pneumonia, not resolved.",
    ),
    "Effusion": (
        "No decrease in effusion.", "The effusion has not decreased.", "Effusion is not completely resolved.",
        "Partially resolved effusion.", "No enlargement of the pleural effusion.", "No rib fracture near the effusion.",
        "No pneumothorax, residual effusion.", "No interval change in the left effusion.", "Effusion (+).",
    ),
    "Nodule": (
        "No enlargement of the nodule.", "No growth of the nodule.", "Nodule has not enlarged.",
        "No calcification within the nodule.", "No increase in size of the nodule.",
    ),
    "Mass": (
        "No cavitation in the mass.", "No fluid level within the left upper lobe mass.",
        "No pneumothorax, unchanged mass.", "No pneumothorax, known mass on the right.",
    ),
    "Cardiomegaly": (
        "No pneumothorax, stable cardiomegaly.", "No pneumothorax and stable cardiomegaly.",
        "No pneumothorax, mild cardiomegaly.", "No pneumothorax, cardiomegaly is stable.",
        "No acute findings besides cardiomegaly.",
    ),
}  # fmt: skip
NOT_THERE = {
    "Pneumothorax": (
        "Pneumothorax absent.", "Pneumothorax is absent.", "Pneumothorax (-), small effusion.", "Pneumothorax: -",
        "Pneumothorax: not seen.", "Pneumothorax: no evidence.", "Pneumothorax - negative", "Pneumothorax excluded.",
        "No pneumothorax, stable cardiomegaly.", "No pneumothorax following biopsy of a mass.",
        "Interval resolution of pneumothorax.", "No residual pneumothorax.",
    ),
    "Effusion": (
        "Effusion: (-)", "Effusion [-]", "Effusion: 0", "Effusion: not likely",
        "Effusion (-).", "Effusion (negative).", "Effusion: No", "Effusions absent.", "Effusion, none.",
        "No pneumothorax or effusion, stable.", "No pneumothorax, large effusion, or consolidation.",
        "No infiltrate in the lungs or effusion.", "No interval development of effusion.",
    ),
    "Pneumonia": ("Pneumonia: unlikely", "Pneumonia: unlikely.", "Pneumonia has resolved."),
    "Cardiomegaly": ("No enlargement of the heart.", "No enlargement of the cardiac silhouette."),
    "Consolidation": ("No pneumothorax, effusion or consolidation is seen.",),
}  # fmt: skip
SIDES = [(PRESENT, THERE), (ABSENT, NOT_THERE)]


@pytest.mark.parametrize("text", STATED)
def test_what_a_sentence_states(text: str) -> None:
    named = {label: state for label, state in report_states(text).items() if state != UNMENTIONED}
    assert named == {label: state for label, state in STATED[text].items() if state != UNMENTIONED}


@pytest.mark.parametrize(
    ("text", "label", "state"),
    [(text, label, state) for state, side in SIDES for label, texts in side.items() for text in texts],
)
def test_pseudo_negations_and_cues_behind_a_finding(text: str, label: str, state: int) -> None:
    assert report_states(text)[label] == state


def test_a_finding_behind_a_procedure_is_not_denied() -> None:
    assert label_report("No pneumothorax following biopsy of a mass.")["Mass"] != ABSENT


# Each takes minutes where a pattern looks at a text again from each of its places, and well below a second where not.
LONG = {
    "blanks": " " * 100_000, "tabs": "\t" * 100_000, "empty lines": " \n" * 50_000, "line ends": "\r\n" * 50_000,
    "dashes": "-" * 100_000, "brackets": "(" * 100_000, "one word": "a" * 100_000, "a number": "1" * 100_000,
    "items": "; or a" * 16_000, "words": "word " * 20_000, "denials": "no " * 33_000, "commas": ", a b" * 20_000,
    "degrees": "no " + "significant " * 9_000, "sizes": "heart" + " size" * 20_000,
    "a gap in a sentence": "no effusion" + " " * 100_000 + "or mass",
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_a_long_text_is_read_in_one_pass(name: str) -> None:
    states = report_states(LONG[name] + "\n\nSmall pneumothorax.")
    assert states["Pneumothorax"] == PRESENT
    assert states["Mass"] == (ABSENT if name == "a gap in a sentence" else UNMENTIONED)


def test_many_mentions_in_one_sentence_are_read_in_one_pass() -> None:
    assert report_states("no " + "effusion or " * 3_000)["Effusion"] in (ABSENT, UNCERTAIN, PRESENT)


def test_what_is_not_known_is_none() -> None:
    labels = label_report("Small effusion. No pneumothorax. Possible pneumonia.")
    assert list(labels) == list(PATHOLOGIES)
    assert (labels["Effusion"], labels["Pneumothorax"], labels["Pneumonia"], labels["Mass"]) == (1, 0, None, None)
    assert set(label_report("").values()) == {None}
