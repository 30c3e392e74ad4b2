"""Many videos on a Ray cluster: a row is a path, an actor loads the model once, Ray schedules, restarts and reports.

    import ray
    from vsalient.ray import predict_dataset

    films = ray.data.from_items([{"path": path} for path in paths])
    results = predict_dataset(films, output="/shared/maps", write=["video", "masks"], concurrency=8, num_gpus=0.5)
    failed = [row for row in results.iter_rows() if row["state"] == "failed"]

Ray repeats a task whose worker died; outputs have atomic names, so a repeated one stands whole and once. Inputs and
outputs must be paths that every node sees. Needs the extra: pip install "vsalient[ray]".
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsalient.errors import MissingDependencyError, OptionError, one_line
from vsalient.scale.agenda import Outcome, Task
from vsalient.scale.worker import WorkerProcess

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Columns = "dict[str, NDArray[np.object_]]"
RAY_COLUMNS = ("state", "error", "outputs", "frames", "seconds", "result")


class Films:
    """The actor: it holds a child that holds a model, and does one video after another.

    Args:
        arguments: the verb and its options, without inputs.
        output: as `-o`; None when rows bring their outputs.
        kinds: as `--write`.
        model: what `{model}` stands for in `output`.
        timeout: seconds that one video may take.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        output: str | None = None,
        kinds: Sequence[str] = ("video",),
        model: str = "",
        timeout: float | None = None,
    ) -> None:
        self._output, self._kinds, self._model = output, tuple(kinds), model
        threads = os.environ.get("OMP_NUM_THREADS")  # Ray sets it to the actor's share of cores
        self._child = WorkerProcess(
            arguments, environment={} if threads is None else {"OMP_NUM_THREADS": threads}, timeout=timeout
        )

    def __call__(self, batch: "dict[str, NDArray[np.object_]]") -> "dict[str, NDArray[np.object_]]":
        """Do the videos of the column `path`; the other columns are handed on."""
        import numpy as np

        results = [self._one(batch, row) for row in range(len(batch["path"]))]
        added = {name: np.array([result[name] for result in results], object) for name in RAY_COLUMNS}
        return {**{name: column for name, column in batch.items() if name != "outputs"}, **added}

    def _one(self, batch: Mapping[str, Any], row: int) -> dict[str, Any]:
        from vsalient.errors import VsalientError

        path = str(batch["path"][row])
        outputs: dict[str, Path] = {}
        try:
            if "outputs" in batch:
                outputs = {kind: Path(place) for kind, place in json.loads(str(batch["outputs"][row])).items()}
            else:
                outputs = self._planned(Path(path))
            # A try before this one may have got as far as the outputs: they are replaced.
            result = self._child(Task(path, outputs, redo=True))
        except VsalientError as error:
            result = Outcome(path, "failed", str(error))
        written = {kind: str(place) for kind, place in outputs.items()} if result.state != "failed" else {}
        return {
            "state": result.state,
            "error": result.error or "",
            "outputs": json.dumps(written),
            "frames": int(result.summary.get("frames", 0)),
            "seconds": float(result.summary.get("seconds", 0.0)),
            "result": json.dumps({"summary": result.summary, "warnings": result.warnings, "engine": result.engine}),
        }

    def _planned(self, path: Path) -> dict[str, Path]:
        from vsalient.cli.shared.naming import plan_targets

        (job,) = plan_targets([path], self._kinds, self._output, model=self._model)
        return {target.kind: target.path for target in job.targets}


def predict_dataset(
    films: Any,
    *,
    output: str | Path,
    write: Sequence[str] = ("video",),
    model: str = "3dc-lite",
    options: Sequence[str] = (),
    verb: str = "predict",
    concurrency: int | tuple[int, int] = 1,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    timeout: float | None = None,
) -> Any:
    """Add to a Ray data set of paths what `vsalient predict` makes of them.

    Args:
        films: a `ray.data.Dataset` with a column `path`; other columns are kept.
        output: a folder or template as for `-o`, seen by every node.
        write: kinds of output.
        model: a model's name, or a weights file that every node sees.
        options: further options of the command, such as ["--threshold", "otsu"].
        verb: "predict" or "segment".
        concurrency: actors, or the fewest and the most.
        num_cpus: cores of an actor.
        num_gpus: share of a GPU of an actor.
        timeout: seconds that one video may take.

    Returns:
        The lazy data set with the columns state (done, partial, failed), error, outputs (JSON: kind -> path), frames,
        seconds and result (JSON) added. Back-pressure and progress are Ray's.

    Raises:
        OptionError: the verb or a kind is unknown.
        MissingDependencyError: Ray is not installed.
    """
    _ray()
    from vsalient.checkpoints import find_entry
    from vsalient.cli.shared.naming import parse_kinds

    if verb not in ("predict", "segment"):
        raise OptionError(f"verb '{verb}' is unknown: choose predict or segment")
    kinds = parse_kinds(list(write))
    arguments = [verb, "--quiet", "--model", model, "--write", ",".join(kinds), *options]
    made = {"arguments": [*arguments, "."], "output": str(output), "kinds": kinds, "model": find_entry(model).name}
    return _mapped(films, {**made, "timeout": timeout}, concurrency, num_cpus, num_gpus)


def run_tasks(
    tasks: Sequence[Task], arguments: Sequence[str], *, actors: int, address: str | None, timeout: float | None = None
) -> Iterator[Outcome]:
    """Do tasks on a cluster; yield results as they come, in any order.

    Args:
        tasks: inputs with their outputs.
        arguments: the command line of each actor's child.
        actors: how many.
        address: of the cluster; None for a new one on this machine, "auto" for one that runs.
        timeout: seconds that one video may take.

    Raises:
        MissingDependencyError: Ray is not installed.
        OptionError: there is no cluster at this address.
    """
    ray = _ray()
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="error")
        except ConnectionError as error:
            raise OptionError(f"no Ray cluster answers at --address {address}: {one_line(error)[:200]}") from None
    try:
        cores, gpus = (float(ray.cluster_resources().get(name, 0)) for name in ("CPU", "GPU"))
        rows = [
            {"path": task.source, "outputs": json.dumps({k: str(p) for k, p in task.outputs.items()})} for task in tasks
        ]
        # A block is what Ray hands to an actor and repeats when that dies.
        films = ray.data.from_items(rows, override_num_blocks=len(rows))
        # Ray's readers need a little of a core too, or nothing would ever be read.
        share = max(0.5, (cores - 0.5) / actors)
        made = {"arguments": list(arguments), "timeout": timeout}
        for row in _mapped(films, made, actors, share, gpus / actors or None).iter_rows():
            more = json.loads(row["result"])
            yield Outcome(str(row["path"]), str(row["state"]), str(row["error"]) or None, **more)
    finally:
        if started:
            ray.shutdown()


def _mapped(
    films: Any,
    constructor: Mapping[str, Any],
    concurrency: int | tuple[int, int],
    num_cpus: float | None,
    num_gpus: float | None,
) -> Any:
    return films.map_batches(
        Films,
        fn_constructor_kwargs=dict(constructor),
        batch_size=1,
        batch_format="numpy",
        concurrency=concurrency,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        max_restarts=-1,
        max_task_retries=-1,
    )


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingDependencyError('Ray and its data library are needed: pip install "vsalient[ray]"') from None
    return ray
