"""Close this process in, then run a program in it: a script of its own, started by `run.py`.

Its one argument is the descriptor of the job, a JSON object: `argv` and `env` of the program, `root` and
`work` (empty folders), `python` (folders that stay visible), `seconds`, `memory`, `size` (bytes),
`files` (open descriptors), `isolate`, and `report`, the descriptor for the result. That is one JSON object:
`status`, of the process as `waitstatus_to_exitcode` has it, or "timeout"; and `failed`, why the program
could not be started, or "".

With `isolate`, on Linux: no network, no other processes in sight, and a file system that
is read-only but for one folder in memory, and holds Python, the system's libraries and nothing else.
Everywhere: limits of memory, processor time, file size and open files, and no new process or thread.
"""

import ctypes
import json
import os
import platform
import resource
import signal
import sys
import time

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
MNT_DETACH, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 2, -100, 0x8000, 1
MOUNT_SETATTR = 442  # the same number on every architecture, as is all since Linux 5.0
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
NOBODY = 65534
DEVICES = ("null", "zero", "urandom")

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Confine a child, wait for it, and report."""
    with os.fdopen(int(sys.argv[1])) as file:
        job = json.load(file)
    root = os.geteuid() == 0
    status, failed = None, ""
    try:
        if job["isolate"]:
            unshare(root)
        reader, writer = os.pipe()  # closed by a program that was started
        child = os.fork()  # into the new process namespace, where there is one
        if child == 0:
            try:
                become(job, root)
            except BaseException as error:
                os.write(writer, repr(error).encode())
                os._exit(1)
        os.close(writer)
        failed = os.read(reader, 10_000).decode()
        status = wait(child, job["seconds"])
    except OSError as error:
        failed = repr(error)
    with os.fdopen(job["report"], "w") as report:
        json.dump({"status": status, "failed": failed}, report)


def unshare(root: bool) -> None:
    """Leave the namespaces of the system; OSError where that is not allowed."""
    if platform.machine() not in PIVOT_ROOT or not hasattr(libc, "unshare"):
        raise OSError("there are no namespaces here")
    user, group = os.getuid(), os.getgid()
    flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    check_result(libc.unshare(flags if root else flags | CLONE_NEWUSER))
    if not root:  # keep the numbers of user and group, or nothing could be written
        maps = {"uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
        for name, text in {"setgroups": "deny", **maps}.items():
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def become(job: dict, root: bool) -> None:
    """Close this process in and turn it into the program."""
    os.close(job["report"])
    if job["isolate"]:
        enter(job)
    else:
        os.chdir(job["work"])
        job["env"] |= {"HOME": job["work"], "TMPDIR": job["work"]}
    if root:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    limit(job)
    os.execve(job["argv"][0], job["argv"], job["env"])  # which gives up what power is left


def enter(job: dict) -> None:
    """Exchange the file system for one that holds Python and an empty folder."""
    root = job["root"]
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for path in job["python"]:
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        elif os.path.isdir(path):
            os.makedirs(root + path, mode=0o755, exist_ok=True)
            mount(path, root + path, None, MS_BIND | MS_REC)
    os.mkdir(f"{root}/dev", 0o755)
    for name in DEVICES:
        open(f"{root}/dev/{name}", "w").close()
        mount(f"/dev/{name}", f"{root}/dev/{name}", None, MS_BIND)
    os.mkdir(f"{root}/tmp", 0o777)
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
    check_result(libc.syscall(MOUNT_SETATTR, AT_FDCWD, root.encode(), AT_RECURSIVE, attributes, 32))
    mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"size={job['size']},mode=777")
    os.chdir(root)
    check_result(libc.syscall(PIVOT_ROOT[platform.machine()], b".", b"."))
    check_result(libc.umount2(b".", MNT_DETACH))  # the old one, which lies on top
    os.chdir("/tmp")


def mount(
    source: "str | None", target: str, kind: "str | None", flags: int, data: str = ""
) -> None:
    """Call mount(2); OSError where it fails."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    check_result(libc.mount(*texts, ctypes.c_ulong(flags), data.encode()))


def check_result(result: int) -> None:
    """Raise OSError where a call of the C library failed."""
    if result:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def limit(job: dict) -> None:
    """Set the limits of the process; the program cannot raise them."""
    limits = {
        "RLIMIT_AS": job["memory"],
        "RLIMIT_CPU": int(job["seconds"]) + 1,
        "RLIMIT_FSIZE": job["size"],
        "RLIMIT_NOFILE": job["files"],
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 1,  # it is there itself
    }
    for name, value in limits.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def wait(child: int, seconds: float) -> "int | str":
    """Wait for the child; kill it, and with it all that is in its namespace, when its time is over."""
    deadline, pause = time.monotonic() + seconds, 0.001
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "timeout"
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


if __name__ == "__main__":
    main()
