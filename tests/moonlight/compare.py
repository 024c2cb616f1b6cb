"""How what stands on a desktop compares with a picture of a recorded stream.

usage: compare.py RECORD PPM [COUNT]

RECORD is what stream.py --record wrote, PPM what grim -c -t ppm did. The picture is the last one of
the record, or of its first COUNT. Prints the PSNR of luma in decibels, 99 for pictures that are the
same. What has the colour of the background in both is left out: it would say that an empty desktop
is like one with a line of text.
"""

import sys

import av
import numpy

# Of luma: what differs by more from the background stands on it.
STANDS_OUT = 24


def luma_of_screenshot(path):
    with open(path, "rb") as file:
        assert file.readline() == b"P6\n"
        width, height = map(int, file.readline().split())
        assert file.readline() == b"255\n"
        pixels = numpy.frombuffer(file.read(), dtype=numpy.uint8).reshape(height, width, 3)
    # BT.601 in the limited range, as the client asks for.
    return 16 + pixels.astype(float) @ [65.481 / 255, 128.553 / 255, 24.966 / 255]


def luma_of_record(path, count):
    last = None
    with av.open(path, format="h264") as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == count:
                break
            last = frame
    # The first rows of planar 4:2:0 are luma.
    return last.to_ndarray()[: last.height]


def background(luma):
    """The most frequent colour."""
    values, counts = numpy.unique(luma.round(), return_counts=True)
    return values[counts.argmax()]


def main():
    record, screenshot = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else None
    seen, shown = luma_of_record(record, count).astype(float), luma_of_screenshot(screenshot)
    assert seen.shape == shown.shape, (seen.shape, shown.shape)
    stands_out = [abs(luma - background(shown)) > STANDS_OUT for luma in (seen, shown)]
    stands = stands_out[0] | stands_out[1]
    assert stands_out[1].any(), "nothing stands on the desktop"
    error = ((seen - shown)[stands] ** 2).mean()
    print(f"{min(99, 10 * numpy.log10(255**2 / max(error, 1e-9))):.1f}")


main()
