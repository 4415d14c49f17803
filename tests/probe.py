"""Everything that a model might try on us. Runs inside a runner, and says which acts succeeded.

Self-contained: its text travels inside a model file. No act does harm where it succeeds; the acts on other processes
use signal 0, or read a byte.
"""

import ctypes
import mmap  # noqa: F401 (used in the text of acts)
import os
import resource
import socket
import struct
import sys  # noqa: F401
from collections.abc import Callable
from functools import partial
from types import CodeType, SimpleNamespace
from typing import Any

ACTS: dict[str, Callable[[Any], Any]] = {}
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
PAGE = 4096

Act = Callable[[Any], Any]


def act(function: Act) -> Act:
    ACTS[function.__name__] = function
    return function


def acts(text: str) -> None:
    """`name: expression` a line."""
    for line in text.strip().splitlines():
        name, _colon, code = line.strip().partition(": ")
        ACTS[name] = partial(_evaluate, compile(code, name, "eval"))


def _evaluate(code: CodeType, at: Any) -> Any:
    return eval(code, {**globals(), "at": at})


def report(**places: Any) -> str:
    """The acts that succeeded, by name."""
    at = SimpleNamespace(parent=os.getppid(), **places)
    return " ".join(sorted(name for name, attempt in ACTS.items() if succeeds(attempt, at)))


def succeeds(attempt: Act, at: Any) -> bool:
    try:
        return attempt(at) is not False
    except (OSError, ValueError, MemoryError, RuntimeError):
        return False


def call(number: int, *arguments: Any) -> int:
    """A system call by its number; OSError when it fails."""
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return check(LIBC.syscall(ctypes.c_long(number), *given))


def check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def number(x86_64: int, aarch64: int) -> int:
    return x86_64 if os.uname().machine == "x86_64" else aarch64


def read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 1)
    finally:
        os.close(fd)


def write(path: str, flags: int = os.O_CREAT) -> None:
    """Opens the file for writing, and leaves it as it is."""
    os.close(os.open(path, os.O_WRONLY | flags, 0o600))


def connect(family: int, kind: int, address: Any) -> None:
    with socket.socket(family, kind) as sock:
        sock.settimeout(5)
        sock.connect(address)
        sock.send(b"x")


def in_a_child(action: Callable[[], Any]) -> bool:
    """Whether `action` succeeds in a child; in ourselves, where there is no child to be had."""
    try:
        pid = os.fork()
    except OSError:
        action()
        return True
    if pid == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# --- reading ---
acts(
    """
    read_passwd: read("/etc/passwd")
    read_other_models: read(at.other_model)
    read_own_model_by_path: read(at.own_model)
    read_data_folder: read(at.secret_key)
    read_our_code: read(at.our_code)
    read_parent_environment: read(f"/proc/{at.parent}/environ")
    read_parent_memory: read(f"/proc/{at.parent}/mem")
    read_parent_command_line: read(f"/proc/{at.parent}/cmdline")
    read_own_environment: read("/proc/self/environ")
    read_kernel_settings: read("/proc/sys/kernel/hostname")
    read_device: read("/dev/zero")
    read_kernel_log: read("/dev/kmsg")
    list_root: os.listdir("/")
    list_data_folder: os.listdir(at.data)
    list_processes: os.listdir("/proc")
    list_temporary_files: os.listdir("/tmp")
    list_system_settings: os.listdir("/sys")
    watch_a_folder: call(number(254, 27), call(number(294, 26), 0), at.data.encode(), 0x2)
    """
)

# --- writing ---
acts(
    """
    write_new_file: write(f"{at.data}/new")
    write_temporary_file: write(f"/tmp/{at.name}")
    write_shared_memory: write(f"/dev/shm/{at.name}")
    write_other_models: write(at.other_model, 0)
    write_installed_package: write(sys.modules["sklearn"].__file__, 0)
    write_device: write("/dev/null", 0)
    truncate_file: os.truncate(at.other_model, os.stat(at.other_model).st_size)
    make_folder: os.mkdir(f"{at.data}/folder")
    make_link: os.symlink("/etc/passwd", f"{at.data}/symlink")
    make_hard_link: os.link(at.other_model, f"{at.data}/hardlink")
    make_pipe: os.mkfifo(f"{at.data}/pipe")
    make_device: os.mknod(f"{at.data}/device", 0o20600, os.makedev(1, 3))
    rename_file: os.rename(f"{at.data}/victim", f"{at.data}/victim2")
    delete_file: os.unlink(f"{at.data}/deleted")
    delete_folder: os.rmdir(f"{at.data}/empty")
    change_mode: os.chmod(at.other_model, 0o600)
    change_owner: os.chown(at.other_model, os.getuid(), -1)
    change_times: os.utime(at.other_model)
    change_attributes: os.setxattr(at.other_model, "user.probe", b"x")
    """
)

# --- the network ---
acts(
    """
    connect_tcp: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", at.port))
    send_udp: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", at.udp_port))
    connect_unix: connect(socket.AF_UNIX, socket.SOCK_STREAM, at.unix)
    connect_abstract_unix: connect(socket.AF_UNIX, socket.SOCK_STREAM, at.abstract)
    listen_tcp: socket.create_server(("127.0.0.1", 0)).close()
    raw_socket: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()
    netlink_socket: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
    socket_pair: socket.socketpair()
    """
)


@act
def hand_over_descriptors(at: Any) -> None:
    """Any of the open sockets would do; no byte is sent."""
    for fd in range(3, 512):
        try:
            os.fstat(fd)
            with socket.socket(fileno=os.dup(fd)) as sock:
                sock.sendmsg([b""])
                return
        except OSError:
            continue
    raise OSError("none")


# --- other processes ---
acts(
    """
    signal_parent: os.kill(at.parent, 0)
    signal_everybody: os.kill(-1, 0)
    signal_supervisor: os.kill(at.supervisor, 0)
    handle_on_parent: os.pidfd_open(at.parent)
    trace_parent: call(number(101, 117), 0x4206, at.parent, 0, 0)
    leave_the_group: os.setpgid(0, os.getpgid(at.parent))
    """
)


@act
def fork(at: Any) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


@act
def execute(at: Any) -> bool:
    return in_a_child(lambda: os.execv("/bin/true", ["true"]))


@act
def execute_from_memory(at: Any) -> bool:
    with open("/bin/true", "rb") as file:
        program = file.read()
    fd = os.memfd_create("probe", 0)
    os.write(fd, program)
    return in_a_child(lambda: os.execve(fd, ["probe"], {}))


@act
def read_memory_of_parent(at: Any) -> None:
    target = ctypes.create_string_buffer(8)
    ours = struct.pack("QQ", ctypes.addressof(target), 8)
    theirs = struct.pack("QQ", id(None), 8)  # the zygote's memory is laid out like ours
    check(LIBC.process_vm_readv(at.parent, ours, 1, theirs, 1, 0))


@act
def outlive_the_parent(at: Any) -> None:
    check(LIBC.prctl(1, 0, 0, 0, 0))


@act
def let_others_look_in(at: Any) -> None:
    check(LIBC.prctl(4, 1, 0, 0, 0))


# --- the kernel ---
acts(
    """
    mount: check(LIBC.mount(b"none", b"/mnt", b"tmpfs", 0, None))
    new_user_namespace: in_a_child(lambda: check(LIBC.unshare(0x10000000)))
    new_network_namespace: in_a_child(lambda: check(LIBC.unshare(0x40000000)))
    change_root: in_a_child(lambda: os.chroot("/usr"))
    io_uring: call(425, 1, ctypes.create_string_buffer(120))
    user_faults: call(number(323, 282), 1)
    keys_of_the_kernel: call(number(250, 219), 0, -3, 1)
    memory_file: os.memfd_create("probe", 0)
    kernel_messages: call(number(103, 116), 3, ctypes.create_string_buffer(64), 64)
    other_personality: call(number(135, 92), 0xFFFFFFFF)
    shared_memory: call(number(29, 194), 0, PAGE, 0o1600)
    """
)


@act
def bpf(at: Any) -> None:
    array = struct.pack("IIII", 2, 4, 4, 1)
    call(number(321, 280), 0, ctypes.create_string_buffer(array, 128), 128)


@act
def performance_counters(at: Any) -> None:
    clock = struct.pack("IIQ", 1, 128, 0)
    call(number(298, 241), ctypes.create_string_buffer(clock, 128), 0, -1, -1, 0)


@act
def change_user(at: Any) -> None:
    os.setresuid(0, 0, 0)


@act
def have_capabilities(at: Any) -> bool:
    data = ctypes.create_string_buffer(24)
    check(LIBC.capget(struct.pack("Ii", 0x20080522, 0), data))
    return any(data.raw)


@act
def raise_limits(at: Any) -> bool:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard + 1))
    return True


# --- resources ---
acts(
    """
    take_memory: mmap.mmap(-1, 3 << 30).close()
    lock_memory: check(LIBC.mlock(ctypes.create_string_buffer(PAGE), PAGE))
    dump_core: resource.getrlimit(resource.RLIMIT_CORE)[1] != 0
    """
)


@act
def open_many_files(at: Any) -> None:
    opened: list[int] = []
    try:
        while len(opened) < 700:
            opened.append(os.dup(0))
    finally:
        for fd in opened:
            os.close(fd)
