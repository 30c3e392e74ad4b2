"""Training recipes: TOML files that state everything a run depends on, checked strictly, each value overridable."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from vsalient.checkpoints.limits import check_config
from vsalient.errors import DataError, OptionError
from vsalient.toml_files import parse_toml, read_toml, toml_value
from vsalient.typed_tables import read_table

_RECIPE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
Augmentation = Literal["standard", "rescale-crop", "mirror", "none"]
ClipKind = Literal["still", "stills", "slide", "affine", "independent", "video", "transplant"]
FreezeNorm = Literal["none", "encoder", "all"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class ClipRecipe:
    """What one training clip is.

    Attributes:
        frames: T.
        size: (H, W) that the network sees.
        kinds: share of each kind of clip: "still" (T copies of one still), "stills" (T different stills, each seen
            alone as a clip of one frame), "slide" (dsrfcn3d §3.2), "affine" (3dc-seg §4.2), "independent" (a cut-out
            moved over another picture), "video" (real clips), "transplant" (a real clip's object over another picture).
        max_gap: real clips take every 1..max_gap-th frame.
        span: when above 0, real clips are drawn as 3dc-seg §4.2 does: a first frame, then the rest at random, in
            order, from the next `span` frames; max_gap is then unused.
        repeat: share of real clips in which a frame is shown twice, as where a file's frame rate is above its camera's.
        reverse: share of real clips shown backwards.
        augment: what is done to looks (`vsalient.training.augment`): our "standard" set, or a paper's.
        crop: share of a picture's sides that a crop of the standard set has, at least and at most.
        rescale: (H, W) before the crop of "rescale-crop".
        large: share of cut-outs ("independent") that cover 25 to 70 % of the frame, and may be cut by its border.
        overlays: share of clips with burned-in clocks, captions, logos or black borders, all of them background.
        unreliable: share of clips whose motion priors say something wrong (`vsalient.training.unreliable`).
        flow, classifier: what motion priors are made with, a flow estimator's name and a superpixel classifier's file
            (`vsalient.priors.choose`); "" for ours.
        segmentations: how many of the motion prior's segmentations a clip gets, drawn at random; 0 for all, as at
            inference. They are most of such a clip's cost.
        target: which frames the loss sees: all of them, the middle one (conv3dnet) or the last (stan).
    """

    frames: int = 4
    size: tuple[int, int] = (224, 384)
    kinds: dict[str, float] = field(default_factory=lambda: {"video": 1.0})
    max_gap: int = 3
    span: int = 0
    repeat: float = 0.0
    reverse: float = 0.5
    augment: Augmentation = "standard"
    crop: tuple[float, float] = (0.6, 1.0)
    rescale: tuple[int, int] = (0, 0)
    large: float = 0.0
    overlays: float = 0.0
    unreliable: float = 0.0
    flow: str = ""
    classifier: str = ""
    segmentations: int = 0
    target: Literal["all", "middle", "last"] = "all"


@dataclass(frozen=True)
class LossRecipe:
    """Loss terms by name with their weights, and one weight an output, finest first.

    `soft` is what a frame counts whose mask is a teacher's opinion, against 1 for ground truth.
    """

    terms: dict[str, float] = field(default_factory=lambda: {"cross-entropy": 1.0})
    scales: tuple[float, ...] = (1.0,)
    soft: float = 0.5


@dataclass(frozen=True)
class OptimiserRecipe:
    """How weights move.

    Attributes:
        name: "adam", "adamw" or "sgd".
        rate: learning rate; `encoder_rate` that of the encoder, 0 to freeze it.
        weight_decay, momentum: of SGD the momentum, of Adam beta1.
        second: Adam's beta2.
        schedule: "cosine" to 2 % of the rate, "step" (× `gamma` every `step_size` steps), "exponential" (× `gamma`
            every `step_size` steps, smoothly) or "constant".
        schedule_steps: how long a cosine takes; 0 for the run's own steps, more for a run that stops before its end.
        warmup: steps of linear warm-up.
        clip: largest gradient norm, 0 for none.
        frozen: name prefixes of parameters that stay as they are.
    """

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    rate: float = 1e-3
    encoder_rate: float = 2e-4
    weight_decay: float = 0.01
    momentum: float = 0.9
    second: float = 0.99
    schedule: Literal["cosine", "step", "exponential", "constant"] = "cosine"
    step_size: int = 1000
    gamma: float = 0.1
    schedule_steps: int = 0
    warmup: int = 100
    clip: float = 5.0
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A training run.

    Attributes:
        name: of the run; also its folder's.
        architecture, config: the network (`vsalient.models.build`).
        init: where weights come from: "scratch", "encoder:FILE", a checkpoint file, or "mean:FILE,FILE,..." for the
            average of several.
        init_copy: prefixes filled from others' weights where the file lacks them: SCNN's second network starts from its
            first. A weight of another shape keeps its random start; so does all that begins with a prefix given "".
        init_widen: names of convolutions that may see more channels than the file's do; the new ones, the last, count
            nothing at first.
        stages: names of recipes to run in turn, each beginning with the one before; a recipe with stages is only that.
        follows: among stages, the earlier ones to begin with instead; the weights of several are averaged (Wortsman et
            al.: Model soups, ICML 2022). A name that stands twice counts twice.
        steps, batch, accumulate: optimiser steps, clips a step and process, micro-batches a step. No steps at all leave
            the weights that a run begins with, such as a mean of others.
        seed: of clips and initial weights.
        precision: autocast dtype; "auto" is bfloat16 where the device is fast in it, else float32.
        ema: decay of the averaged weights, which are what is validated and shipped; 0 for none.
        keep: share of the weights the run began with in those that are validated and shipped, so that a run on little
            data moves them less (WiSE-FT: Wortsman et al., CVPR 2022).
        freeze_norm: whose batch norm keeps its running statistics and uses them in training too: "none", the
            "encoder"'s, or "all", which trains exactly what runs at inference. Where all of them are as they were
            built, as with init = "scratch", none does, and the run says so.
        validate_every, save_every: in steps.
        held_out: sequences never trained on, used to validate; empty trains on all.
    """

    name: str
    architecture: str = "lite3dc"
    config: dict[str, Any] = field(default_factory=dict)
    init: str = "scratch"
    init_copy: dict[str, str] = field(default_factory=dict)
    init_widen: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    steps: int = 1000
    batch: int = 4
    accumulate: int = 1
    seed: int = 0
    precision: Precision = "auto"
    ema: float = 0.998
    keep: float = 0.0
    freeze_norm: FreezeNorm = "encoder"
    validate_every: int = 500
    save_every: int = 100
    held_out: tuple[str, ...] = ()
    clips: ClipRecipe = field(default_factory=ClipRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    optimiser: OptimiserRecipe = field(default_factory=OptimiserRecipe)


def built_in() -> list[str]:
    """Names of the recipes that come with the package."""
    home = resources.files("vsalient.training") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in home.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by built-in name or TOML path, then apply `key=value` overrides ("optimiser.rate=1e-4").

    Raises:
        DataError: no such recipe, or a key or value that does not fit.
        OptionError: an override that does not fit.
    """
    path = Path(name_or_path)
    if name_or_path in built_in():
        text = (resources.files("vsalient.training") / "recipes" / f"{name_or_path}.toml").read_text("utf-8")
        table = parse_toml(text, name_or_path, DataError)
    elif path.suffix == ".toml" and path.is_file():
        table = read_toml(path, DataError)
    else:
        raise DataError(f"no recipe {name_or_path!r}; give a TOML file or one of: {', '.join(built_in())}")
    table.setdefault("name", path.stem)
    for override in overrides:
        _override(table, override)
    return recipe_from_dict(table, name_or_path)


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain tables, for checkpoints and model cards."""
    return dataclasses.asdict(recipe)


def recipe_from_dict(table: Mapping[str, Any], where: str) -> Recipe:
    """The recipe that `to_dict` gave; `where` it was kept is named in errors.

    Raises:
        DataError: a key or value that does not fit, as from another version.
    """
    recipe = read_table(Recipe, table, f"{where}:", DataError)
    _check_recipe(recipe, where)
    return recipe


def load_stages(recipe: Recipe, overrides: Sequence[str] = ()) -> list[Recipe]:
    """The recipes of a recipe's stages in their order, or the recipe alone.

    Raises:
        DataError: as `load_recipe`; or a stage follows one that does not run before it.
        OptionError: an override that does not fit.
    """
    stages = [load_recipe(stage, overrides) for stage in recipe.stages]
    for number, stage in enumerate(stages):
        before = [earlier.name for earlier in stages[:number]]
        late = [name for name in stage.follows if name not in before]
        if late:
            raise DataError(f"{recipe.name}: stage {stage.name} follows {late[0]}, which does not run before it")
    return stages or [recipe]


def _override(table: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise OptionError(f"--set {override!r}: write key=value, such as optimiser.rate=1e-4")
    value = toml_value(text)
    *parents, leaf = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise OptionError(f"--set {override!r}: {parent} is not a table")
    table[leaf] = value


def _check_recipe(recipe: Recipe, where: str) -> None:
    from vsalient.training.losses import LOSSES

    if not _RECIPE_NAME.fullmatch(recipe.name):
        raise DataError(
            f"{where}: name {recipe.name!r:.80}: letters, digits, '.', '-' and '_', it becomes a folder's name"
        )
    try:
        check_config(recipe.config)
    except ValueError as error:
        raise DataError(f"{where}: config {error}") from None
    negative = [k for k, share in {**recipe.clips.kinds, **recipe.loss.terms}.items() if share < 0]
    if negative:
        raise DataError(f"{where}: the share of {negative[0]!r} must be at least 0")
    bad_kinds = sorted(set(recipe.clips.kinds) - set(get_args(ClipKind)))
    if bad_kinds:
        raise DataError(f"{where}: clips.kinds: {bad_kinds[0]!r} is not one of {', '.join(get_args(ClipKind))}")
    if not recipe.stages and sum(recipe.clips.kinds.values()) <= 0:
        raise DataError(f"{where}: clips.kinds: at least one share must be above 0")
    bad_terms = sorted(set(recipe.loss.terms) - set(LOSSES))
    if bad_terms:
        raise DataError(f"{where}: loss.terms: {bad_terms[0]!r} is not one of {', '.join(LOSSES)}")
    if recipe.clips.kinds.get("stills", 0) > 0 and recipe.clips.target != "all":
        raise DataError(f'{where}: clips.kinds: "stills" needs clips.target = "all"; use "still" instead')
    for name, value in (("steps", recipe.steps), ("batch", recipe.batch), ("accumulate", recipe.accumulate)):
        least = 0 if name == "steps" else 1
        if value < least:
            raise DataError(f"{where}: {name} must be at least {least}, got {value}")
    if 0 < recipe.optimiser.schedule_steps < recipe.steps:
        raise DataError(f"{where}: optimiser.schedule_steps must be 0 or at least steps ({recipe.steps})")
    for name in ("repeat", "reverse", "large", "overlays", "unreliable"):
        share = getattr(recipe.clips, name)
        if not 0 <= share <= 1:
            raise DataError(f"{where}: clips.{name} is a share and must lie in [0, 1], got {share}")
    low, high = recipe.clips.crop
    if not 0 < low <= high <= 1:
        raise DataError(f"{where}: clips.crop must be two shares in (0, 1], the smaller first, got {low}, {high}")
    rescaled = recipe.clips.augment == "rescale-crop"
    if rescaled and any(r < s for r, s in zip(recipe.clips.rescale, recipe.clips.size, strict=True)):
        raise DataError(f"{where}: clips.rescale {list(recipe.clips.rescale)} is smaller than clips.size")
    if not 0 <= recipe.loss.soft <= 1:
        raise DataError(f"{where}: loss.soft must lie in [0, 1], got {recipe.loss.soft}")
    if recipe.clips.frames < 1 or min(recipe.clips.size) < 1:
        raise DataError(f"{where}: clips.frames and clips.size must be at least 1")
    if not 0 <= recipe.ema < 1:
        raise DataError(f"{where}: ema must lie in [0, 1), got {recipe.ema}")
    if not 0 <= recipe.keep < 1:
        raise DataError(f"{where}: keep must lie in [0, 1), got {recipe.keep}")
