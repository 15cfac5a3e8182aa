"""A real SLURM on loopback: munged, slurmctld and a slurmd a node, as root, without systemd, cgroups or accounting.

As a script: ``python tests/slurm/cluster.py up /tmp/cluster`` prints what to export, ``down /tmp/cluster`` ends it.
"""

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil

from overnight.processes import free_port

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
_PACKAGES = "slurmctld slurmd slurm-client munge"
_READY_S = 30
_STOPPED_S = 20
GPUS_A_NODE = 2


def why_not() -> str | None:
    """Return why no cluster can be brought up here; None where one can."""
    if os.name == "nt" or os.geteuid() != 0:
        return "a SLURM of our own needs root"
    if missing := [name for name in _PROGRAMS if shutil.which(name, path=_path()) is None]:
        return f"no {', '.join(missing)} here; on Debian: apt-get install -y {_PACKAGES}"
    return None


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


class SlurmCluster:
    """A controller and some nodes; each node has two CPUs to give away, and two GPUs that are none."""

    def __init__(self, folder: Path, n_nodes: int = 2) -> None:
        self.folder = folder.resolve()
        self.nodes = [f"n{number}" for number in range(1, n_nodes + 1)]
        self.config = self.folder / "slurm.conf"
        self.environment = os.environ | {"SLURM_CONF": str(self.config), "PATH": _path()}
        self._pids = self.folder / "pids.json"  # for whoever ends what another process has started
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Bring everything up, and wait until the nodes are idle."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        for name in ("munge", "log", "state", *self.nodes):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        self._write_config()
        try:
            self._start_munged()
            self._start("slurmctld", "slurmctld", "-D", "-f", str(self.config))
            for node in self.nodes:
                self.start_node(node)
            self._wait_until_idle(self.nodes)
        except BaseException:
            self.stop()
            raise

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._start(node, "slurmd", "-D", "-N", node, "-f", str(self.config))

    def kill_node(self, node: str) -> None:
        """Take a node away as a power cut would: its daemon and all of its jobs, without a word."""
        pid = self._running()[node]
        for step in self._steps_of(node):
            _kill_tree(step)
        os.kill(pid, signal.SIGKILL)
        self._wait_until_gone(pid)

    def kill_job(self, job_id: str) -> None:
        """SIGKILL every process of a job and none of SLURM's; ``scancel --signal=KILL`` asks them to end first."""
        found = []
        for process in psutil.process_iter(["name"]):
            with contextlib.suppress(psutil.Error):
                if process.info["name"] != "slurmstepd" and process.environ().get("SLURM_JOB_ID") == job_id:
                    found.append(process)
        # Children first: as soon as the first of them is gone, slurmstepd asks the others to end.
        for process in sorted(found, key=lambda each: each.pid, reverse=True):
            with contextlib.suppress(psutil.Error):
                process.kill()

    def say_down(self, node: str) -> None:
        """Tell the controller that a node is down, which it would find out by itself in a few minutes."""
        self.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def revive(self, node: str) -> None:
        """Have a node that was killed or down work again."""
        pid = self._running().get(node)
        if pid is None or not _is_alive(pid):
            self.start_node(node)
        with contextlib.suppress(subprocess.CalledProcessError):  # it may have come back by itself
            self.call("scontrol", "update", f"nodename={node}", "state=resume")
        self._wait_until_idle([node])

    def call(self, *arguments: str) -> str:
        """Run one of SLURM's commands and return what it says."""
        return subprocess.run(
            arguments, env=self.environment, check=True, capture_output=True, text=True, timeout=30
        ).stdout.strip()

    def stop(self) -> None:
        """End everything that was started, jobs included."""
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            self.call("scancel", "--full", "--signal=KILL", "--user=root")
        running = self._running()
        for node in self.nodes:
            for step in self._steps_of(node):
                _kill_tree(step)
        for pid in running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid in running.values():
            self._wait_until_gone(pid)
        self._pids.unlink(missing_ok=True)

    def _start_munged(self) -> None:
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        munge = self.folder / "munge"
        self._start(
            "munged",
            *("munged", "--foreground", "--force", "--num-threads=2", f"--key-file={key}"),
            *(f"--socket={munge / 'socket'}", f"--pid-file={munge / 'pid'}", f"--seed-file={munge / 'seed'}"),
            f"--log-file={self.folder / 'log' / 'munged'}",
        )
        until = time.monotonic() + _READY_S
        while not (munge / "socket").exists():
            if time.monotonic() > until:
                raise RuntimeError(self._last_words("munged"))
            time.sleep(0.05)

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / "log" / name).open("ab") as log:
            process = subprocess.Popen(
                arguments,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        self._pids.write_text(json.dumps(self._running() | {name: process.pid}))

    def _running(self) -> dict[str, int]:
        return json.loads(self._pids.read_text()) if self._pids.is_file() else {}

    def _steps_of(self, node: str) -> list[int]:
        """Return the processes that carry out the steps of jobs on a node."""
        log = self.folder / "log" / node
        steps = [each for each in psutil.process_iter(["name"]) if each.info["name"] == "slurmstepd"]
        return [each.pid for each in steps if _has_open(each.pid, log)]

    def _wait_until_idle(self, nodes: list[str]) -> None:
        until = time.monotonic() + _READY_S
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                states = self.call("sinfo", "-h", "-N", "-n", ",".join(nodes), "-o", "%T").split()
                if states and set(states) == {"idle"}:
                    return
            if time.monotonic() > until:
                raise RuntimeError("\n".join(map(self._last_words, ("slurmctld", *nodes))))
            time.sleep(0.1)

    def _wait_until_gone(self, pid: int) -> None:
        until = time.monotonic() + _STOPPED_S
        while _is_alive(pid) and time.monotonic() < until:
            time.sleep(0.05)
        for process in self._started:
            process.poll()  # none is left behind as a zombie

    def _last_words(self, name: str) -> str:
        log = self.folder / "log" / name
        return f"{name}: " + "\n".join(log.read_text(errors="replace").splitlines()[-10:])

    def _write_config(self) -> None:
        munge = self.folder / "munge" / "socket"
        ports = {node: free_port() for node in self.nodes}
        # SLURM counts the devices that are there: these are as good as /dev/null.
        devices = [self.folder / f"gpu{number}" for number in range(GPUS_A_NODE)]
        for device in devices:
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        gpus = [f"NodeName={node} Name=gpu File={device}" for node in self.nodes for device in devices]
        (self.folder / "gres.conf").write_text("\n".join(gpus) + "\n")
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 "
            f"Gres=gpu:{GPUS_A_NODE} State=UNKNOWN"
            for node, port in ports.items()
        )
        self.config.write_text(
            f"""ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort={free_port()}
AuthType=auth/munge
AuthInfo=socket={munge},cred_expire=5
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/%n/slurmd.pid
SlurmctldLogFile={self.folder}/log/slurmctld
SlurmdLogFile={self.folder}/log/%n
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,requeue_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MinJobAge=300
KillWait=10
JobRequeue=1
SlurmctldTimeout=30
SlurmdTimeout=30
GresTypes=gpu
{nodes}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=2
"""
        )


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _has_open(pid: int, path: Path) -> bool:
    try:
        return any(link.readlink() == path for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _kill_tree(pid: int) -> None:
    """Kill a process and all below it, at once."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [*root.children(recursive=True), root]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


if __name__ == "__main__":
    cluster = SlurmCluster(Path(sys.argv[2]))
    if sys.argv[1] == "down":
        cluster.stop()
    elif reason := why_not():
        sys.exit(reason)
    else:
        cluster.start()
        sys.stdout.write(f"export SLURM_CONF={cluster.config}\n")
