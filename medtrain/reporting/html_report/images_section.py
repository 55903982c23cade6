"""Images on the page, where they are wanted: the surest mistakes, the hardest samples, and where the network looks."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from medtrain.reporting.html_report.markup import Html, joined, note, paragraph, tag
from medtrain.reporting.html_report.page_frame import Section, section

WARNING = "This page holds images of patients. Keep it private: do not send or publish it."


@dataclass(frozen=True)
class Picture:
    """A sample and the same under its heat map, as JPEG; `words` say what is true and predicted, and no name."""

    words: str
    image: bytes
    heated: bytes


@dataclass(frozen=True)
class Gallery:
    """Pictures by what they are examples of; `method` says how the maps were made, `left_out` how many did not fit or
    could not be read."""

    groups: dict[str, list[Picture]]
    method: str
    left_out: int = 0


def images(gallery: Gallery | None) -> Section:
    """The section; without images it says how to get them."""
    if gallery is None:
        how = tag("code", "medtrain report RUN --with_images")
        why = "There are no images on this page, so that it can be sent to others. "
        return section("images", "Images", paragraph(why, how, " adds mistakes, hard samples and heat maps."))
    parts: list[object] = [tag("p", tag("strong", WARNING), class_="warn")]
    for title, pictures in gallery.groups.items():
        shown = [_figure(title, place, picture) for place, picture in enumerate(pictures, 1)]
        parts.append(tag("h3", title))
        parts.append(tag("div", *shown, class_="figures small") if shown else paragraph("None."))
    left = gallery.left_out
    rest = f" Left out, for the size of the page or because they cannot be read: {left}." if left else ""
    about = "Left: as the network sees it. Right: what speaks for the answer, from clear (nothing) to yellow (most)."
    parts.append(note(f"{about} {gallery.method}.{rest}"))
    return section("images", "Images", *parts)


def _figure(title: str, place: int, picture: Picture) -> Html:
    alt = f"{title}, {place}: {picture.words}"
    pair = joined(
        tag("img", src=_uri(picture.image), alt=alt), tag("img", src=_uri(picture.heated), alt=f"{alt}, heat map")
    )
    return tag("figure", tag("div", pair, class_="pair"), tag("figcaption", picture.words))


def _uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
