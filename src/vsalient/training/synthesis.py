"""Pseudo-videos from stills, and the augmentations that stills and real clips share.

Three kinds of motion: a sliding crop (dsrfcn3d, section 3.2), a smooth path of affine and piecewise-affine warps
(3dc-seg, section 4.2), and an object cut out of one picture and moved on its own over another, which is the only one
that teaches that motion, not looks, decides. NumPy and OpenCV; every function takes the random generator to use.

Masks are probabilities × 255 and stay soft through every warp: a hard one comes out with soft edges, which `binary`
cuts; what a soft one says inside the object (0.3, say) is what comes out.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Frames (T, H, W, 3) and masks (T, H, W), probability × 255."""
STANDARD_CROP = (0.6, 1.0)


@dataclass(frozen=True)
class Path:
    """How strongly a picture moves over a pseudo-video of T frames, all as shares of its size, or degrees."""

    shift: float = 0.06
    zoom: float = 0.06
    rotation: float = 4.0
    shear: float = 0.03


def _random_walk(rng: np.random.Generator, steps: int, spread: float) -> NDArray[np.float64]:
    """A smooth path from 0: constant velocity plus a little acceleration, |end| about `spread`."""
    t = np.linspace(0.0, 1.0, steps) if steps > 1 else np.zeros(1)
    return np.asarray(rng.normal(0, spread) * t + rng.normal(0, spread / 3) * t * t)


def affine_path(rng: np.random.Generator, steps: int, size: tuple[int, int], path: Path) -> list[Matrix]:
    """T 3×3 matrices (output pixel ← source pixel moves), about the centre of a (height, width) picture."""
    height, width = size
    dx, dy = _random_walk(rng, steps, path.shift * width), _random_walk(rng, steps, path.shift * height)
    zoom = np.exp(_random_walk(rng, steps, path.zoom))
    angle = np.deg2rad(_random_walk(rng, steps, path.rotation))
    shear = _random_walk(rng, steps, path.shear)
    centre, back = np.eye(3), np.eye(3)
    centre[:2, 2], back[:2, 2] = (-width / 2, -height / 2), (width / 2, height / 2)
    matrices = []
    for i in range(steps):
        c, s = np.cos(angle[i]) * zoom[i], np.sin(angle[i]) * zoom[i]
        move = np.array([[c, -s + shear[i], dx[i]], [s, c, dy[i]], [0, 0, 1]])
        matrices.append(back @ move @ centre)
    return matrices


def crop_matrix(
    rng: np.random.Generator,
    source: tuple[int, int],
    target: tuple[int, int],
    *,
    scale: tuple[float, float] = STANDARD_CROP,
    flip: bool = True,
    focus: tuple[float, float] | None = None,
) -> Matrix:
    """A random crop of a (height, width) source, its sides `scale` of the largest that fits, to the target's size.

    `focus` (x, y) lies in it, so that a small crop is not mostly one without the object.
    """
    (sh, sw), (th, tw) = source, target
    aspect = tw / th * float(np.exp(rng.uniform(-0.15, 0.15)))
    share = rng.uniform(*scale)
    width = min(sw, sh * aspect) * share
    height = width / aspect
    left, right, top, bottom = 0.0, sw - width, 0.0, sh - height
    if focus is not None:
        left, right = max(left, focus[0] - width), max(left, min(right, focus[0]))
        top, bottom = max(top, focus[1] - height), max(top, min(bottom, focus[1]))
    x, y = rng.uniform(min(left, right), right), rng.uniform(min(top, bottom), bottom)
    matrix = np.array([[tw / width, 0, -x * tw / width], [0, th / height, -y * th / height], [0, 0, 1.0]])
    if flip and rng.random() < 0.5:
        matrix = np.array([[-1.0, 0, tw - 1], [0, 1, 0], [0, 0, 1]]) @ matrix
    return matrix


def warp(image: Image, matrix: Matrix, size: tuple[int, int], *, mask: bool = False) -> Image:
    """Warp a picture (borders reflected) or a mask (outside is 0) to (height, width)."""
    border = cv2.BORDER_CONSTANT if mask else cv2.BORDER_REFLECT_101
    return np.asarray(
        cv2.warpAffine(image, matrix[:2], (size[1], size[0]), flags=cv2.INTER_LINEAR, borderMode=border),
        np.uint8,
    )


def piecewise_field(rng: np.random.Generator, size: tuple[int, int], spread: float) -> NDArray[np.float32]:
    """A smooth random displacement field (H, W, 2) in pixels from a 4×6 lattice (3dc-seg's piecewise-affine part)."""
    lattice = rng.normal(0, spread * max(size), (4, 6, 2)).astype(np.float32)
    return np.asarray(cv2.resize(lattice, (size[1], size[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def displace(image: Image, field: NDArray[np.float32], *, mask: bool = False) -> Image:
    """Move every pixel of `image` by `field` (H, W, 2), x first."""
    height, width = field.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    border = cv2.BORDER_CONSTANT if mask else cv2.BORDER_REFLECT_101
    return np.asarray(
        cv2.remap(image, x + field[..., 0], y + field[..., 1], cv2.INTER_LINEAR, borderMode=border), np.uint8
    )


def sliding_crop(
    rng: np.random.Generator,
    image: Image,
    mask: Image,
    frames: int,
    size: tuple[int, int],
    *,
    window: float = 0.8,
    mirror: bool = True,
) -> Pair:
    """A window that slides along a diagonal of a still (dsrfcn3d, section 3.2): T crops of `window` of its sides.

    Half of them are mirrored, as the paper's clips are, unless `mirror` is off.
    """
    height, width = image.shape[:2]
    h, w = max(1, int(height * window)), max(1, int(width * window))
    x0, x1 = sorted(rng.uniform(0, width - w, 2)) if width > w else (0.0, 0.0)
    y0, y1 = sorted(rng.uniform(0, height - h, 2)) if height > h else (0.0, 0.0)
    if rng.random() < 0.5:
        x0, x1 = x1, x0
    if rng.random() < 0.5:
        x0, x1, y0, y1 = x1, x0, y1, y0
    pictures, masks = [], []
    for share in np.linspace(0, 1, frames) if frames > 1 else [0.0]:
        x, y = round(float(x0 + (x1 - x0) * share)), round(float(y0 + (y1 - y0) * share))
        crop = slice(y, y + h), slice(x, x + w)
        pictures.append(cv2.resize(image[crop], size[::-1], interpolation=cv2.INTER_AREA))
        masks.append(cv2.resize(mask[crop], size[::-1], interpolation=cv2.INTER_AREA))
    clip, truth = np.stack(pictures).astype(np.uint8), np.stack(masks).astype(np.uint8)
    if rng.random() < 0.5 and mirror:
        clip, truth = clip[:, :, ::-1], truth[:, :, ::-1]
    return np.ascontiguousarray(clip), np.ascontiguousarray(truth)


def affine_video(
    rng: np.random.Generator,
    image: Image,
    mask: Image,
    frames: int,
    size: tuple[int, int],
    path: Path = Path(),
    *,
    crop: tuple[float, float] = STANDARD_CROP,
) -> Pair:
    """A still that pans, zooms, turns and bends smoothly (3dc-seg, section 4.2), `crop` of its sides."""
    window = crop_matrix(rng, image.shape[:2], size, scale=crop, focus=None if crop == STANDARD_CROP else centre(mask))
    moves = affine_path(rng, frames, size, path)
    field = piecewise_field(rng, size, 0.012) if frames > 1 and rng.random() < 0.5 else None
    pictures, masks = [], []
    for i, move in enumerate(moves):
        picture, truth = warp(image, move @ window, size), warp(mask, move @ window, size, mask=True)
        if field is not None:
            bend = field * np.float32(i / max(1, frames - 1))
            picture, truth = displace(picture, bend), displace(truth, bend, mask=True)
        pictures.append(picture)
        masks.append(truth)
    return np.stack(pictures), np.stack(masks)


def independent_video(
    rng: np.random.Generator,
    image: Image,
    mask: Image,
    background: Image,
    frames: int,
    size: tuple[int, int],
    *,
    distractor: tuple[Image, Image] | None = None,
    area: float | None = None,
    weak: Path = Path(0.03, 0.04, 2.0, 0.01),
    strong: Path = Path(0.12, 0.08, 6.0, 0.04),
) -> Pair:
    """An object cut out and moved on its own over another picture; only the object is foreground.

    Whatever stands in the background picture stays with the camera, so that looks alone cannot tell: the network
    must see what moves differently. Half of the time the camera moves more than the object in the picture, as when
    it follows somebody.

    `distractor`, a still and its object, stands nearer to the moving camera than the background: it slides the same
    way, but faster (parallax), in front of the object or behind it, and is background all the same. Camera and object
    get one each of the two strengths of motion, `weak` and `strong`. `area` is the object's share of the frame, at
    random up to a quarter when None; above a quarter it may reach over the frame's border.
    """
    if (mask > 127).sum() < 64:
        return affine_video(rng, image, mask, frames, size)
    follows = rng.random() < 0.5
    camera_moves = affine_path(rng, frames, size, strong if follows else weak)
    own_moves = affine_path(rng, frames, size, weak if follows else strong)
    scene = crop_matrix(rng, background.shape[:2], size)
    layers = [_cut_out(rng, image, mask, own_moves, size, area)]
    order = [0]
    if distractor is not None and (distractor[1] > 127).sum() >= 64:
        layers.append(_cut_out(rng, *distractor, _parallax(camera_moves, size, rng.uniform(1.2, 2.2)), size))
        order = [0, 1] if rng.random() < 0.5 else [1, 0]
    scenery = [warp(background, move @ scene, size) for move in camera_moves]
    return _compose(scenery, layers, order)


def transplant_video(
    rng: np.random.Generator,
    frames: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    background: Image,
    *,
    distractor: tuple[Image, Image] | None = None,
    weak: Path = Path(0.03, 0.03, 2.0, 0.01),
    strong: Path = Path(0.12, 0.08, 6.0, 0.04),
) -> Pair:
    """The object of a real clip, with its own limbs and gait, before another picture that a camera pans over.

    Few sequences have masks; their objects seen before thousands of stills keep a network from learning the
    places by heart. What stands in the still, and a `distractor` as in `independent_video`, are background.

    Args:
        rng: random generator.
        frames: of a real clip, (T, H, W, 3), already at the size wanted.
        masks: its object, (T, H, W), probability × 255.
        background: a still of any size.
        distractor: a still and its object.
        weak: of the object's motion besides its own.
        strong: of the camera's, half of the time; else it is `weak` too.
    """
    count, size = len(frames), (frames.shape[1], frames.shape[2])
    if (masks > 127).sum() < 64 * count:
        return frames, masks
    camera_moves = affine_path(rng, count, size, strong if rng.random() < 0.5 else weak)
    own_moves = affine_path(rng, count, size, weak)
    scene = crop_matrix(rng, background.shape[:2], size)
    gain = np.float32(rng.uniform(0.85, 1.15))
    pixels: list[NDArray[Any]] = []
    opacity: list[NDArray[Any]] = []
    belief: list[NDArray[Any]] = []
    for picture, mask, move in zip(frames, masks, own_moves, strict=True):
        pixels.append(np.clip(warp(picture, move, size).astype(np.float32) * gain, 0, 255))
        opacity.append(_soft_edges(mask, move, size))
        belief.append(_belief(mask, move, size))
    layers, order = [(pixels, opacity, belief)], [0]
    if distractor is not None and (distractor[1] > 127).sum() >= 64:
        layers.append(_cut_out(rng, *distractor, _parallax(camera_moves, size, rng.uniform(1.2, 2.2)), size))
        order = [0, 1] if rng.random() < 0.3 else [1, 0]
    return _compose([warp(background, move @ scene, size) for move in camera_moves], layers, order)


Layer = tuple[list[NDArray[Any]], list[NDArray[Any]], list[NDArray[Any]]]
"""Per frame the pixels (H, W, 3) in 0..255, the opacity (H, W) in 0..1 and how much of an object is seen there (H, W)
in 0..1, float32: opacity is where the picture shows it, and says nothing of a teacher's doubt."""


def _compose(scenery: list[Image], layers: list[Layer], order: list[int]) -> Pair:
    """Layers over a background, in the order given; the first layer is the object, all else is background."""
    pictures, masks = [], []
    for i, behind in enumerate(scenery):
        picture = behind.astype(np.float32)
        truth = np.zeros(behind.shape[:2], np.float32)
        for layer in order:
            front, alpha, belief = (part[i] for part in layers[layer])
            picture = picture + (front - picture) * alpha[..., None]
            truth = truth + ((belief if layer == 0 else np.float32(0)) - truth) * alpha
        pictures.append(picture.astype(np.uint8))
        masks.append(np.rint(truth * 255).astype(np.uint8))
    return np.stack(pictures), np.stack(masks)


def _soft_edges(mask: Image, move: Matrix, size: tuple[int, int]) -> NDArray[np.float32]:
    """A mask, one pixel smaller (its rim shows what was behind), moved, as an opacity (H, W) in 0..1."""
    solid = np.asarray(cv2.erode(binary(mask), np.ones((3, 3), np.uint8)), np.uint8)
    return np.asarray(cv2.GaussianBlur(warp(solid, move, size, mask=True), (0, 0), 0.8), np.float32) / np.float32(255)


def _belief(mask: Image, move: Matrix, size: tuple[int, int]) -> NDArray[np.float32]:
    """A moved mask's values inside the object, in 0..1: 1 for a hard mask, whose edges are opacity's business."""
    inside = np.asarray(cv2.dilate(mask, np.ones((3, 3), np.uint8)), np.uint8) if mask.max(initial=0) == 255 else mask
    return warp(inside, move, size, mask=True).astype(np.float32) / np.float32(255)


def _cut_out(
    rng: np.random.Generator,
    image: Image,
    mask: Image,
    moves: list[Matrix],
    size: tuple[int, int],
    area: float | None = None,
) -> Layer:
    """An object at a random place and size, moving by `moves`, with soft edges and its own brightness."""
    rows, columns = np.nonzero(mask > 127)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    if area is None:
        area = rng.uniform(0.02, 0.25) if rng.random() < 0.8 else rng.uniform(0.004, 0.02)
    # What lies outside the frame does not count, so a large object has to be larger still to cover its share.
    whole, reach = (area, 1.0) if area <= 0.25 else (1.3 * area, 2.0)
    scale = np.sqrt(whole * size[0] * size[1] / len(rows))
    scale = min(scale, 1.3 * reach * size[0] / (bottom - top), 1.1 * reach * size[1] / (right - left))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    place = np.array(
        [
            [flip * scale, 0, rng.uniform(0.2, 0.8) * size[1] - flip * scale * (left + right) / 2],
            [0, scale, rng.uniform(0.25, 0.8) * size[0] - scale * (top + bottom) / 2],
            [0, 0, 1.0],
        ]
    )
    gain = rng.uniform(0.8, 1.2)
    pixels: list[NDArray[Any]] = []
    opacity: list[NDArray[Any]] = []
    belief: list[NDArray[Any]] = []
    for move in moves:
        opacity.append(_soft_edges(mask, move @ place, size))
        belief.append(_belief(mask, move @ place, size))
        pixels.append(np.clip(warp(image, move @ place, size).astype(np.float32) * np.float32(gain), 0, 255))
    return pixels, opacity, belief


def _parallax(moves: list[Matrix], size: tuple[int, int], nearness: float) -> list[Matrix]:
    """A camera's moves as something nearer sees them: the picture's centre travels `nearness` times as far."""
    centre = np.array([size[1] / 2, size[0] / 2, 1.0])
    nearer = []
    for move in moves:
        extra = np.eye(3)
        extra[:2, 2] = (nearness - 1) * (move @ centre - centre)[:2]
        nearer.append(extra @ move)
    return nearer


def binary(masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """0 or 255, whatever interpolation made of a mask."""
    return np.where(masks > 127, np.uint8(255), np.uint8(0))


def centre(mask: Image) -> tuple[float, float] | None:
    """(x, y) of the middle of an object, the mean of its pixels; None where there is none."""
    moments = cv2.moments(binary(mask), binaryImage=True)
    if moments["m00"] < 1:
        return None
    return moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
