"""Copy-on-write file systems: the person's own and each machine's lie over the real one, and keep changes in memory."""

import os
import subprocess
import sys
from pathlib import Path

from tests.pretend_aws.launch import ROOT

PRETEND = Path("/pretend")  # everything of the harness, inside
HOST = PRETEND / "host"  # the real root file system, below all layers
_BUILD = Path("/mnt")


def run(*command: str | Path) -> None:
    """Run a command that must succeed."""
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def needed() -> list[Path]:
    """Return the folders that must be there inside, too, on whichever file system they are."""
    return sorted({ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), Path.cwd()})


def overlay(lower: Path, layer: Path, at: Path) -> None:
    """Mount a writable view of `lower`; what is changed goes into the folder `layer`."""
    for folder in (layer / "upper", layer / "work", at):
        folder.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={layer}/upper,workdir={layer}/work", at)


def own_files() -> None:
    """Change to a file system whose changes are kept in memory and end with the namespace."""
    cwd = Path.cwd()
    run("mount", "--make-rprivate", "/")
    host, root = _BUILD / "host", _BUILD / "root"
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", _BUILD)
    host.mkdir()
    run("mount", "--bind", "/", host)
    overlay(host, _BUILD / "laptop", root)
    for number, folder in enumerate(needed()):
        # It is on another file system, of which the layer over the root does not know.
        if not (root / folder.relative_to("/")).exists():
            overlay(folder, _BUILD / f"more-{number}", root / folder.relative_to("/"))
    for name in ("dev", "sys"):
        run("mount", "--rbind", f"/{name}", root / name)
    run("mount", "-t", "proc", "proc", root / "proc")
    run("mount", "-t", "tmpfs", "tmpfs", root / "dev/shm")
    inside = root / PRETEND.relative_to("/")
    inside.mkdir(exist_ok=True)
    run("mount", "--bind", _BUILD, inside)
    run("mount", "--bind", host, inside / "host")
    old = root / "pretend/old"
    old.mkdir(exist_ok=True)
    os.chdir(root)
    run("pivot_root", ".", "pretend/old")
    os.chdir(cwd)
    run("umount", "--lazy", PRETEND / "old")
    for folder in ("home", "tmp", "log", "machines"):
        (PRETEND / folder).mkdir()
    Path("/etc/hosts").write_text("127.0.0.1 localhost\n")
    # A resolver that cannot be reached would cost half a minute in every `ray start`; this one refuses at once.
    Path("/etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
