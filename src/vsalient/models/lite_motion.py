"""What tells Lite3DC of motion: the correlation of neighbouring frames' features, and maps of residual motion."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vsalient.models.lite_blocks import Conv3dNorm, halved, silent, spacetime


def local_correlation(first: Tensor, second: Tensor, radius_y: int, radius_x: int) -> Tensor:
    """Inner products of each position of `first` with the window around it in `second`, both (N, C, H, W).

    The window reaches `radius_y` positions up and down, `radius_x` left and right.

    Returns:
        (N, H, W, (2·radius_y + 1)·(2·radius_x + 1)); outside the picture the products are 0. The last axis counts
        displacements: (dy, dx) is at (dy + radius_y)·(2·radius_x + 1) + dx + radius_x.
    """
    rows, columns = 2 * radius_y + 1, 2 * radius_x + 1
    padded = F.pad(second, (radius_x, radius_x, radius_y, radius_y))
    if torch.compiler.is_exporting() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return _row_by_row(first, padded, rows, columns)
    wide = padded.shape[3]
    # Each row of queries against the rows of keys around it, which lie one behind the other: views, nothing is copied.
    keys = padded.flatten(2).unfold(2, rows * wide, wide).transpose(1, 2)  # N H C rows·wide
    products = torch.matmul(first.permute(0, 2, 3, 1), keys)  # N H W rows·wide
    # The windows of two neighbours lie one query and one key apart.
    windows = products.flatten(2).unfold(2, (rows - 1) * wide + columns, rows * wide + 1)
    return windows.unfold(3, columns, wide).flatten(3)


def _row_by_row(first: Tensor, padded: Tensor, rows: int, columns: int) -> Tensor:
    """The same by operations that other libraries have: ONNX knows no overlapping views."""
    n, _, h, w = first.shape
    wide = padded.shape[3]
    query, key = first.permute(0, 2, 3, 1), padded.permute(0, 2, 1, 3)
    volumes = []
    for dy in range(rows):
        # A row of queries against one whole row of keys is a band matrix; padding each of its rows by one element skews
        # the band into columns, so that slicing picks the window.
        products = torch.matmul(query, key[:, dy : dy + h])  # N H W wide
        skewed = F.pad(products.reshape(n, h, w * wide), (0, w)).view(n, h, w, wide + 1)
        volumes.append(skewed[..., :columns])
    return torch.cat(volumes, dim=3)


class MotionCue(nn.Module):
    """What moved, and how, from the correlation of neighbouring frames' features at s8.

    For every position: matching scores against the next and the previous frame, the displacement they imply
    (soft arg-max), and that displacement less the frame's mean, which takes away most of a camera's pan. At a clip's
    ends the missing neighbour is replaced by the other one with the displacement reversed, as if motion went on.
    """

    radius_y = 4
    radius_x = 6

    def __init__(self, inputs: int, match: int, outputs: int, *, separable: bool = False) -> None:
        super().__init__()
        self.match = nn.Conv2d(inputs, match, 1)
        self.temperature = nn.Parameter(torch.tensor(2.0))
        window = (2 * self.radius_y + 1) * (2 * self.radius_x + 1)
        rows, columns = (range(-reach, reach + 1) for reach in (self.radius_y, self.radius_x))
        # From plain numbers: arithmetic on the meta device, where shapes are tried, makes PyTorch load its compiler.
        grid = [[dy / 4.0 for dy in rows for _ in columns], [dx / 4.0 for _ in rows for dx in columns]]
        self.register_buffer("grid", torch.tensor(grid), persistent=False)  # 2 × window
        self.score = Conv3dNorm(2 * window, outputs, (1, 1, 1))
        self.flow = Conv3dNorm(8, outputs // 2, (1, 3, 3))
        self.mix = spacetime(outputs + outputs // 2, outputs, separable=separable)
        self.outputs = outputs

    def project(self, feature: Tensor) -> Tensor:
        """Per-frame part: (N, C, H, W) → unit vectors (N, match, H, W)."""
        return F.normalize(self.match(feature).float(), dim=1).to(feature.dtype)

    def displacement(self, scores: Tensor) -> Tensor:
        """Soft arg-max of (N, H, W, window) scores: (N, H, W, 2), in quarters of a position, y first."""
        grid, sharpness = self.get_buffer("grid").float().t(), 4.0 * self.temperature.float()
        return (torch.softmax(scores.float() * sharpness, dim=3) @ grid).to(scores.dtype)

    def matched(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors (N, C, H, W) of frames and of others: scores (N, H, W, window), `displacement` (N, H, W, 2)."""
        # One picture at a time on a CPU, where what is between stays in the cache.
        one_by_one = first.device.type == "cpu" and not torch.is_grad_enabled()
        parts = [torch.split(x, 1 if one_by_one else len(x)) for x in (first, second)]
        scores, flows = [], []
        for one, other in zip(*parts, strict=True):
            scores.append(local_correlation(one, other, self.radius_y, self.radius_x))
            flows.append(self.displacement(scores[-1]))
        return torch.cat(scores), torch.cat(flows)

    def forward(self, match: Tensor) -> Tensor:
        """Unit vectors (B, T, C, H, W) → motion features (B, outputs, T, H, W); zeros for a still (T = 1)."""
        b, t, c, h, w = match.shape
        if t == 1:
            return match.new_zeros(b, self.outputs, 1, h, w)
        first = match[:, :-1].reshape(b * (t - 1), c, h, w)
        second = match[:, 1:].reshape(b * (t - 1), c, h, w)
        scores, flows = self.matched(torch.cat([first, second]), torch.cat([second, first]))
        # Channels stay the last axis, as the convolutions have them in memory: no large tensor is reordered.
        forward, backward = (x.reshape(b, t - 1, h, w, -1) for x in scores.chunk(2))
        ahead, behind = (x.reshape(b, t - 1, h, w, 2) for x in flows.chunk(2))
        # The window is symmetric, so reversing its order reverses the displacement.
        both = torch.cat(
            [
                torch.cat([forward, backward[:, -1:].flip(4)], dim=1),
                torch.cat([forward[:, :1].flip(4), backward], dim=1),
            ],
            dim=4,
        )
        ahead, behind = torch.cat([ahead, -behind[:, -1:]], dim=1), torch.cat([-ahead[:, :1], behind], dim=1)
        flow = torch.cat([ahead, behind], dim=4)  # B T H W 4
        flow = torch.cat([flow, flow - flow.mean(dim=(2, 3), keepdim=True)], dim=4)
        score = self.score(both.permute(0, 4, 1, 2, 3))
        return torch.as_tensor(self.mix(torch.cat([score, self.flow(flow.permute(0, 4, 1, 2, 3))], dim=1)))


class ResidualCue(nn.Module):
    """Features at s4, s8, s16 and s32 of the maps that say what moves against the camera (`vsalient.priors.residual`).

    They are added to the decoder's by 1×1×1 convolutions that begin at zero, so that a network trained without them
    gives at first what it gave before.

    Args:
        maps: how many there are.
        width: channels at s4; twice and three times as many at s8 and s16.
        targets: channels of the decoder at s4, s8, s16 and s32.
        separable: space and time apart in its convolutions.
    """

    def __init__(self, maps: int, width: int, targets: tuple[int, int, int, int], *, separable: bool = False) -> None:
        super().__init__()
        self.enter = Conv3dNorm(maps, width, (1, 3, 3))
        self.mix4 = Conv3dNorm(width, width, (1, 3, 3))
        self.down8 = Conv3dNorm(width, 2 * width, (1, 3, 3))
        self.mix8 = spacetime(2 * width, 2 * width, separable=separable)
        self.down16 = Conv3dNorm(2 * width, 3 * width, (1, 3, 3))
        self.mix16 = spacetime(3 * width, 3 * width, separable=separable)
        widths = (width, 2 * width, 3 * width, 3 * width)
        self.to4, self.to8, self.to16, self.to32 = (
            silent(nn.Conv3d(inputs, outputs, 1)) for inputs, outputs in zip(widths, targets, strict=True)
        )

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Maps (B, maps, T, h, w) at s4 → what to add at s4, s8, s16 and s32."""
        x4 = self.mix4(self.enter(maps))
        x8 = self.mix8(self.down8(halved(x4)))
        x16 = self.mix16(self.down16(halved(x8)))
        return self.to4(x4), self.to8(x8), self.to16(x16), self.to32(halved(x16))
