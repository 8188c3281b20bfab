#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-only OR MIT
import ctypes, fcntl, os, struct

CREATE, DESTROY, ALLOC = 0xB901, 0xB902, 0xB903         # _IO(0xB9, number)
device = os.open("/dev/pheap", os.O_RDWR)

def call(command, layout, *fields):                     # every struct begins with its size
    arg = bytearray(struct.pack(layout, struct.calcsize(layout), *fields))
    fcntl.ioctl(device, command, arg)                   # failures raise OSError
    return struct.unpack(layout, arg)

# flags, initial and maximum bytes, name; out: heap, base, reserved and committed bytes
heap = call(CREATE, "=IIQQ32sQQQQ", 0, 1 << 20, 64 << 20, b"raw", 0, 0, 0, 0)[5]
# flags, heap, bytes, alignment; out: address, usable bytes
address = call(ALLOC, "=IIQQQQQ", 0, heap, 100, 16, 0, 0)[5]
ctypes.memmove(address, b"Hello from a private heap.", 26)
print(ctypes.string_at(address, 26).decode())
try:
    call(ALLOC, "=IIQQQQQ", 0, heap, 65 << 20, 16, 0, 0)
except OSError as error:
    print("65 MiB more? No:", error)
call(DESTROY, "=IIQ", 0, heap)                          # flags, heap
