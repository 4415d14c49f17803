"""Segment files: whole frames in, whole frames out, whatever was torn, damaged or killed in between."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference import segments

ROOT = Path(__file__).resolve().parents[2]

FULL = """
import resource, signal, sys
from pathlib import Path
from inference import segments

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer, refused, written = segments.Writer(Path(sys.argv[1])), 0, 0

def append(count):
    global refused, written
    for number in range(count):
        try:
            writer.append(b"x" * (900 + 7 * number))
            written += 1
        except OSError:
            refused += 1

append(5)
_soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
append(20)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
append(5)
print(refused, written)
"""


def only(folder: Path) -> Path:
    [path] = segments.segments(folder)
    return path


def test_it_reads_what_was_written(tmp_path: Path) -> None:
    writer = segments.Writer(tmp_path)
    payloads = [b"", b"one", b"x" * 100_000, "नमस्ते".encode()]
    for payload in payloads:
        writer.append(payload)

    frames = segments.read(only(tmp_path), 0)

    assert frames.payloads == payloads
    assert (frames.lost, frames.end) == (0, only(tmp_path).stat().st_size)


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    writer = segments.Writer(tmp_path)
    writer.append(b"one")
    end = segments.read(only(tmp_path), 0).end
    writer.append(b"two")

    assert segments.read(only(tmp_path), end).payloads == [b"two"]


def test_it_reads_a_frame_that_is_longer_than_a_block(tmp_path: Path) -> None:
    writer = segments.Writer(tmp_path)
    writer.append(b"y" * 5000)
    writer.append(b"z")

    frames = segments.read(only(tmp_path), 0, limit=100)

    assert frames.payloads == [b"y" * 5000]
    assert segments.read(only(tmp_path), frames.end, limit=100).payloads == [b"z"]


@pytest.mark.parametrize("cut", range(1, 16))
def test_it_leaves_a_torn_tail_for_later(tmp_path: Path, cut: int) -> None:
    whole, torn = segments.frame(b"whole"), segments.frame(b"torn")
    path = tmp_path / "a-1-1-1-1.seg"
    path.write_bytes(whole + torn[:-cut])

    frames = segments.read(path, 0)

    assert (frames.payloads, frames.end, frames.lost) == ([b"whole"], len(whole), 0)


@pytest.mark.parametrize("position", [0, 4, 8, 12, 16])
def test_it_skips_what_is_damaged_and_says_how_much(tmp_path: Path, position: int) -> None:
    first, second = bytearray(segments.frame(b"damaged")), segments.frame(b"sound")
    first[position] ^= 0xFF
    path = tmp_path / "a-1-1-1-1.seg"
    path.write_bytes(bytes(first) + second)

    frames = segments.read(path, 0)

    assert (frames.payloads, frames.lost) == ([b"sound"], len(first))


def test_it_begins_a_new_file_when_one_is_full(tmp_path: Path) -> None:
    writer = segments.Writer(tmp_path, rotate_bytes=50)
    for number in range(6):
        writer.append(b"%d" % number * 20)

    found = [payload for path in segments.segments(tmp_path) for payload in segments.read(path, 0).payloads]

    assert len(segments.segments(tmp_path)) == 3
    assert found == [b"%d" % number * 20 for number in range(6)]


def test_a_living_writers_segment_is_no_orphan(tmp_path: Path) -> None:
    writer = segments.Writer(tmp_path)
    writer.append(b"one")
    with segments.owned_if_orphan(only(tmp_path)) as is_orphan:
        assert not is_orphan

    writer.close()

    with segments.owned_if_orphan(only(tmp_path)) as is_orphan:
        assert is_orphan


def test_a_segment_is_an_orphan_as_soon_as_its_writer_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from inference.segments import Writer\n"
        "writer = Writer(pathlib.Path(sys.argv[1]))\n"
        "writer.append(b'kept')\n"
        "print('written', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout and child.stdin
    with child.stdout, child.stdin:
        assert child.stdout.readline() == b"written\n"
        with segments.owned_if_orphan(only(tmp_path)) as is_orphan:
            assert not is_orphan
        child.kill()
        child.wait()

    with segments.owned_if_orphan(only(tmp_path)) as is_orphan:
        assert is_orphan
    assert segments.read(only(tmp_path), 0).payloads == [b"kept"]


def test_a_forked_child_writes_to_a_file_of_its_own(tmp_path: Path) -> None:
    writer = segments.Writer(tmp_path)
    writer.append(b"parent")
    code = (
        "import os, sys, pathlib\n"
        "from inference.segments import Writer\n"
        "writer = Writer(pathlib.Path(sys.argv[1]))\n"
        "writer.append(b'before the fork')\n"
        "if (pid := os.fork()) == 0:\n"
        "    writer.append(b'child')\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)

    found = [segments.read(path, 0).payloads for path in segments.segments(tmp_path)]

    assert sorted(found) == [[b"before the fork"], [b"child"], [b"parent"]]


def test_one_reader_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "ingest.lock"

    with segments.turn(lock, wait=False) as first, segments.turn(lock, wait=False) as second:
        assert (first, second) == (True, False)
    with segments.turn(lock, wait=False) as again:
        assert again


def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    """A limit on the size of files does to a write what a full disk does: some bytes go in, the rest does not."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    refused, written = map(int, done.stdout.split())
    assert refused > 3
    frames = segments.read(only(tmp_path), 0, limit=1 << 20)
    assert (len(frames.payloads), frames.lost) == (written, 0)
    assert only(tmp_path).stat().st_size == frames.end


def test_what_could_not_be_synced_is_not_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = segments.Writer(tmp_path, fsync=True)
    writer.append(b"one")

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "no")

    with monkeypatch.context() as context, pytest.raises(OSError, match="no"):
        context.setattr(os, "fdatasync", fail)
        writer.append(b"two")
    writer.append(b"three")

    assert segments.read(only(tmp_path), 0).payloads == [b"one", b"three"]


def test_a_segment_is_not_written_to_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "ROTATE_SECONDS", -1.0)
    writer = segments.Writer(tmp_path)
    writer.append(b"one")
    writer.append(b"two")

    assert [segments.read(path, 0).payloads for path in segments.segments(tmp_path)] == [[b"one"], [b"two"]]


def test_frames_are_overwritten_where_they_are(tmp_path: Path) -> None:
    writer = segments.Writer(tmp_path)
    for payload in (b"one", b"two", b"six"):
        writer.append(payload)

    assert segments.overwrite(only(tmp_path), lambda payload: b"___" if payload == b"two" else None) == 1
    writer.append(b"ten")

    assert segments.read(only(tmp_path), 0).payloads == [b"one", b"___", b"six", b"ten"]
    with pytest.raises(ValueError, match="length"):
        segments.overwrite(only(tmp_path), lambda _payload: b"longer")


def test_a_frame_that_could_be_written_only_in_part_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = segments.Writer(tmp_path)
    writer.append(b"one")
    real = os.write
    with monkeypatch.context() as context, pytest.raises(OSError, match="only in part"):
        context.setattr(os, "write", lambda fd, data: real(fd, data[:5]))
        writer.append(b"two")
    writer.append(b"three")

    assert segments.read(only(tmp_path), 0).payloads == [b"one", b"three"]
