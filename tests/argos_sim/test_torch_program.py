"""Laws of torch programs: they compute what the network does, for any batch, and no runtime reads them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from argos_sim.deploy.export import export_policy
from argos_sim.deploy.manifest import CONTROLLER, DeployError
from argos_sim.deploy.runtime import ControllerRuntime
from argos_sim.precision import ExportConfig
from argos_sim.torch_program import write_program
from argos_sim.traced import Traced, traced_controller
from tests.argos_sim.deploy.test_runtime import MANIFEST, StandIn, one_step, tensors


class Listed(nn.Module):
    """Inputs of which one is a list, as the planner's flow takes keys and values."""

    def forward(self, x: Tensor, pairs: list[Tensor]) -> tuple[Tensor, Tensor]:
        return x + pairs[0].sum(1), pairs[1] * 2


def test_it_computes_what_the_network_does_for_any_batch(tmp_path: Path) -> None:
    x, pairs = torch.randn(1000, 3), [torch.randn(1000, 5, 3), torch.randn(1000, 5, 3)]
    varying = {"pairs": {1: "context"}}
    digest = write_program(
        Traced("planner_flow", Listed(), {"x": x, "pairs": pairs}, ("a", "b"), varying), tmp_path / "p.pt2"
    )
    assert (tmp_path / "p.pt2").stat().st_size < 20_000, "no recorded data in it"
    assert digest == hashlib.sha256((tmp_path / "p.pt2").read_bytes()).hexdigest()
    program = torch.export.load(tmp_path / "p.pt2").module()
    for n, context in ((1, 1), (3, 5), (7, 2)):
        x, pairs = torch.randn(n, 3), [torch.randn(n, context, 3), torch.randn(n, context, 3)]
        for mine, theirs in zip(program(x=x, pairs=pairs), Listed()(x, pairs), strict=True):
            torch.testing.assert_close(mine, theirs)


def test_one_that_differs_is_not_kept(tmp_path: Path) -> None:
    class Other(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1e-3 if torch.compiler.is_exporting() else x

    with pytest.raises(DeployError, match=r"torch program of the joints differs from torch by up to 1\.0e-03, more"):
        write_program(Traced("joints", Other(), {"x": torch.randn(4, 3)}, ("y",)), tmp_path / "p.pt2")
    assert not list(tmp_path.iterdir())


def test_an_export_has_them_where_asked_and_the_runtime_never_reads_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    manifest = export_policy(
        [traced_controller(StandIn(), tensors(9, 1))], MANIFEST, tmp_path / "policy", ExportConfig(torch=True)
    )
    path = tmp_path / "policy" / "controller.pt2"
    assert manifest.networks[CONTROLLER].torch_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"what a stranger made of it")
    assert ControllerRuntime(tmp_path / "policy").step(**one_step()).shape == (6,)  # pyright: ignore[reportArgumentType]
