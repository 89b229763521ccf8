"""Well-known robot data sets on the hub, and what of them a planner of another robot can use.

A planner's joints and actions are its own robot's. Of another robot's recordings it learns from what was seen and what
was asked; joints and actions are absent, which the world model knows as a condition that was never there. Recordings
made by ARGOS itself (``scripts/collect_demos.py``) are read with everything, by ``episodes.py``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RobotDataset:
    """Where a data set is and which of its pictures are taken.

    Attributes:
        hub_id: on the hub; "" for one that must be converted by its user first.
        camera: name after ``observation.images.``; the view of the whole scene where there are several.
        robot: what it was recorded with.
        fps: its rate [Hz], for the table; the one in its ``info.json`` is used.
        cameras: other names that are there.
        note: what to know before using it.
    """

    hub_id: str
    camera: str
    robot: str
    fps: float
    cameras: tuple[str, ...] = ()
    note: str = ""


ROBOT_DATASETS: dict[str, RobotDataset] = {
    "droid": RobotDataset(
        "lerobot/droid_1.0.1",
        "exterior_1_left",
        "Franka Panda, 7 joints and gripper",
        15,
        ("exterior_2_left", "wrist_left"),
        "very large; fetched file by file",
    ),
    "droid-100": RobotDataset(
        "lerobot/droid_100",
        "exterior_image_1_left",
        "Franka Panda, 7 joints and gripper",
        15,
        ("exterior_image_2_left", "wrist_image_left"),
        "100 episodes of DROID, to try things out",
    ),
    "bridge": RobotDataset(
        "IPEC-COMMUNITY/bridge_orig_lerobot",
        "image_0",
        "WidowX 250, end-effector pose and gripper",
        5,
        ("image_1", "image_2", "image_3"),
        "BridgeData V2; of the Open X-Embodiment collection, whose other sets IPEC-COMMUNITY has likewise",
    ),
    "so100": RobotDataset(
        "HuggingFaceVLA/community_dataset_v1",
        "image",
        "SO-100, 6 joints in degrees or per cent of their range, positions as actions",
        30,
        ("image2", "image3"),
        "many recordings in one repository, one a folder (owner/name): name it as folder",
    ),
    "agibot": RobotDataset(
        "",
        "head",
        "AgiBot A2D, two arms of 7 joints, head, waist",
        30,
        ("hand_left", "hand_right"),
        "published as HDF5 and mp4; convert it to LeRobot (any4lerobot does) and give the folder",
    ),
    "robomind": RobotDataset(
        "",
        "camera_top",
        "Franka, UR5e, AgileX, Tien Kung",
        30,
        ("camera_left", "camera_right"),
        "published as HDF5; convert it to LeRobot (any4lerobot does) and give the folder",
    ),
}
