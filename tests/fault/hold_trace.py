"""Trace a process with ptrace, as a debugger does, until this process is ended: hold_trace.py PID

The traced process keeps running. No other process can trace it at the same time, so the agent
cannot inject its tracker.
"""
import ctypes
import os
import signal
import sys

PTRACE_SEIZE = 0x4206

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
if libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None) != 0:
    sys.exit("PTRACE_SEIZE: " + os.strerror(ctypes.get_errno()))
print("held", flush=True)
signal.pause()
