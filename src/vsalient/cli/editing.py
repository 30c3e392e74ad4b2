"""The options of editors, the same in predict and segment: the matte, what stands behind, codecs."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsalient.cli.shared.options import Command, option, options
from vsalient.errors import OptionError
from vsalient.outputs.kinds import KINDS

if TYPE_CHECKING:
    from vsalient.cli.shared.naming import Job
    from vsalient.outputs.looks import Choice
    from vsalient.segment.wanted import Wanted

_NAMES = (
    "matte", "levels", "holes", "specks", "choke", "feather", "steady", "keep_spill", "invert", "behind",
    "codec", "quality", "preset", "bits", "stills", "keep", "ignore",
)  # fmt: skip
_MATTED = ("alpha", "foreground", "cutout", "matte", "fill")


@dataclass(frozen=True, slots=True)
class Editing:
    """What was given of `editing_options`, unchecked."""

    given: Mapping[str, Any]

    def looks(self, kinds: tuple[str, ...], endings: dict[str, str]) -> dict[str, Any]:
        """The checked fields of `vsalient.outputs.Looks`.

        Args:
            kinds: what is to be written.
            endings: kind -> file ending, where it is not the usual one; is filled in where a codec needs another.

        Raises:
            OptionError: a value makes no sense, or there is nothing it is for.
        """
        from vsalient.matte.options import DEFAULT_STYLE, MatteOptions, parse_levels
        from vsalient.outputs.encodings import ending_for, role_of
        from vsalient.outputs.looks import Choice

        given = self.given
        matted = [kind for kind in kinds if kind in _MATTED]
        shaping = [name for name in _NAMES[:9] if given[name] not in (None, False)]
        if shaping and not matted:
            flag = shaping[0].replace("_", "-")
            raise OptionError(f"--{flag} is for -w {', '.join(_MATTED)}: write one of them, or leave it out")
        if given["behind"] is not None and "foreground" not in kinds:
            raise OptionError("--background is for -w foreground: write that, or leave it out")
        fields: dict[str, Any] = {"style": given["matte"] or DEFAULT_STYLE, "invert": given["invert"]}
        fields["decontaminate"] = not given["keep_spill"]
        if given["levels"] is not None:
            fields["levels"] = parse_levels(given["levels"])
        fields |= {name: given[name] for name in ("choke", "feather", "steady") if given[name] is not None}
        fields |= {name: parse_percentage(name, given[name]) for name in ("holes", "specks") if given[name] is not None}
        matte = MatteOptions(**fields)
        if given["behind"] is not None:
            from vsalient.outputs.backgrounds import parse_background

            parse_background(given["behind"])
        choice = self._choice()
        videos = [kind for kind in kinds if role_of(KINDS[kind]) is not None]
        if choice != Choice() and not videos:
            raise OptionError("--codec, --quality, --preset and --bits are for videos: write one, or leave them out")
        if choice.bits == 10 and not any(KINDS[kind].deep for kind in kinds):
            able = ", ".join(kind.name for kind in KINDS.values() if kind.deep)
            raise OptionError(f"--bits 10 is for -w {able}: write one of them, or leave it out")
        for kind in videos:
            endings[kind] = ending_for(KINDS[kind], choice, endings.get(kind))
        return {"matte": matte, "behind": given["behind"], "encoding": None if choice == Choice() else choice}

    def wanted(self) -> "Wanted | None":
        """Which of the objects that are found are kept; None for all.

        Raises:
            OptionError: a point or box makes no sense.
        """
        from vsalient.segment.wanted import Wanted

        return Wanted.parse(self.given["keep"], self.given["ignore"])

    def sources(self, found: "Sequence[Path]") -> "list[Path]":
        """The inputs; with --stills every picture of a folder is one."""
        if not self.given["stills"]:
            return list(found)
        from vsalient.media.find import photos_of

        return photos_of(found)

    def checked(self, plan: "Callable[[Sequence[Path]], list[Job]]") -> "Callable[[Sequence[Path]], list[Job]]":
        """The plan of outputs, which then refuses a codec that one of the files cannot hold (OptionError)."""
        from vsalient.outputs.encodings import check_place

        def planned(sources: "Sequence[Path]") -> "list[Job]":
            jobs = plan(sources)
            for job in jobs:
                for target in job.targets:
                    check_place(KINDS[target.kind], self._choice(), target.path.suffix.lower())
            return jobs

        return planned

    def _choice(self) -> "Choice":
        from vsalient.outputs.looks import Choice

        return Choice(self.given["codec"], self.given["quality"], self.given["preset"], int(self.given["bits"]))


def parse_percentage(name: str, text: str) -> float:
    """Read "0.1%" or "0" as a share of the frame.

    Raises:
        OptionError: it is none.
    """
    number, percent, rest = text.strip().partition("%")
    try:
        share = float(number) / 100
    except ValueError:
        share = -1.0
    if rest or not (percent or share == 0) or not 0 <= share < 1:
        raise OptionError(f"--{name} '{text}' is no share of the frame: give a percentage such as 0.1%, or 0")
    return share


def editing_options(command: Command) -> Command:
    """Add the options; the command gets them together as `editing`."""

    @functools.wraps(command)
    def collected(*args: Any, **values: Any) -> Any:
        return command(*args, editing=Editing({name: values.pop(name) for name in _NAMES}), **values)

    return options(
        option("Objects", "--keep", multiple=True, metavar="X,Y[@TIME]",
               help="Keep only the object at this pixel of the first frame, or at this time, through the whole film; "
                    "may be given several times."),
        option("Objects", "--ignore", multiple=True, metavar="LEFT,TOP,RIGHT,BOTTOM",
               help="Leave out objects that come up in this box of pixels, wherever they go; may be given several "
                    "times."),
        option("Matte", "--matte", type=click.Choice(["soft", "sharp", "raw"]),
               help="How edges of alpha, foreground, cutout, matte and fill are made: sharp finds them by colour and "
                    "makes them two pixels wide where colours do not tell, soft keeps fine hair and blur, raw is the "
                    "probability as it is.  [default: sharp]"),
        option("Matte", "--levels", metavar="LOW,HIGH",
               help="Probabilities that become transparent and solid.  [default: 0.3,0.7; soft 0.2,0.8; raw 0,1]"),
        option("Matte", "--holes", metavar="P%", help="Fill smaller holes, in percent of the frame.  [default: 0.05%]"),
        option("Matte", "--specks", metavar="P%", help="Remove smaller specks.  [default: 0.05%]"),
        option("Matte", "--choke", type=float, metavar="PIXELS", help="Move the edge inwards; negative: outwards."),
        option("Matte", "--feather", type=float, metavar="PIXELS", help="Fade the edge over so many pixels."),
        option("Matte", "--steady", type=float, metavar="SHARE",
               help="How much of the frame before is mixed in along the motion, against flicker; 0 for none.  "
                    "[default: 0.5]"),
        option("Matte", "--keep-spill", is_flag=True,
               help="Leave the old ground's colour in the object's edge instead of taking it out."),
        option("Matte", "--invert", is_flag=True, help="Cut the object away and keep what is around it."),
        option("Matte", "--background", "behind", metavar="COLOUR|FILE|blur:PIXELS",
               help="Behind the foreground: a colour, a picture, a film (looped or cut, fitted), or the film's own "
                    "ground out of focus.  [default: --background-color]"),
        option("Input", "--stills", is_flag=True,
               help="The pictures of a folder have nothing to do with each other: a picture for each of them."),
        option("Encoding", "--codec", type=click.Choice(["h264", "h265", "av1", "vp9", "prores", "ffv1"]),
               help="Video codec, where the file can hold it.  [default: h264; alpha: vp9 or prores]"),
        option("Encoding", "--quality", type=float, metavar="NUMBER",
               help="The codec's constant quality (known as CRF): 0 is best, 18 to 28 usual."),
        option("Encoding", "--preset", metavar="NAME", help="The encoder's own name of how hard it works."),
        option("Encoding", "--bits", type=click.Choice(["8", "10"]), default="8", show_default=True,
               help="10 keeps a film's own colours (HDR stays HDR) in overlay, contours, alpha and fill: H.265, AV1, "
                    "H.264, ProRes or FFV1."),
    )(collected)  # type: ignore[return-value]  # fmt: skip
