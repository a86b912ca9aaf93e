"""Constants of the Windows calls, by the call that takes them.

The names are those of the Windows API reference.
"""

from __future__ import annotations

import ctypes
from typing import Final

INVALID_HANDLE_VALUE: Final = (1 << (8 * ctypes.sizeof(ctypes.c_void_p))) - 1
INFINITE: Final = 0xFFFFFFFF

# CreateNamedPipe: open mode, pipe mode, instances
PIPE_ACCESS_INBOUND: Final = 0x1  # the server reads
PIPE_ACCESS_OUTBOUND: Final = 0x2  # the server writes
PIPE_ACCESS_DUPLEX: Final = 0x3
FILE_FLAG_FIRST_PIPE_INSTANCE: Final = 0x00080000
FILE_FLAG_OVERLAPPED: Final = 0x40000000
PIPE_TYPE_BYTE: Final = 0x0
PIPE_TYPE_MESSAGE: Final = 0x4
PIPE_READMODE_MESSAGE: Final = 0x2
PIPE_REJECT_REMOTE_CLIENTS: Final = 0x8
PIPE_UNLIMITED_INSTANCES: Final = 255

# GetNamedPipeInfo: flags
PIPE_SERVER_END: Final = 0x1

# CreateFile
OPEN_EXISTING: Final = 3
SECURITY_SQOS_PRESENT: Final = 0x00100000
SECURITY_ANONYMOUS: Final = 0x00000
SECURITY_IDENTIFICATION: Final = 0x10000
SECURITY_IMPERSONATION: Final = 0x20000
SECURITY_DELEGATION: Final = 0x30000
SECURITY_CONTEXT_TRACKING: Final = 0x40000

# WaitNamedPipe; 0 means the server's default and 0xFFFFFFFF means no limit
NMPWAIT_NOWAIT: Final = 1

# SetFileCompletionNotificationModes
FILE_SKIP_COMPLETION_PORT_ON_SUCCESS: Final = 0x1

WAIT_OBJECT_0: Final = 0
WAIT_TIMEOUT: Final = 258
STATUS_PENDING: Final = 0x103  # OVERLAPPED.Internal until the operation has ended
THREAD_TERMINATE: Final = 0x1  # the right that CancelSynchronousIo requires

# NtQueryInformationFile
FILE_MODE_INFORMATION: Final = 16
FILE_SYNCHRONOUS_IO: Final = 0x10 | 0x20  # ..._ALERT, ..._NONALERT
FILE_PIPE_LOCAL_INFORMATION: Final = 24

# tokens and security descriptors
TOKEN_IMPERSONATE: Final = 0x4
TOKEN_QUERY: Final = 0x8
TOKEN_USER: Final = 1
TOKEN_PRIMARY_GROUP: Final = 5
TOKEN_ELEVATION: Final = 20
SE_KERNEL_OBJECT: Final = 6
ERROR_NO_TOKEN: Final = 1008  # OpenThreadToken: the thread uses the token of its process
OWNER_SECURITY_INFORMATION: Final = 0x1
DACL_SECURITY_INFORMATION: Final = 0x4
LABEL_SECURITY_INFORMATION: Final = 0x10
SDDL_REVISION_1: Final = 1
ADMINISTRATORS: Final = "S-1-5-32-544"
MEDIUM_LEVEL: Final = 0x2000  # the integrity level of an object without a label
HIGH_LEVEL: Final = 0x3000
