"""The matte against alpha that is known, and what it costs: generated 1080p films, maps by 3dc-lite.

    python benchmarks/matte.py [--seeds 3]

For each rim: mean absolute error of alpha as a share of the map's own, the colour error in the edge before and after,
and CPU milliseconds a frame on one thread.
"""

import argparse
import time

import cv2
import numpy as np
from composites import RIMS, film

from vsalient.api import load_model
from vsalient.matte import MATTE_STYLES, MatteOptions, Matter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    model = load_model("3dc-lite")
    cv2.setNumThreads(1)
    print(f"{'rim':5} {'matte':6} {'alpha error':>12} {'of raw':>7} {'colour error':>13} {'CPU ms':>7}")
    for rim in RIMS:
        films = [list(film(rim, seed)) for seed in range(arguments.seeds)]
        maps = [[found.saliency for found in model.predict([pixels for pixels, _, _ in frames])] for frames in films]
        raw = np.mean(
            [
                np.abs(m - a).mean()
                for ms, fs in zip(maps, films, strict=True)
                for m, (_, a, _) in zip(ms, fs, strict=True)
            ]
        )
        for style in MATTE_STYLES:
            errors, colours, costs = [], [], []
            for frames, found in zip(films, maps, strict=True):
                matter = Matter(MatteOptions(style=style))
                for (pixels, alpha, own), saliency in zip(frames, found, strict=True):
                    began = time.process_time()
                    matte = matter(pixels, saliency)
                    costs.append(time.process_time() - began)
                    errors.append(np.abs(matte.alpha / 255 - alpha).mean())
                    mixed = (alpha > 0.1) & (alpha < 0.9)
                    colours.append(np.abs(matte.colors[mixed].astype(float) - own[mixed]).mean())
            print(
                f"{rim:5} {style:6} {np.mean(errors):12.5f} {np.mean(errors) / raw:7.0%} {np.mean(colours):13.1f} "
                f"{1000 * np.median(costs):7.1f}"
            )


if __name__ == "__main__":
    main()
