"""
Killing a process before its N-th system call, with nothing but ptrace(2).

A child is forked, does what it is told between two signals to itself, and is stopped at every system call in between.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable

_TRACEME, _CONT, _SYSCALL, _SETOPTIONS = 0, 7, 24, 0x4200
_SYSGOOD = 1  # PTRACE_O_TRACESYSGOOD: stops at system calls are told from signals by bit 7
_EXITKILL = 0x100000
_SYSCALL_STOP = signal.SIGTRAP | 0x80

SUPPORTED = sys.platform == "linux" and platform.machine() in {"x86_64", "aarch64"}


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(request, pid, None, data or None) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")


def run(prepare: Callable[[], Callable[[], object]], kill_before: int | None = None) -> int | None:
    """
    Fork, prepare, and do the prepared work in the child; kill it before one of the work's system calls (from 0).

    Returns how many there were, or None if the child was killed. Raises if the work raised.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work = prepare()
            _ptrace(_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            os.kill(os.getpid(), signal.SIGSTOP)
            code = 0
        except BaseException:  # noqa: BLE001 - this process ends here
            traceback.print_exc()
        finally:
            os._exit(code)
    return _follow(pid, kill_before)


def _follow(pid: int, kill_before: int | None) -> int | None:
    """Follow the child from its first stop to its second, or to where it is to be killed."""
    begun = False
    entering = True
    count = 0
    deliver = 0
    while True:
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
                return count
            raise RuntimeError(f"the child ended by itself: {status:#x}")
        stop = os.WSTOPSIG(status)
        if stop == signal.SIGSTOP:
            if begun:
                # the kill() that sent this signal was counted as well
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return count - 1
            begun = True
            _ptrace(_SETOPTIONS, pid, _SYSGOOD | _EXITKILL)
            deliver = 0
        elif stop == _SYSCALL_STOP:
            deliver = 0
            if entering:
                if count == kill_before:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    return None
                count += 1
            entering = not entering
        else:
            deliver = stop
        _ptrace(_SYSCALL, pid, deliver)
