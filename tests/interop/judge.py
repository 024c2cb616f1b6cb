"""Whether a stream over a network that loses datagrams went as it must. One line says what it saw.

usage: judge.py NAME REPORT LOG DROPPED ok|idr|heal|any FPS

REPORT is what tests/moonlight/stream.py printed, LOG what the daemon said of the session at its
end, DROPPED how many datagrams of pictures the network dropped. No frame may be lost (ok), or some
must be and are got over by IDR frames (idr) or by frames that refer to older ones (heal), or either
(any).
"""

import json
import re
import sys

# Of luma, in decibels.
PSNR_MIN = 30
# Between two pictures that are shown, a fifth of a second.
APART_MAX_S = 0.2
# A frame is sent with at least two datagrams of parity.
DROPS_PER_LOSS = 3
# The exit status where the client itself threw frames away, which says nothing of the stream.
BEHIND = 2


def judge(report, log, dropped, remedy, fps):
    """What is wrong, and what was seen."""
    if report["error"] is not None:
        return [str(report["error"])], ""
    sent, idr_count, healed, left_out = map(int, re.findall(r"\d+", log)[:4])
    video = report["video"]
    pictures, losses = video["pictures"], video["missing_numbers"]
    readings = pictures["readings"]
    steps = [
        (after[0] - before[0], after[1] - before[1])
        for before, after in zip(readings, readings[1:])
    ]
    # By the barcodes, without those that the host says it did not make.
    apart = max((number for number, _ in steps), default=0)
    unmade = sum(source - number for number, source in steps)
    psnr = pictures["psnr_luma"]["min"]
    rules = {
        "barcodes do not rise": pictures["strictly_rising"],
        "pictures that are not what was sent": pictures["unreadable_count"] == 0,
        "pictures that cannot be decoded": video["decode_error_count"] == 0,
        "the card is not what was sent": psnr > PSNR_MIN,
        "pictures are too far apart": apart <= APART_MAX_S * fps,
        "pictures are missing that nobody left out": unmade <= left_out,
        "more frames are lost than datagrams explain": len(losses) * DROPS_PER_LOSS <= dropped,
        "few pictures": len(readings) > sent / 2,
    }
    if remedy == "ok":
        rules["frames are lost"] = not losses
        rules["there are IDR frames that nobody needs"] = idr_count == 1
    if remedy == "idr":
        rules["nothing was lost"] = losses
        rules["losses are not got over by IDR frames"] = idr_count > 1 and healed == 0
    if remedy == "heal":
        rules["nothing was lost"] = losses
        rules["losses are not healed"] = healed > 0
        # H.264 cannot heal a loss across a wrap of frame_num, which is every 16 frames.
        rules["there are many IDR frames"] = idr_count <= 1 + len(losses) // 2
    seen = (
        f"{len(readings)} of {sent} pictures, {left_out} left out, {dropped} datagrams dropped, "
        f"{len(losses)} losses, {apart} frames apart at most, {idr_count} IDR, {healed} healed, "
        f"{psnr:.0f} dB"
    )
    return [rule for rule, holds in rules.items() if not holds], seen


def main():
    name, path, log, dropped, remedy, fps = sys.argv[1:]
    with open(path) as file:
        report = json.load(file)
    wrong, seen = judge(report, log, int(dropped), remedy, int(fps))
    if any(event[1] == "overflow" for event in report.get("events", [])):
        sys.exit(BEHIND)
    print(f"{'failed' if wrong else 'ok':7} {name}: {seen}")
    for rule in wrong:
        print(f"        {rule}")
    sys.exit(1 if wrong else 0)


main()
