"""Convert a robot's MJCF to USD beside it: ``python assets/robots/build.py [robot [out_dir]]`` (or ``make robot``).

``assets/robots/<robot>/<robot>.xml`` becomes ``usd/<robot>.usda``; without a name every robot's does. The conversion is
deterministic: the same MJCF and converter version give the same bytes, which a test asserts.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import mujoco_usd_converter
from pxr import Sdf

HERE = Path(__file__).resolve().parent
ROOT_SCHEMAS = ("PhysicsArticulationRootAPI", "NewtonArticulationRootAPI")


def build(robot: str, out_dir: Path | None = None) -> Path:
    """Write the USD of a robot's MJCF into ``out_dir``, replacing what is there, and return its top file."""
    out_dir = out_dir or HERE / robot / "usd"
    with tempfile.TemporaryDirectory() as scratch:
        top = str(mujoco_usd_converter.Converter().convert(str(HERE / robot / f"{robot}.xml"), scratch).path)
        fix_base(Path(scratch) / "Payload" / "Physics.usda")
        shutil.rmtree(out_dir, ignore_errors=True)
        shutil.copytree(scratch, out_dir)
    return out_dir / Path(top).name


def fix_base(physics: Path) -> None:
    """Move the articulation root from the base link to the asset's top prim, in place.

    The converter marks the base link and welds it to the world. PhysX reads a marked link as a floating base that
    a joint happens to hold; marked above, the same weld makes a fixed base on every engine.
    """
    layer: Any = Sdf.Layer.FindOrOpen(str(physics))
    top = layer.GetPrimAtPath(f"/{layer.defaultPrim}")
    base = top.nameChildren["Geometry"].nameChildren["base"]
    schemas = base.GetInfo("apiSchemas").prependedItems
    base.SetInfo("apiSchemas", Sdf.TokenListOp.Create(prependedItems=[s for s in schemas if s not in ROOT_SCHEMAS]))
    top.SetInfo("apiSchemas", Sdf.TokenListOp.Create(prependedItems=[s for s in schemas if s in ROOT_SCHEMAS]))
    mobility = base.properties["newton:jointsAddMobility"]
    moved: Any = Sdf.AttributeSpec(top, mobility.name, mobility.typeName, mobility.variability)
    moved.default = mobility.default
    base.RemoveProperty(mobility)
    layer.Save()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(build(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None))
    else:
        for mjcf in sorted(HERE.glob("*/*.xml")):
            print(build(mjcf.stem))
