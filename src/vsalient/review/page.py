"""The review page: film and maps in one video within one HTML file, drawn by a short script."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import IO, Any

from vsalient.review.look import REVIEW_CSS, REVIEW_SCRIPT

_CHUNK = 3 << 18  # bytes; a multiple of three, so that pieces of base64 join


def write_page(file: IO[str], video: Path, facts: Mapping[str, Any]) -> None:
    """Write the page.

    Args:
        file: opened for text.
        video: MP4 (H.264) whose picture is the film with the maps below it, all of one height.
        facts: what the script shows: `title`, `width` and `height` of one part, `maps` (names), and for each frame
            `times`, `area`, `doubt` (one list a map), `milliseconds`; `stages` (name ->
            milliseconds a frame); `review` (frames and their doubt).
    """
    for part in _parts(video, facts):
        file.write(part)


def _parts(video: Path, facts: Mapping[str, Any]) -> Iterator[str]:
    names: Sequence[str] = facts["maps"]
    title = escape(str(facts["title"]))
    yield (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{REVIEW_CSS}</style></head><body><header><h1>{title}</h1><p>{escape(str(facts['subtitle']))}</p></header>"
        f"<main>{_controls(names)}</main>"
        f"<script>const FACTS = {_script_json(facts)};</script>"
        '<video id="film" muted playsinline preload="auto" src="data:video/mp4;base64,'
    )
    with video.open("rb") as source:
        while piece := source.read(_CHUNK):
            yield base64.b64encode(piece).decode("ascii")
    yield f'"></video><script>{REVIEW_SCRIPT}</script></body></html>\n'


def _controls(names: Sequence[str]) -> str:
    views = [("overlay", "Overlay"), ("side", "Side by side"), ("wipe", "Wipe"), ("map", "Map"), ("film", "Film")]
    if len(names) > 1:
        views += [("difference", "Difference")]
    choices = "".join(f'<option value="{value}">{label}</option>' for value, label in views)
    which = ""
    if len(names) > 1:
        maps = "".join(f'<option value="{number}">{escape(name)}</option>' for number, name in enumerate(names))
        which = f'<label>Map <select id="which">{maps}</select></label>'
    return (
        '<div id="stage"><canvas id="screen"></canvas></div>'
        '<div class="bar"><button id="play" aria-label="play or pause">▶</button>'
        '<input id="seek" type="range" min="0" max="1000" value="0" step="1" aria-label="position">'
        '<output id="clock">0.00 s</output></div>'
        f'<div class="bar"><label>View <select id="view">{choices}</select></label>{which}'
        '<label>Strength <input id="strength" type="range" min="0" max="100" value="55"></label>'
        '<label>Threshold <input id="threshold" type="range" min="0" max="100" value="0">'
        '<output id="level">soft</output></label></div>'
        '<div class="columns"><section><h2>Over time</h2><div id="curves"></div></section>'
        '<section><h2>Frames to review</h2><p class="note">The most doubtful first: where the map is undecided, and '
        'differs from its neighbours along the motion.</p><ol id="review"></ol></section></div>'
    )


def _script_json(facts: Mapping[str, Any]) -> str:
    # Within a script element only "</" could end it.
    return json.dumps(facts, separators=(",", ":")).replace("</", "<\\/")
