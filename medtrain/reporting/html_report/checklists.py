"""Which items of TRIPOD+AI and CLAIM 2024 a run answers, and which are its authors' to answer.

TRIPOD+AI: Collins et al., BMJ 2024;385:e078378. CLAIM 2024: Tejani et al., Radiology: Artificial Intelligence
2024;6(4):e240300. The names of the items are short ones of our own: read the guidelines for what they ask.
"""

from __future__ import annotations

from medtrain.metrics.metric_words import metric_words
from medtrain.reporting.html_report.markup import Html, joined, link, number, paragraph, table, tag
from medtrain.reporting.html_report.page_frame import Section, section
from medtrain.reporting.html_report.run_facts import RunFacts

TRIPOD_DOI, CLAIM_DOI = "https://doi.org/10.1136/bmj-2023-078378", "https://doi.org/10.1148/ryai.240300"
TRIPOD = {
    "1": "title", "2": "abstract", "3a": "medical context", "3b": "target population and users",
    "3c": "known inequalities in health", "4": "objectives", "5a": "where the data are from", "5b": "dates of the data",
    "6a": "setting and centres", "6b": "who was eligible", "6c": "treatments", "7": "preparing the data",
    "8a": "the outcome", "8b": "who judged the outcome", "8c": "blinding of those who judged",
    "9a": "choice of predictors", "9b": "the predictors", "9c": "who judged the predictors", "10": "sample size",
    "11": "missing data", "12a": "how data were divided", "12b": "handling of predictors", "12c": "model and training",
    "12d": "differences between clusters", "12e": "performance measures", "12f": "updating of the model",
    "12g": "how predictions are computed", "13": "class imbalance", "14": "fairness", "15": "output and thresholds",
    "16": "training data against evaluation data", "17": "ethics approval", "18a": "funding",
    "18b": "conflicts of interest", "18c": "protocol", "18d": "registration", "18e": "sharing of data",
    "18f": "sharing of code", "19": "patients and the public", "20a": "flow of participants",
    "20b": "characteristics of participants", "20c": "evaluation against training data",
    "21": "participants and events of each analysis", "22": "the complete model", "23a": "performance with intervals",
    "23b": "differences in performance", "24": "results of updating", "25": "interpretation", "26": "limitations",
    "27a": "poor or missing input", "27b": "what users must do and know", "27c": "next steps",
}  # fmt: skip
CLAIM = {
    "1": "title names the technique", "2": "abstract", "3": "background and intended use", "4": "aims and hypotheses",
    "5": "prospective or retrospective", "6": "goal of the study", "7": "where the data are from",
    "8": "who was included", "9": "preparing the data", "10": "choice of subsets", "11": "de-identification",
    "12": "missing data", "13": "how images were acquired", "14": "how the reference standard was obtained",
    "15": "why that reference standard", "16": "who annotated", "17": "annotation of the test set",
    "18": "agreement of the annotators", "19": "how partitions were assigned", "20": "at which level they are disjoint",
    "21": "intended sample size", "22": "the model", "23": "software", "24": "first weights", "25": "training",
    "26": "choice of the final model", "27": "ensembles", "28": "metrics", "29": "uncertainty", "30": "robustness",
    "31": "explanations", "32": "internal evaluation", "33": "external test", "34": "trial registration",
    "35": "numbers included and excluded", "36": "characteristics by partition", "37": "performance and uncertainty",
    "38": "diagnostic performance", "39": "analysis of failures", "40": "limitations", "41": "meaning for practice",
    "42": "protocol and technical details", "43": "availability of software, model, data", "44": "funding",
}  # fmt: skip


def checklists(facts_of: RunFacts) -> Section:
    """The two tables."""
    return section(
        "checklists",
        "Reporting checklists",
        paragraph(
            "What this run answers of ", link(TRIPOD_DOI, "TRIPOD+AI"), " and ", link(CLAIM_DOI, "CLAIM 2024"),
            "; all other items are open, and yours to answer. The names of the items are short: the guidelines say what"
            " each asks.",
        ),
        _table("TRIPOD+AI", TRIPOD, _tripod(facts_of)),
        _table("CLAIM 2024", CLAIM, _claim(facts_of)),
    )  # fmt: skip


def _table(name: str, items: dict[str, str], answers: dict[str, Html]) -> Html:
    rows = [(item, words, answers.get(item) or tag("span", "open", class_="none")) for item, words in items.items()]
    caption = f"{name}: {len(answers)} of {len(items)} items are answered here, in full or in part"
    return joined(tag("h3", name), table(caption, ("item", "about", "answer"), rows, words=(1, 2), class_="wrap"))


def _answers(facts_of: RunFacts) -> dict[str, Html]:
    """What is said under several numbers."""
    config, report = facts_of.config, facts_of.report
    names = sorted({name for packed in facts_of.packed.values() for name in packed.name.split("+")})
    rules = sorted({str(packed.manifest.get("split_rule", "")) for packed in facts_of.packed.values()} - {""})
    see = {
        place: link(f"#{place}", words)
        for place, words in {
            "data": "Data", "labels": "results", "calibration": "Calibration", "confusion": "Confusion",
            "operating": "Operating points", "groups": "Datasets and subgroups", "settings": "Settings",
            "provenance": "Provenance", "curves": "Training",
        }.items()
    }  # fmt: skip
    weighted = config.loss.focal_alpha != "none" or bool(config.loss.focal_gamma) or bool(config.data.sampling)
    found = {
        "sources": joined(f"{', '.join(names) or 'not there any more'}; ", see["provenance"]),
        "prepared": joined(
            f"input of {config.data.image_size} pixels, normalization {config.data.normalize}; how files were packed: ",
            see["provenance"],
        ),
        "missing": joined("labels that are unknown count nowhere" if facts_of.task == "multilabel"
                          else "samples without a label count nowhere"),
        "divided": joined(f"{'; '.join(rules) or 'unknown'}; ", see["data"]),
        "disjoint": joined("by patient where the dataset tells patients, and no byte-identical image is in two splits"),
        "size": joined(see["data"], "; no sample size was computed"),
        "model": joined(f"{config.model.backbone}, task {facts_of.task}; ", see["settings"]),
        "training": joined(
            f"{config.optim.optimizer}, learning rate {config.optim.lr:g}, schedule {config.schedule.schedule}, "
            f"at most {config.epochs} epochs; ", see["settings"], " and ", see["curves"],
        ),
        "chosen": joined(
            f"the epoch with the best {metric_words(config.monitor)} in validation, {facts_of.best_epoch or 'none'}"
        ),
        "software": see["provenance"],
        "code": joined("medtrain, Apache-2.0; the run's own copy: ", see["provenance"]),
        "metrics": joined("area under curves, error rates at thresholds, calibration; ", see["labels"])
        if facts_of.task != "score" else joined("errors, explained variance, rank correlation; ", see["labels"]),
        "uncertainty": joined("95 % percentile bootstrap over patients, 1,000 rounds; exact where all are alike"),
        "performance": joined(
            f"{facts_of.split} split, ", number(report["samples"]), f" {facts_of.unit}: ", see["labels"]
        ),
        "numbers": see["data"],
        "imbalance": joined("weights or sampling: " if weighted else "nothing was done about it; ", see["settings"]),
        "output": joined("a number" if facts_of.task == "score" else "probabilities; thresholds: ",
                         see["confusion"] if facts_of.task != "score" else None),
        "wrong": joined("only counts of what is wrong: ", see["confusion"]),
    }  # fmt: skip
    if facts_of.report.get("subgroups") or facts_of.report.get("per_dataset"):
        found["differences"] = joined("by group: ", see["groups"])
    if facts_of.external:
        found["external"] = joined(f"{facts_of.config.data.holdout}: ", see["groups"])
    if facts_of.report.get("temperature") is not None:
        found["updated"] = joined("a temperature, fitted on validation: ", see["calibration"])
    began = config.model.weights
    found["first"] = joined(f"published weights ({began})" if began in ("imagenet", "kinetics")
                            else "a file of weights" if began else f"random, seed {config.seed}")  # fmt: skip
    return found


def _tripod(facts_of: RunFacts) -> dict[str, Html]:
    told = _answers(facts_of)
    places = {
        "5a": "sources", "7": "prepared", "10": "size", "11": "missing", "12a": "divided", "12c": "training",
        "12d": "differences", "12e": "metrics", "12f": "updated", "13": "imbalance", "15": "output", "18f": "code",
        "21": "numbers", "22": "model", "23a": "performance", "23b": "differences", "24": "updated",
    }  # fmt: skip
    return {item: told[name] for item, name in places.items() if name in told}


def _claim(facts_of: RunFacts) -> dict[str, Html]:
    told = _answers(facts_of)
    places = {
        "7": "sources", "9": "prepared", "12": "missing", "19": "divided", "20": "disjoint", "22": "model",
        "23": "software", "24": "first", "25": "training", "26": "chosen", "28": "metrics", "29": "uncertainty",
        "32": "performance", "33": "external", "35": "numbers", "37": "performance", "38": "performance", "39": "wrong",
        "43": "code",
    }  # fmt: skip
    return {item: told[name] for item, name in places.items() if name in told}
