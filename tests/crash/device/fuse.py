"""A FUSE file system of two files that writes down what is done to them: ``python -m tests.crash.device.fuse BASE LOG POINT``.

``POINT/disk`` begins as a private copy of BASE. A loop device on it passes every write and every flush on (the loop driver turns
REQ_OP_FLUSH, and the flush of a FUA write, into FUSE_FSYNC). ``POINT/mark``: what is written here goes into the log as a mark.
One thread serves all, so the log has one order, and a flush covers what was answered before it. Ends when POINT is unmounted.
Prints "ready" when mounted. Sources: linux/fuse.h (protocol 7.31), fuse(4).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import sys

from tests.crash.device.recording import FLUSH, MARK, WRITE, head

_IN = struct.Struct("<IIQQIIII")  # len, opcode, unique, nodeid, uid, gid, pid, padding
_OUT = struct.Struct("<IiQ")  # len, error, unique
_ATTR = struct.Struct("<6Q10I")
_TRANSFER = struct.Struct("<QQI")  # of FUSE_READ and FUSE_WRITE: fh, offset, size
_WRITE_IN_BYTES = 40
_LOOKUP, _FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS = 1, 2, 3, 4, 14, 15, 16, 17
_RELEASE, _FSYNC, _FLUSH, _INIT, _INTERRUPT, _BATCH_FORGET = 18, 20, 25, 26, 36, 42
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22
_OPEN_DIRECT_IO = 1
_ROOT, _DISK, _MARKS = 1, 2, 3
_NAMES = {b"disk": _DISK, b"mark": _MARKS}
WRITE_BYTES_MAX = 1 << 20


class Device:
    """The disk's bytes, and the log."""

    def __init__(self, base: str, log: str) -> None:
        with open(base, "rb") as file:
            self.size = os.fstat(file.fileno()).st_size
            self.bytes = mmap.mmap(file.fileno(), self.size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def answer(self, opcode: int, node: int, body: memoryview) -> bytes | None:
        """The body of the reply; None where the kernel waits for none. Raises OSError for an error."""
        if opcode == _INIT:
            _, _, read_ahead, flags = struct.unpack_from("<4I", body)
            return struct.pack(
                "<4IHHIIHHII24x",
                7,
                31,
                read_ahead,
                flags & (_BIG_WRITES | _MAX_PAGES),
                12,
                9,
                WRITE_BYTES_MAX,
                1,
                WRITE_BYTES_MAX >> 12,
                0,
                0,
                0,
            )
        if opcode in (_FORGET, _BATCH_FORGET, _INTERRUPT):
            return None
        if opcode == _LOOKUP:
            found = _NAMES.get(bytes(body).rstrip(b"\0"))
            if found is None:
                raise OSError(errno.ENOENT, "no such file")
            return struct.pack("<4Q2I", found, 0, 3600, 3600, 0, 0) + self.attributes(found)
        if opcode in (_GETATTR, _SETATTR):
            return struct.pack("<Q2I", 3600, 0, 0) + self.attributes(node)
        if opcode == _OPEN:
            return struct.pack("<QII", 0, _OPEN_DIRECT_IO, 0)
        if opcode == _STATFS:
            return struct.pack("<5Q4I24x", 0, 0, 0, 2, 0, 4096, 255, 4096, 0)
        if opcode in (_RELEASE, _FLUSH):
            return b""
        return self.transfer(opcode, node, body)

    def transfer(self, opcode: int, node: int, body: memoryview) -> bytes:
        """Read, write, flush: what this is about."""
        if opcode == _FSYNC:
            os.write(self.log, head(FLUSH))
            return b""
        if opcode not in (_READ, _WRITE):
            raise OSError(errno.ENOSYS, "not served")
        _, offset, size = _TRANSFER.unpack_from(body)
        if opcode == _READ:
            return self.bytes[offset : offset + size] if node == _DISK else b""
        data = body[_WRITE_IN_BYTES : _WRITE_IN_BYTES + size]
        os.writev(self.log, [head(WRITE if node == _DISK else MARK, offset, size), data])
        if node == _DISK:
            self.bytes[offset : offset + size] = bytes(data)
        return struct.pack("<II", size, 0)

    def attributes(self, node: int) -> bytes:
        size = self.size if node == _DISK else 0
        mode = 0o40700 if node == _ROOT else 0o100600
        return _ATTR.pack(node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def serve(device: Device, fd: int) -> None:
    """Answer requests until the file system is unmounted."""
    buffer = bytearray(WRITE_BYTES_MAX + 8192)
    view = memoryview(buffer)
    while True:
        try:
            size = os.readv(fd, [buffer])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno in (errno.EINTR, errno.ENOENT):  # the request was taken back
                continue
            raise
        _, opcode, unique, node, *_ = _IN.unpack_from(buffer)
        try:
            body = device.answer(opcode, node, view[_IN.size : size])
        except OSError as error:
            os.write(fd, _OUT.pack(_OUT.size, -(error.errno or errno.EIO), unique))
            continue
        if body is not None:
            os.writev(fd, [_OUT.pack(_OUT.size + len(body), 0, unique), body])


def main(base: str, log: str, point: str) -> None:
    """Mount on *point*, then serve."""
    device = Device(base, log)
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"recorder", os.fsencode(point), b"fuse", ctypes.c_ulong(0), options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), point)
    print("ready", flush=True)
    serve(device, fd)


if __name__ == "__main__":
    main(*sys.argv[1:])
