"""The erasure code inside the stock Moonlight client's library, asked over standard input.

A request is a line of words: the name of the code, k, m, and one word for each of the k + m shards,
hexadecimal digits or a dash for a shard that is not there. 'protect' gives data shards only. The
answer is a line of the shards that were asked for: parity to protect, data to recover.

    protect video 3 2 00.. 11.. 22.. - -
    recover audio 4 2 - 11.. 22.. - aa.. bb..
"""

import ctypes
import os
import sys

import moonlight_python

AUDIO_ROWS = bytes.fromhex("7740380ec7a70d6c")  # as the client's own audio queue sets them
FIELDS = 12  # bytes of data, parity and total count before the matrix

library = ctypes.CDLL(
    os.path.join(os.path.dirname(moonlight_python.__file__), "libmoonlight-common-c.so")
)


def function(name, *signature):
    """One of those that the library chose for this processor."""
    address = ctypes.c_void_p.in_dll(library, name).value
    return ctypes.CFUNCTYPE(*signature)(address)


library.reed_solomon_init()
pointers = ctypes.POINTER(ctypes.c_void_p)
new = function("reed_solomon_new_fn", ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
release = function("reed_solomon_release_fn", None, ctypes.c_void_p)
encode = function(
    "reed_solomon_encode_fn", ctypes.c_int, ctypes.c_void_p, pointers, ctypes.c_int, ctypes.c_int
)
decode = function(
    "reed_solomon_decode_fn",
    ctypes.c_int,
    ctypes.c_void_p,
    pointers,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_int,
)


def answer(verb, name, k, m, words):
    """The shards that were asked for."""
    n = k + m
    length = max(len(word) for word in words) // 2
    marks = bytes(word == "-" for word in words)
    buffers = [
        ctypes.create_string_buffer(b"" if word == "-" else bytes.fromhex(word), length + 64)
        for word in words
    ]
    shards = (ctypes.c_void_p * n)(*(ctypes.addressof(buffer) for buffer in buffers))
    code = new(k, m)
    assert code, "no such code"
    if name == "audio":
        ctypes.memmove(code + FIELDS, AUDIO_ROWS, len(AUDIO_ROWS))
    if verb == "protect":
        status = encode(code, shards, n, length)
        wanted = buffers[k:]
    else:
        status = decode(code, shards, marks, n, length)
        wanted = buffers[:k]
    release(code)
    assert status == 0, f"status {status}"
    return [buffer.raw[:length].hex() for buffer in wanted]


for line in sys.stdin:
    verb, name, k, m, *words = line.split()
    print(*answer(verb, name, int(k), int(m), words), flush=True)
