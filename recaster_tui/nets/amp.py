"""AMP: one encoder and decoder, two inters whose outputs are mixed by channel (dfl-models.md 4)."""

from torch import Tensor, nn

from recaster_tui.nets.ops import pixel_norm
from recaster_tui.nets.saehd import Archi, Decoder
from recaster_tui.nets.saehd import Encoder as SaehdEncoder

_ARCHI = Archi(liae=False, u=True, d=True, t=True)


class Encoder(SaehdEncoder):
    """(B, 3, R, R) -> (B, ae) vector: SAEHD's "ut" encoder and a dense layer."""

    def __init__(self, e_dims: int, ae_dims: int, resolution: int) -> None:
        super().__init__(e_dims, _ARCHI)
        self.dense1 = nn.Linear(self.length(e_dims, resolution, _ARCHI), ae_dims)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        code: Tensor = self.dense1(pixel_norm(self.features(x).flatten(1).float()))
        return code


class Inter(nn.Module):
    """(B, ae) -> (B, inter_dims, R/32, R/32)."""

    def __init__(self, ae_dims: int, inter_dims: int, resolution: int) -> None:
        super().__init__()
        self.channels, self.side = inter_dims, resolution // 32
        self.dense2 = nn.Linear(ae_dims, inter_dims * self.side**2)

    def forward(self, vector: Tensor) -> Tensor:  # noqa: D102
        x: Tensor = self.dense2(vector)
        return x.view(-1, self.channels, self.side, self.side)


def autoencoder(
    resolution: int, ae_dims: int, inter_dims: int, e_dims: int, d_dims: int, mask_dims: int
) -> dict[str, nn.Module]:
    """encoder, inter_src, inter_dst, decoder (SAEHD's "dt" decoder with AMP's key order)."""
    return {
        "encoder": Encoder(e_dims, ae_dims, resolution),
        "inter_src": Inter(ae_dims, inter_dims, resolution),
        "inter_dst": Inter(ae_dims, inter_dims, resolution),
        "decoder": Decoder(inter_dims, d_dims, mask_dims, _ARCHI, mask_first=True),
    }
