"""The text of a chest X-ray report -> which of the 14 pathologies it states, denies or leaves open.

Phrases that name a finding, and cues around a mention that deny it or cast doubt on it, as in NegEx (Chapman et al.
2001) and ConText (Harkema et al. 2009); several mentions are summed up as by the CheXpert labeller (Irvin et al. 2019).
Radiologists deny far more than they find, so that a mention alone says nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from medtrain.datasets.labels import ABSENT, PATHOLOGIES, PRESENT, UNCERTAIN, UNMENTIONED

HEART = r"(?:heart|cardiac|cardio[- ]?(?:pericardial|mediastinal|vascular|thymic)?)"
SHAPE = r"(?:(?: and)?(?: mediastinal| silhouette| size| shadow| contours?| borders?| outline)*)"
UP_TO_FIVE_WORDS = r"(?: (?!and\b|with\b|without\b|of\b)\w+){0,5}?"
# What a finding is called, in lower case. Borderline is taken for a degree of enlargement.
NAMES = {
    "Atelectasis": (
        r"atelecta\w*",
        r"(?:lobe|lobar|lung|segmental|partial|complete) collapse",
        r"collapse of (?:the )?(?:\w+ ){0,3}(?:lobe|lung)",
    ),
    "Cardiomegaly": (
        r"cardiomegaly",
        rf"(?:enlarge(?:d|ment)|large)(?: of)?(?: the)? {HEART}{SHAPE}",
        rf"{HEART}{SHAPE}{UP_TO_FIVE_WORDS} (?:enlarged|enlargement|large)",
        rf"borderline {HEART} size",
        rf"{HEART}{SHAPE} (?:is |remains )?borderline(?! (?:normal|\w+ normal))",
    ),
    "Consolidation": (r"consolidat\w*",),
    "Edema": (r"o?edema",),
    "Effusion": (
        r"effusions?",
        r"pleural(?= (?:and|or|nor) __)",
        r"pleural fluid",
        r"hydropneumothora\w*",
        r"empyema",
        r"ha?emothora\w*",
    ),
    "Emphysema": (r"emphysema\w*",),
    "Fibrosis": (r"fibrosis", r"fibrotic"),
    "Hernia": (r"herni\w+",),
    "Infiltration": (r"infiltrat\w*",),
    "Mass": (r"mass(?:es)?",),
    "Nodule": (r"nodules?", r"nodularit(?:y|ies)"),
    "Pleural_Thickening": (
        r"(?:pleural|biapical|apical|fissural)(?:[- ]based)?(?: and \w+)?(?: \w+)? thickening",
        r"thickening of (?:the )?(?:\w+ )?pleura",
    ),
    "Pneumonia": (r"(?:broncho)?pneumonias?",),
    "Pneumothorax": (r"(?:hydro)?pneumothora\w*",),
}
NAMED = {label: re.compile(rf"\b(?:{'|'.join(names)})\b") for label, names in NAMES.items()}
# The same words for something else.
OTHER_THINGS = re.compile(
    r"pericardial effusions?|(?:subcutaneous|soft tissue|mediastinal) emphysema|mass effect|mass[- ]like"
    r"|(?:breast|soft tissue|thyroid|neck|chest wall|adrenal|renal) (?:mass(?:es)?|nodules?)"
    r"|(?:mass|nodule) in (?:the )?(?:\w+ )?(?:breast|thyroid|neck)|cystic fibrosis"
    r"|(?:inguinal|dis[ck]|umbilical|ventral|incisional) herni\w+"
    r"|(?:soft tissue|ankle|leg|peripheral|marrow|mucosal) o?edema|nipple nodules?"
)
# What is denied is a change or a cure, and not the finding, which is there (pseudo-negations: NegEx, Chapman et al.
# 2001; ConText, Harkema et al. 2009). Of the heart "no enlargement" is a denial.
DEGREE = (
    r"(?:(?:significant(?:ly)?|interval|definite(?:ly)?|appreciable|appreciably|substantial(?:ly)?|further|much|yet|any"
    r"|obvious|convincing|complete(?:ly)?|full?y?|entirely|evidence of|signs? of) )*"
)
NO_CHANGE = re.compile(
    rf"\b(?:no|without) {DEGREE}(?:chang(?:e|ed)|increase|difference|worsening|decrease|reduction|progression|growth"
    rf"|improvement|regression|deterioration|(?:resolution|clearing) of|enlargement of(?! (?:the )?{HEART}))\b"
    rf"|\bnot {DEGREE}(?:changed|(?:increas|decreas|improv|worsen|progress)(?:ed|ing)"
    r"|grown|growing|resolv(?:ed|ing)|cleared|gone|regressed)\b"
    r"|\b(?:has|have|had) not enlarged\b|\bnot (?:only|merely|just|simply)\b|\bno (?:doubt|question)\b"
    r"|\b(?:incompletely|partially|partly|nearly|almost|not(?: yet)?(?: completely| fully| entirely)?)"
    r" (?:resolved|cleared|absent)\b"
    r"|\b(?:incomplete|partial|(?:lack|absence) of) (?:resolution|clearing|improvement)(?: of)?\b"
    r"|\b(?:fail(?:ed|s|ure)?|yet) to (?:resolve|clear|improve)\b"
)
# "No calcification within the nodule": what the denied thing would lie in is there.
PRESUPPOSED = re.compile(
    r"\bno (?:[\w-]+ ){1,4}(?:within|inside|in|around|surrounding|adjacent to|near|associated with|accompanying)"
    r" (?:the|this|these|that|those|known|his|her|its) (?:(?!and\b|or\b|nor\b)[\w-]+ ){0,3}$"
)
# The heart's size by other words than cardiomegaly's; "upper limits of normal" says nothing.
NORMAL_HEART = re.compile(
    rf"\b{HEART}{SHAPE}{UP_TO_FIVE_WORDS} (?<!not )(?<!top )(?<!high )(?:normal|unremarkable)\b"
    rf"|(?<!not )(?<!of )(?<!top )(?<!high )\bnormal(?: size[d]?)?(?: (?:of )?the)? {HEART}"
)
AFTER_HEART = re.compile(rf"({HEART}(?: size)?) ?: ?")
# As templates deny: "Pneumothorax: none.", "Effusion - none seen", "pneumothorax (absent)".
NONE_AFTER = re.compile(
    r" ?[,:(=-]{1,3} ?(?:none|no|nil|not|absent|neg(?:ative)?|unlikely|excluded|ruled out|no evidence)"
    r"(?: (?:seen|identified|noted|evident|present|visuali[sz]ed|detected|likely))?(?:\)|(?= ?(?:[.,;)]|$)))"
    r"| ?[:=]? ?(?:[(\[](?:-|\u2212|\u2013|0)[)\]])| ?[:=] ?[-\u2212\u20130](?= ?(?:[.,;]|$))"
)
LONGEST_ITEM = 4  # words
IN_BRACKETS = re.compile(r" ?\(([^()]*)\)")
DENIED_SO = re.compile(r"([\w /-]*?) _none_")
# A section, an item of a list or a line with a capital begins a sentence, full stop or not; a wrapped line does not.
BEGINS = re.compile(r"[-\u2022*]|\d{1,3}[.)]|[A-Z][a-z]")
REACH = 400  # characters to either side of a mention in which cues count: what is longer is no sentence
MOST_ITEMS = 20  # of a list that one cue denies
# Where the reach of a cue ends.
CLAUSE_ENDS = re.compile(
    r"\b(?:but|however|although|though|except(?: for)?|with the exception of|aside from|apart from|other than|yet"
    r"|despite|besides|save for|following|after|since|in the setting of)\b"
    r"|[;:()]|,? (?:and )?(?:there (?:is|are|has|have)|which)\b"
    r"|, (?=(?:the |stable |mild |moderate )?(?:heart|cardiac|cardiomegaly|lungs? (?:is|are)|mediastin\w+ ))"
    r"|, (?=(?:and |with )?(?:possibl[ey]|probabl[ey]|likely|questionable|suspected) )"
    r"|(?:, (?:and )?| and )(?=(?:stable|unchanged|persist(?:ent|ing)|residual|known|worsening|improv(?:ed|ing)"
    r"|resolving|redemonstrated|again) \w)"
    r"|, (?=(?:(?!or\b|and\b|nor\b)\w+ ){1,4}(?:is|are|remains?|has|have) (?:been )?(?:again|still|stable|unchanged"
    r"|persistent|enlarged|increased|worse(?:ned)?|improved|larger|smaller)\b)"
    r"|,? (?<!ible )(?<!ent )(?<!ted )with (?=(?:a )?(?:small|trace|tiny|minimal|mild|moderate|large|new|stable"
    r"|unchanged|persistent|increas\w+|worsening) )"
)
DENIED = re.compile(
    r"\b(?:no|not|non|nor|without|w/o|negative for|free of|absen(?:ce|t)|clear of|den(?:y|ies)|resol(?:ved|ution of)"
    r"|lack of|exclud(?:es|ed|ing)|rules out|ruled out|never|neither|unlikely)\b"
)
DENIED_AFTER = re.compile(
    r"[\w ,/-]*?\b(?:(?:not|no longer|never) (?:\w+ )?(?:seen|identified|visuali[sz]ed|demonstrated|present|appreciated"
    r"|evident|noted|detected|apparent|suspected|visible)"
    r"|(?:is|are|has|have) (?:absent|cleared|(?:been )?(?:ruled out|excluded))"
    r"|unlikely|resolved)\b|(?: is| are)? (?:absent|negative|ruled out|excluded)\b"
)
NOT_EXCLUDED = r"\b(?:can ?not|can't|not|difficult to|hard to)(?: \w+){0,3} (?:excluded?|ruled? out)\b"
CANNOT_EXCLUDE, NOT_EXCLUDED_AFTER = re.compile(NOT_EXCLUDED), re.compile(rf"[\w ,/-]*?{NOT_EXCLUDED}")
# Of what is still to come: "follow-up to document resolution of pneumonia".
HOPED = re.compile(
    r"\b(?:document|ensure|confirm|verify|demonstrate|assess|until|evaluate)\w*(?: for)?(?: \w+)?"
    r" (?:resolution|clearing) of\b"
)
NOTHING_NEW = re.compile(r"\bno (?:further|additional|new|other)\b")  # of those that are there it says nothing
PAST = re.compile(r"\b(?:history of|hx of|prior|previous(?:ly)?|status post|s/p|old)\b[\w ]*$")
DOUBTED = re.compile(
    r"\b(?:possib(?:le|ly|ility)|may(?:be)?|might|could|can ?not|can't|question(?:able|ed)?|suspect(?:ed)?"
    r"|suspicio(?:us|n)|concern\w*|suggest\w*|differential|r/o|exclude|evaluat\w+ (?:for|of)|correlat\w+"
    r"|clinical setting|recommend\w*|sensitive|equivocal|would|if|perhaps|potential(?:ly)?"
    r"|rule out|doubtful|less likely|rather than)\b|\?"
)
DOUBTED_AFTER = re.compile(
    r"[\w ,/-]*?\b(?:(?:may|might|could|would|is|are) (?:be )?(?:possible|considered|questioned|suspected)|possible"
    r"|suspected|in question|possibility)\b| ?\?"
)
# Three findings that are denied together in most reports. Joined by `or` and without a cue, de-identification has cut
# out the denial in front ("XXXX pneumothorax or pleural effusion").
DENIED_TOGETHER = ("Consolidation", "Effusion", "Pneumothorax")


def label_report(text: str) -> dict[str, int | None]:
    """The 14 pathologies -> 1 (stated), 0 (denied) or None (left open, or not mentioned).

    Give it findings and impression, never the indication: that tells what was asked, and the patient's history.
    """
    return {label: state if state >= 0 else None for label, state in report_states(text).items()}


def report_states(text: str) -> dict[str, int]:
    """The same with the reason for a None: labels.UNCERTAIN or labels.UNMENTIONED.

    Of several mentions a statement counts before a doubt, and a doubt before a denial. Of alternatives ("atelectasis or
    infiltrate", "effusion versus thickening") each is taken as stated, as readers who index reports do.
    """
    found: dict[str, set[int]] = defaultdict(set)
    for label, state in mentions(text):
        found[label].add(state)
    order = (PRESENT, UNCERTAIN, ABSENT)
    return {label: next((state for state in order if state in found[label]), UNMENTIONED) for label in PATHOLOGIES}


def mentions(text: str) -> Iterator[tuple[str, int]]:
    """Each mention of a pathology and its state, in the order of the text."""
    for sentence in _sentences(text):
        for clause in _clauses(sentence):
            named = [(label, match) for label in PATHOLOGIES for match in NAMED[label].finditer(clause)]
            lost = " or " in clause and len({label for label, _ in named} & set(DENIED_TOGETHER)) > 1
            for label, match in sorted(named, key=lambda each: each[1].start()):
                before, after = max(0, match.start() - REACH), match.end() + REACH
                state = _state(clause[before : match.start()], match[0], clause[match.end() : after])
                open_ = lost or (label == "Pneumothorax" and match[0].startswith("hydro"))
                yield label, UNCERTAIN if state == PRESENT and open_ else state
            if NORMAL_HEART.search(clause):
                yield "Cardiomegaly", ABSENT


def _sentences(text: str) -> list[str]:
    plain = re.sub(r"\b\d+\.(?=\s|$)", ". ", _with_line_ends(text).lower())  # 1. 2. of a list
    return re.split(r"(?<=[.!?])\s+|\.(?=[a-z])", " ".join(plain.split()))


def _with_line_ends(text: str) -> str:
    """The text in one line, with a full stop where an empty line stood, or where a line begins a sentence."""
    parts: list[str] = []
    empty = False
    for line in (" ".join(line.split()) for line in text.split("\n")):
        if not line:
            empty = True
            continue
        if parts:
            ends = empty or (parts[-1][-1] not in ":,;" and BEGINS.match(line))
            parts.append(". " if ends else " ")
        parts.append(line)
        empty = False
    return "".join(parts)


def _clauses(sentence: str) -> Iterator[str]:
    for pattern in (OTHER_THINGS, NO_CHANGE):
        sentence = pattern.sub(lambda match: "_" * len(match[0]), sentence)
    sentence = _with_lists_joined(NONE_AFTER.sub(" _none_", AFTER_HEART.sub(r"\1 ", sentence)))
    for inside in IN_BRACKETS.findall(sentence):
        if not _goes_on(inside):
            yield inside
    sentence = IN_BRACKETS.sub(lambda match: f", {match[1]}," if _goes_on(match[1]) else "", sentence)
    start = 0
    for end in CLAUSE_ENDS.finditer(sentence):
        yield sentence[start : end.start()]
        start = end.end()
    yield sentence[start:]


def _with_lists_joined(sentence: str) -> str:
    """`No mass; nodule; or effusion` with commas: what denies the first item denies all of them up to the `or`."""
    items = [item.strip() for item in sentence.split(";")]
    for last in [i for i, item in enumerate(items) if i and item.startswith(("or ", "nor "))]:
        first = last - 1
        while first > max(0, last - MOST_ITEMS) and _is_item(items[first]):
            first -= 1
        if DENIED.search(items[first]):
            items[first : last + 1] = [", ".join(items[first : last + 1]), *[""] * (last - first)]
    return "; ".join(items)


def _is_item(words: str) -> bool:
    """Whether words are an item of a list, and not where it begins."""
    return len(words[:REACH].split()) <= LONGEST_ITEM and not DENIED.search(words[:REACH])


def _goes_on(inside: str) -> bool:
    """Whether words in brackets are further items of what stands before them, or another name for it."""
    return inside.startswith(("or ", "nor ", "e.g", "i.e", "such as ", "including ")) or any(
        named.fullmatch(inside) for named in NAMED.values()
    )


def _none_follows(after: str) -> bool:
    """Whether `none` stands directly behind a mention, or behind the alternatives to it."""
    found = DENIED_SO.match(after)
    return found is not None and (not found[1] or " or " in f"{found[1]} " or "/" in found[1])


def _state(before: str, words: str, after: str) -> int:
    """What the words around a mention make of it."""
    if (
        HOPED.search(before)
        or NOTHING_NEW.search(before)
        or CANNOT_EXCLUDE.search(before)
        or NOT_EXCLUDED_AFTER.match(after)
    ):
        return UNCERTAIN
    denied = DENIED.search(before) and not PRESUPPOSED.search(before)
    if denied or DENIED.search(words) or DENIED_AFTER.match(after) or _none_follows(after):
        return ABSENT
    if PAST.search(before) or DOUBTED.search(before) or DOUBTED_AFTER.match(after):
        return UNCERTAIN
    return PRESENT
