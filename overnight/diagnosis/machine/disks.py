"""The disks of the experiments and of the cache: room, and whether locks hold there."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import psutil

from overnight.diagnosis.machine.check import Check, Surroundings, note, ok, problem
from overnight.diagnosis.rules.common import GIB, amount

FULL_BYTES = GIB  # ours: a night of one small model's answers and reports
LITTLE_BYTES = 10 * GIB  # ours: weights of one 8B model at 8 bits
# Locks and SQLite's shared memory do not hold over these, or not everywhere.
NETWORK_SYSTEMS = (
    "nfs", "cifs", "smb", "afs", "lustre", "gpfs", "beegfs", "ceph", "gluster", "9p", "fuse.sshfs", "fuse.rclone",
    "fuse.s3fs", "fuse.gcsfuse", "drvfs",
)  # fmt: skip


class Disk(NamedTuple):
    """A file system, as a folder on it sees it."""

    folder: Path  # the nearest one that is there
    total: int
    free: int
    system: str | None  # kind of file system
    is_writable: bool


def check_disks(around: Surroundings) -> list[Check]:
    """Say how much room experiments and the cache have."""
    return [
        judge_disk(
            "disk of experiments", around.experiments, read_disk(around.experiments), "--experiments-dir"
        ),
        judge_disk("disk of the cache", around.cache, read_disk(around.cache), "OVERNIGHT_CACHE_DIR"),
    ]


def read_disk(path: Path) -> Disk:
    """Return the file system that a folder is on, or would be on when it is made."""
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return Disk(folder, usage.total, usage.free, _system(folder.resolve()), os.access(folder, os.W_OK))


def _system(folder: Path) -> str | None:
    mounts = {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
    return next((mounts[parent] for parent in (folder, *folder.parents) if parent in mounts), None)


def judge_disk(name: str, path: Path, disk: Disk, setting: str) -> Check:
    """Judge the room of a folder, and the kind of its file system.

    Args:
        name: of the check.
        path: the folder that was meant.
        disk: what it is on.
        setting: what names another folder.
    """
    text = f"{path}: {amount(disk.free, 'bytes')} of {amount(disk.total, 'bytes')} free, {disk.system or 'unknown'}"
    values = {**disk._asdict(), "folder": str(disk.folder)}
    if not disk.is_writable:
        return problem(
            name, f"{text}; {disk.folder} cannot be written to", f"name another in {setting}", **values
        )
    if disk.free < FULL_BYTES:
        return problem(name, text, f"free some room, or name another folder in {setting}", **values)
    if disk.system is not None and disk.system.startswith(NETWORK_SYSTEMS):
        return note(
            name,
            f"{text}: a network file system; locks, and the database of the embedded Prefect, may fail there",
            f"name a folder on a local disk in {setting}; PREFECT_HOME on a local disk",
            **values,
        )
    if disk.free < LITTLE_BYTES:
        return note(
            name, text, "little room for weights and runs; `overnight cache ls` shows what is kept", **values
        )
    return ok(name, text, **values)
