"""Loading weights into a part of a network: nothing unknown, nothing misshapen, the rest untouched."""

from collections.abc import Mapping

from torch import Tensor, nn

from vsalient.errors import CheckpointError


def load_part(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy tensors into the parameters of the same names; all other parameters keep their values.

    Raises:
        CheckpointError: a name is not the network's, or a shape differs.
    """
    own = network.state_dict()
    kind = type(network).__name__
    for key, value in state.items():
        if key not in own:
            raise CheckpointError(f"{kind} has no '{key}' to take a weight into; build it with its default parts")
        if own[key].shape != value.shape:
            raise CheckpointError(
                f"{key} is {tuple(value.shape)} in the checkpoint and {tuple(own[key].shape)} in {kind}; "
                "published weights fit width 1 only"
            )
    network.load_state_dict(dict(state), strict=False)
