"""What became of test pictures and test tones on their way: src/host/capture read by somebody else.

usage: measure.py pictures FILE WIDTHxHEIGHT [--encode CODEC:KBPS] [--colour 601] [--full-range]
       measure.py sound FILE CHANNELS [--opus STREAMS:COUPLED:KBPS]

FILE (- is standard input) holds pictures as planes of 4:2:0 (yuv420p) one after the other, or sound
as interleaved floats of 48 kHz. Either is measured as it is, or after it was encoded and decoded.
Prints JSON.
"""

import argparse
import binascii
import ctypes
import json
import sys
from fractions import Fraction

import av
import numpy as np

# A barcode: cells across and down, and the first row of them.
COLUMNS, ROWS = 16, 8
SYNC = np.array([int(bit) for bit in f"{0xAC53:016b}"], bool)
CONTRAST_MIN = 32 * 219 / 255

# Of the card: red, green, blue.
COLOURS = [
    (192, 32, 32), (32, 160, 32), (32, 64, 192), (192, 176, 32),
    (32, 160, 176), (176, 48, 176), (224, 160, 128), (80, 56, 40),
]

# Kr and Kb of the matrices.
MATRICES = {"601": (0.299, 0.114), "709": (0.2126, 0.0722), "2020": (0.2627, 0.0593)}

RATE = 48000
DECODERS = {"h264": "h264", "hevc": "hevc", "av1": "libdav1d"}
ENCODERS = {
    "h264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency"}),
    "hevc": (
        "libx265",
        {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"},
    ),
    # No frame waits for others.
    "av1": ("libsvtav1", {"preset": "12", "svtav1-params": "pred-struct=1:rc=2"}),
}


def cell_len(width, height):
    """Pixels along a side of a cell, or nothing if a picture of this size has no barcode."""
    if width < 320 or height < 180:
        return None
    return 8 * max(1, min(width // 640, height // 360))


def read_barcode(luma):
    """Number and time of the frame, or nothing if any bit of it is wrong."""
    height, width = luma.shape
    cell = cell_len(width, height)
    if cell is None:
        return None
    margin = cell // 4
    cells = luma[: ROWS * cell, : COLUMNS * cell].reshape(ROWS, cell, COLUMNS, cell)
    levels = cells[:, margin:-margin, :, margin:-margin].mean(axis=(1, 3))
    dark, light = levels[0, ~SYNC].mean(), levels[0, SYNC].mean()
    if light - dark < CONTRAST_MIN:
        return None
    bits = levels > (dark + light) / 2
    data = np.packbits(bits[1:]).tobytes()
    number, time_us, crc = data[:4], data[4:12], data[12:]
    if (bits[0] != SYNC).any() or binascii.crc_hqx(number + time_us, 0xFFFF) != to_int(crc):
        return None
    return to_int(number), to_int(time_us)


def to_int(data):
    return int.from_bytes(data, "big")


def card(cell):
    """The card of src/host/capture/card.rs: rows of red, green, blue."""
    width, height = COLUMNS * cell, ROWS * cell
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    patch, row = x // (2 * cell), y // cell
    rise = x * 255 // (width - 1)
    fall, middle = 255 - rise, np.full_like(x, 128)
    greys = np.stack([16 + 31 * patch] * 3, axis=-1)
    colours = np.array(COLOURS)[patch]
    rgb = np.where((row < 2)[..., None], greys, colours)
    gradients = [(rise, rise, rise), (rise, middle, fall), (fall, rise, middle), (middle, fall, rise)]
    for index, gradient in enumerate(gradients, start=4):
        rgb = np.where((row == index)[..., None], np.stack(gradient, axis=-1), rgb)
    return rgb


def to_planes(rgb, matrix, full_range):
    """Y, U and V of 4:2:0 as the recommendations have them, not rounded."""
    kr, kb = MATRICES[matrix]
    scale, floor, swing = (255, 0, 255) if full_range else (219, 16, 224)

    def luma(rgb):
        return kr * rgb[..., 0] + (1 - kr - kb) * rgb[..., 1] + kb * rgb[..., 2]

    height, width, _ = rgb.shape
    mean = rgb.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
    y = luma(mean)
    u, v = (mean[..., 2] - y) / (2 - 2 * kb), (mean[..., 0] - y) / (2 - 2 * kr)
    return (
        floor + luma(rgb) / 255 * scale, 128 + u / 255 * swing, 128 + v / 255 * swing,
    )


def planes_of(frame):
    """Y, U and V of a decoded frame, in steps of 8 bits."""
    depth = frame.format.components[0].bits
    kind, step = (np.uint8, 1) if depth == 8 else (np.dtype("<u2"), 1 << (depth - 8))
    if not (frame.format.name.startswith("yuv420p") or frame.format.name == "yuvj420p"):
        raise ValueError(f"pictures are {frame.format.name}")
    found = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)
        found.append(rows[: plane.height, : plane.width])
    return found if step == 1 else [plane / step for plane in found]


def psnr(pairs):
    """Decibels over all samples of some planes."""
    error = sum(((got - expected) ** 2).sum() for got, expected in pairs)
    count = sum(expected.size for _, expected in pairs)
    return 10 * np.log10(255**2 / max(error / count, 1e-9))


def spread(values, digits=2):
    """How values lie, or nothing if there are none."""
    if not len(values):
        return None
    values = np.asarray(values, float)
    named = {"min": values.min(), "max": values.max(), "p1": np.percentile(values, 1)}
    named |= {f"p{part}": np.percentile(values, part) for part in (50, 95, 99)}
    return {name: round(float(value), digits) for name, value in named.items()}


class Pictures:
    """Looks at pictures one by one."""

    def __init__(self, matrix="601", full_range=False):
        self.matrix, self.full_range = matrix, full_range
        self.count = self.unreadable_count = 0
        self.size = self.expected = None
        self.readings, self.luma, self.chroma = [], [], []

    def add(self, label, planes):
        """What the label is stands before what the barcode says."""
        y, u, v = planes
        if self.size != y.shape:
            self.size = y.shape
            self.cell = cell_len(y.shape[1], y.shape[0])
            self.expected = self.cell and to_planes(card(self.cell), self.matrix, self.full_range)
        self.count += 1
        reading = read_barcode(y)
        if reading is None:
            self.unreadable_count += 1
        else:
            self.readings.append([label, *reading])
        if self.expected is None:
            return
        height, width = ROWS * self.cell, COLUMNS * self.cell
        self.luma.append(psnr([(y[:height, width : 2 * width], self.expected[0])]))
        parts = [plane[: height // 2, width // 2 : width] for plane in (u, v)]
        self.chroma.append(psnr(list(zip(parts, self.expected[1:]))))

    def report(self):
        numbers = [number for _, number, _ in self.readings]
        jumps = [after - before for before, after in zip(numbers, numbers[1:])]
        return {
            "count": self.count,
            "size": self.size and [self.size[1], self.size[0]],
            "unreadable_count": self.unreadable_count,
            "strictly_rising": bool(numbers) and all(jump > 0 for jump in jumps),
            "largest_jump": max(jumps, key=abs, default=None),
            "psnr_luma": spread(self.luma),
            "psnr_chroma": spread(self.chroma),
            "readings": self.readings,
        }


class VideoDecoder:
    """Access units to pictures, each with the label of its access unit."""

    def __init__(self, codec):
        self.context = av.CodecContext.create(DECODERS[codec], "r")
        self.context.thread_count = 1
        self.labels = []
        self.error_count = 0
        # Of the last picture, as the stream has it; numbers are those of H.273.
        self.format = None

    def decode(self, data, label):
        packet = av.Packet(data)
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = len(self.labels)
        self.labels.append(label)
        yield from self._take(packet)

    def end(self):
        yield from self._take(None)

    def _take(self, packet):
        try:
            frames = self.context.decode(packet)
        except (av.error.FFmpegError, EOFError):
            self.error_count += 1
            return
        for frame in frames:
            self.format = {
                "pixels": frame.format.name,
                "matrix": int(frame.colorspace),
                "primaries": int(frame.color_primaries),
                "transfer": int(frame.color_trc),
                # 1 is limited, 2 is full.
                "range": int(frame.color_range),
            }
            yield self.labels[frame.pts], planes_of(frame)


class OpusDecoder:
    """Packets of several streams to samples, by Debian's libopus."""

    def __init__(self, channels, streams, coupled, mapping):
        self.library, self.channels = libopus(), channels
        error = ctypes.c_int()
        self.state = self.library.opus_multistream_decoder_create(
            RATE, channels, streams, coupled, bytes(mapping), ctypes.byref(error)
        )
        check_opus(error.value)

    def decode(self, packet, samples):
        """Of a packet, or of one that was lost: so many samples of all channels, interleaved."""
        out = (ctypes.c_float * (samples * self.channels))()
        length = len(packet) if packet else 0
        count = self.library.opus_multistream_decode_float(
            self.state, packet, length, out, samples, 0
        )
        check_opus(count)
        return np.frombuffer(out, np.float32)[: count * self.channels].reshape(-1, self.channels)


def libopus():
    library = ctypes.CDLL("libopus.so.0")
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name in ("opus_multistream_decoder_create", "opus_multistream_encoder_create"):
        getattr(library, name).restype = pointer
    library.opus_multistream_decoder_create.argtypes = [
        integer, integer, integer, integer, text, pointer,
    ]
    library.opus_multistream_encoder_create.argtypes = [
        integer, integer, integer, integer, text, integer, pointer,
    ]
    library.opus_multistream_decode_float.argtypes = [
        pointer, text, integer, pointer, integer, integer,
    ]
    library.opus_multistream_encode_float.argtypes = [pointer, pointer, integer, pointer, integer]
    return library


def check_opus(status):
    if status < 0:
        raise ValueError(f"libopus says {status}")


def tones(samples):
    """Of every channel the loudest frequency, how loud it is, and how loud all is (1 is full)."""
    found = []
    for channel in samples.T:
        window = np.hanning(len(channel))
        spectrum = np.abs(np.fft.rfft(channel * window)) * 2 / window.sum()
        peak = int(spectrum[1:].argmax()) + 1
        found.append({
            "frequency": round(peak * RATE / len(channel), 1),
            "level": round(float(spectrum[peak]), 3),
            "rms": round(float(np.sqrt((channel.astype(float) ** 2).mean())), 3),
        })
    return found


def encode_pictures(frames, width, height, codec, kbps):
    """Access units, one for every frame."""
    name, options = ENCODERS[codec]
    context = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.bit_rate, context.time_base = kbps * 1000, Fraction(1, 60)
    context.framerate, context.options = Fraction(60), options
    for index, planes in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(planes.reshape(-1, width), "yuv420p")
        frame.pts = index
        yield from map(bytes, context.encode(frame))
    yield from map(bytes, context.encode(None))


def read(file, kind):
    if file == "-":
        return np.frombuffer(sys.stdin.buffer.read(), kind)
    return np.fromfile(file, kind)


def measure_pictures(arguments):
    width, height = map(int, arguments.size.split("x"))
    data = read(arguments.file, np.uint8).reshape(-1, width * height * 3 // 2)
    pictures = Pictures(arguments.colour, arguments.full_range)
    if arguments.encode is None:
        for index, frame in enumerate(data):
            y, chroma = np.split(frame, [width * height])
            u, v = chroma.reshape(2, height // 2, width // 2)
            pictures.add(index, (y.reshape(height, width), u, v))
        return pictures.report()
    codec, kbps = arguments.encode.split(":")
    decoder, length = VideoDecoder(codec), 0
    for index, unit in enumerate(encode_pictures(data, width, height, codec, int(kbps))):
        length += len(unit)
        for label, planes in decoder.decode(unit, index):
            pictures.add(label, planes)
    for label, planes in decoder.end():
        pictures.add(label, planes)
    return pictures.report() | {
        "len": length, "error_count": decoder.error_count, "format": decoder.format,
    }


def measure_sound(arguments):
    samples = read(arguments.file, np.float32).reshape(-1, arguments.channels)
    if arguments.opus is None:
        return tones(samples)
    streams, coupled, kbps = map(int, arguments.opus.split(":"))
    mapping = bytes(range(arguments.channels))
    library, error, piece = libopus(), ctypes.c_int(), 240
    restricted_low_delay, set_bitrate = 2051, 4002
    state = library.opus_multistream_encoder_create(
        RATE, arguments.channels, streams, coupled, mapping, restricted_low_delay,
        ctypes.byref(error),
    )
    check_opus(error.value)
    library.opus_multistream_encoder_ctl(ctypes.c_void_p(state), set_bitrate, kbps * 1000)
    decoder, decoded = OpusDecoder(arguments.channels, streams, coupled, mapping), []
    for first in range(0, len(samples) - piece + 1, piece):
        pcm = np.ascontiguousarray(samples[first : first + piece])
        packet = ctypes.create_string_buffer(4000)
        count = library.opus_multistream_encode_float(
            state, pcm.ctypes.data, piece, packet, len(packet)
        )
        check_opus(count)
        decoded.append(decoder.decode(packet.raw[:count], piece))
    return tones(np.concatenate(decoded))


def main():
    parser = argparse.ArgumentParser(description="measures test pictures and test tones")
    kinds = parser.add_subparsers(required=True)
    pictures = kinds.add_parser("pictures")
    pictures.add_argument("file")
    pictures.add_argument("size", metavar="WIDTHxHEIGHT")
    pictures.add_argument("--encode", metavar="CODEC:KBPS")
    pictures.add_argument("--colour", choices=MATRICES, default="601")
    pictures.add_argument("--full-range", action="store_true")
    pictures.set_defaults(measure=measure_pictures)
    sound = kinds.add_parser("sound")
    sound.add_argument("file")
    sound.add_argument("channels", type=int)
    sound.add_argument("--opus", metavar="STREAMS:COUPLED:KBPS")
    sound.set_defaults(measure=measure_sound)
    arguments = parser.parse_args()
    print(json.dumps(arguments.measure(arguments)))


if __name__ == "__main__":
    main()
