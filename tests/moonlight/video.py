"""Makes a video that tells its frames apart: a barcode as the host's test source has it, beside a bar
that moves, with a tone in each ear. The rest stands still, so that it costs little.

usage: video.py FILE WIDTHxHEIGHT FPS SECONDS
"""

import binascii
import sys
from fractions import Fraction

import av
import numpy as np
from measure import COLUMNS, RATE, ROWS, SYNC, cell_len

DARK, LIGHT = 16, 235
TONES = (640, 1010)


def barcode(number, cell):
    """What measure.read_barcode() reads, with the number as its time as well."""
    data = number.to_bytes(4, "big") + number.to_bytes(8, "big")
    data += binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "big")
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).reshape(ROWS - 1, COLUMNS)
    cells = np.where(np.vstack([SYNC, bits]), LIGHT, DARK).astype(np.uint8)
    return cells.repeat(cell, axis=0).repeat(cell, axis=1)


def picture(number, width, height):
    """Planes of 4:2:0 one below the other."""
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = 64 + np.arange(width) // 8 % 64
    x = 8 * number % (width - 16)
    planes[height * 3 // 4 : height, x : x + 16] = LIGHT
    cell = cell_len(width, height)
    planes[: ROWS * cell, : COLUMNS * cell] = barcode(number, cell)
    return planes


def main():
    file, size, fps, seconds = sys.argv[1:]
    width, height = map(int, size.split("x"))
    fps, seconds = int(fps), int(seconds)
    with av.open(file, "w", format="matroska") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"preset": "ultrafast", "tune": "fastdecode", "crf": "18"}
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="stereo")
        for number in range(fps * seconds):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height), "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
            first = number * RATE // fps
            times = np.arange(first, (number + 1) * RATE // fps) / RATE
            samples = [np.sin(2 * np.pi * tone * times) * 16000 for tone in TONES]
            packed = np.stack(samples, axis=1).astype(np.int16).reshape(1, -1)
            sound = av.AudioFrame.from_ndarray(packed, "s16", "stereo")
            sound.sample_rate, sound.pts, sound.time_base = RATE, first, Fraction(1, RATE)
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


main()
