"""High dynamic range to standard: PQ and HLG in BT.2020 to BT.709, as the inverse of how SDR is put into HDR.

ITU-R BT.2408 puts SDR into HDR with its white at the HDR reference white of 203 cd/m² (58 % PQ, 75 % HLG). The way
back: light of the display over 203 cd/m², BT.2020's primaries to BT.709's, BT.1886's curve.
What is brighter than reference white becomes white. PQ and HLG: ITU-R BT.2100, tables 4 and 5; HLG's display is one of
1000 cd/m².
"""

import os
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

PQ, HLG = 16, 18
"""FFmpeg's numbers of the two transfer functions."""
NAMES = {PQ: "PQ", HLG: "HLG"}
_WHITE = 203.0  # cd/m²
_GRID = 65
_TO_709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]]
)
"""Linear BT.2020 to linear BT.709: ITU-R BT.2407, section 2."""


def is_hdr(frame: VideoFrame) -> bool:
    """Whether a frame's transfer function is one of HDR's."""
    return frame.color_trc in NAMES


def to_sdr(values: NDArray[np.float64], transfer: int) -> NDArray[np.float64]:
    """(..., 3) coded BT.2020 RGB in [0, 1] to coded BT.709 RGB in [0, 1], for a display of BT.1886."""
    light = _pq_light(values) if transfer == PQ else _hlg_light(values)
    linear = np.clip(light / _WHITE @ _TO_709.T, 0.0, 1.0)
    return np.asarray(linear ** (1 / 2.4))


def from_sdr(values: NDArray[np.float64], transfer: int) -> NDArray[np.float64]:
    """The other way, as BT.2408 puts SDR into HDR: (..., 3) coded BT.709 RGB in [0, 1] to coded BT.2020 RGB."""
    light = np.maximum(values**2.4 @ np.linalg.inv(_TO_709).T * _WHITE, 0)
    if transfer == PQ:
        power = (light / 10_000) ** 0.1593017578125
        return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    luminance = np.maximum(light / 1000 @ np.array([0.2627, 0.6780, 0.0593]), 1e-12)[..., None]
    scene = light / 1000 * luminance ** (1 / 1.2 - 1)
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-12)) + c)


def _pq_light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    power = values ** (1 / 78.84375)
    return np.asarray(
        10_000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    )


def _hlg_light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return np.asarray(1000 * np.maximum(luminance, 1e-9)[..., None] ** 0.2 * scene)


class ToneMap:
    """The mapping as FFmpeg's 3D lookup table, for frames of one size in planar RGB of 16 bits.

    Args:
        width: of the frames.
        height: of the frames.
        transfer: `PQ` or `HLG`.
    """

    format = "gbrp16le"

    def __init__(self, width: int, height: int, transfer: int) -> None:
        self._graph = graph = av.filter.Graph()
        source = graph.add_buffer(
            width=width, height=height, format=av.VideoFormat(self.format, width, height), time_base=Fraction(1, 1000)
        )
        sink = graph.add("buffersink")
        # The table must be a file; FFmpeg has read it once the filter is set up.
        descriptor, name = tempfile.mkstemp(suffix=".cube")
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                _write_tone_table(file.write, transfer)
            table = graph.add("lut3d", file=name, interp="tetrahedral")
            source.link_to(table)
            table.link_to(sink)
            graph.configure()
        finally:
            Path(name).unlink(missing_ok=True)

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """Map one frame."""
        self._graph.push(frame)
        return cast(VideoFrame, self._graph.pull())


def _write_tone_table(write: Callable[[str], object], transfer: int) -> None:
    steps = np.linspace(0.0, 1.0, _GRID)
    write(f"LUT_3D_SIZE {_GRID}\n")
    green, red = np.meshgrid(steps, steps, indexing="ij")  # red runs fastest, then green
    for blue in steps:  # a plane at a time: the text of all of them would weigh a hundred megabytes
        mapped = to_sdr(np.stack([red, green, np.full_like(red, blue)], axis=-1).reshape(-1, 3), transfer)
        write("".join(f"{r:.6f} {g:.6f} {b:.6f}\n" for r, g, b in mapped.tolist()))
