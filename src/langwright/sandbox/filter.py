"""The system calls that the sandbox withholds, as a seccomp program.

A list of what is withheld, not of what is allowed: which calls Python, its C library and their
next versions make is not ours to know, and the walls are the namespaces. The filter takes away
what those leave open: new namespaces (where most holes of the kernel were found), memory that no
limit counts, sockets other than Unix ones, looking into other processes, and every call newer
than this list.
"""

from __future__ import annotations

import errno
import struct

_NEWEST = 462
"""The last system call that this list has considered (mseal, Linux 6.10)."""

_WITHHELD: dict[str, tuple[int | None, int | None]] = {
    # name: (x86_64, aarch64)
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "listmount": (458, 458),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "memfd_create": (319, 279),  # memory outside RLIMIT_AS and the size of the working folder
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mq_open": (240, 180),  # as memfd_create, and so are the next three
    "msgget": (68, 186),
    "semget": (64, 190),
    "shmget": (29, 194),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "statmount": (457, 457),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
}
_CLONE = (56, 220)
_CLONE3 = (435, 435)
_SOCKET = (41, 198)
_SOCKETPAIR = (53, 199)

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""By what `uname` says: the column above, and the kernel's AUDIT_ARCH."""

_NEW_NAMESPACES = 0x7E020080
"""CLONE_NEW*: the flags with which clone would make a namespace."""

_AF_UNIX = 1

_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENT_AT = 0, 4, 16


def seccomp_program(machine: str) -> bytes | None:
    """The program for a machine (`os.uname().machine`), eight bytes an instruction; None where
    the numbers of its system calls are not known."""
    if machine not in _ARCHITECTURES:
        return None
    column, architecture = _ARCHITECTURES[machine]

    def fail(code: int) -> tuple[int, int, int, int]:
        return (_RETURN, 0, 0, _ERROR | code)

    program = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, architecture),  # 32-bit calls have other numbers
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_GREATER, 0, 1, _NEWEST),  # and the x32 calls, which have a high bit set
        fail(errno.ENOSYS),
        # clone3 keeps its flags where a filter cannot look; the C library then takes clone.
        (_EQUAL, 0, 1, _CLONE3[column]),
        fail(errno.ENOSYS),
    ]
    for numbers in _WITHHELD.values():
        number = numbers[column]
        if number is not None:
            program += [(_EQUAL, 0, 1, number), fail(errno.EPERM)]
    program += [
        (_EQUAL, 0, 4, _CLONE[column]),
        (_LOAD, 0, 0, _ARGUMENT_AT),
        (_ANY_BIT, 0, 1, _NEW_NAMESPACES),
        fail(errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 1, 0, _SOCKET[column]),
        (_EQUAL, 0, 2, _SOCKETPAIR[column]),
        (_LOAD, 0, 0, _ARGUMENT_AT),
        (_EQUAL, 0, 1, _AF_UNIX),
        (_RETURN, 0, 0, _ALLOW),
        fail(errno.EAFNOSUPPORT),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
