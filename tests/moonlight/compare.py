"""How the last picture of a recorded stream compares with a screenshot.

usage: compare.py RECORD PPM

RECORD is what stream.py --record wrote, PPM what grim -c -t ppm did. Prints the PSNR of luma in
decibels, 99 for pictures that are the same.
"""

import sys

import av
import numpy


def luma_of_screenshot(path):
    with open(path, "rb") as file:
        assert file.readline() == b"P6\n"
        width, height = map(int, file.readline().split())
        assert file.readline() == b"255\n"
        pixels = numpy.frombuffer(file.read(), dtype=numpy.uint8).reshape(height, width, 3)
    # BT.601 in the limited range, as the client asks for.
    return 16 + pixels.astype(float) @ [65.481 / 255, 128.553 / 255, 24.966 / 255]


def luma_of_record(path):
    last = None
    with av.open(path, format="h264") as container:
        for frame in container.decode(video=0):
            last = frame
    # The first rows of planar 4:2:0 are luma.
    return last.to_ndarray()[: last.height]


def main():
    record, screenshot = sys.argv[1:]
    seen, shown = luma_of_record(record).astype(float), luma_of_screenshot(screenshot)
    assert seen.shape == shown.shape, (seen.shape, shown.shape)
    error = ((seen - shown) ** 2).mean()
    print(f"{min(99, 10 * numpy.log10(255**2 / max(error, 1e-9))):.1f}")


main()
