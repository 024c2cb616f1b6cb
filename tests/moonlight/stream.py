"""The stock client of GameStream streams for a while and says what it got.

usage: stream.py --host HOST --http-port PORT --identity FOLDER [options]

FOLDER is where peer.py kept the identity that the host is paired with. What is streamed should be the
host's test source. All pictures and sound are kept and looked at when the stream is over, so that the
client takes little of the machine while it streams. Prints one object of JSON at the end, and nothing
else; "error" in it is null if all went as it was asked for. Times are by this
machine's clock, which the host has as well.
"""

import argparse
import json
import os
import random
import sys
import threading
import time

import cffi
import numpy as np
import requests
from measure import MATRICES, OpusDecoder, Pictures, VideoDecoder, spread, tones
from moonlight_python.config import CODEC_MAP, StreamConfig
from moonlight_python.exceptions import HttpResponseError, MoonlightError, StreamStartError
from moonlight_python.http_client import NvHTTP
from moonlight_python.identity import Identity
from moonlight_python.stream import StreamingSession, _find_shared_lib

# A configuration of speakers as the client has it: mask, count, and a mark.
AUDIO = {"stereo": 0x302CA, "51": 0x3F06CA, "71": 0x63F08CA}
# What a renderer says of invalidated reference frames.
RFI = {"h264": 0x2, "hevc": 0x4, "av1": 0x40}
ENCRYPT_AUDIO_ONLY = 0x1
FRAME_TYPE_IDR = 1

EXTRA_CDEF = """
int LiSendKeyboardEvent(short key, int8_t action, int8_t modifiers);
int LiSendKeyboardEvent2(short key, int8_t action, int8_t modifiers, int8_t flags);
int LiSendUtf8TextEvent(const char *text, unsigned int length);
int LiSendMouseMoveEvent(short x, short y);
int LiSendMousePositionEvent(short x, short y, short width, short height);
int LiSendMouseButtonEvent(int8_t action, int button);
int LiSendScrollEvent(signed char clicks);
int LiSendHighResScrollEvent(short amount);
int LiSendHScrollEvent(signed char clicks);
int LiSendHighResHScrollEvent(short amount);
int LiSendTouchEvent(uint8_t event, uint32_t id, float x, float y, float pressure,
    float major, float minor, uint16_t rotation);
int LiSendPenEvent(uint8_t event, uint8_t tool, uint8_t buttons, float x, float y, float pressure,
    float major, float minor, uint16_t rotation, uint8_t tilt);
int LiSendMultiControllerEvent(short number, short mask, int buttons, unsigned char left_trigger,
    unsigned char right_trigger, short left_x, short left_y, short right_x, short right_y);
int LiSendControllerArrivalEvent(uint8_t number, uint16_t mask, uint8_t type, uint32_t buttons,
    uint16_t capabilities);
int LiSendControllerMotionEvent(uint8_t number, uint8_t type, float x, float y, float z);
int LiSendControllerBatteryEvent(uint8_t number, uint8_t state, uint8_t percent);
int LiSendControllerTouchEvent(uint8_t number, uint8_t event, uint32_t id, float x, float y,
    float pressure);
bool LiGetEstimatedRttInfo(uint32_t *rtt, uint32_t *variance);
bool LiGetCurrentHostDisplayHdrMode(void);
uint32_t LiGetHostFeatureFlags(void);
typedef struct { uint32_t counts[7]; } RTP_STATS;
const RTP_STATS *LiGetRTPVideoStats(void);
const RTP_STATS *LiGetRTPAudioStats(void);
const char *LiGetStageName(int stage);
extern uint32_t EncryptionFeaturesEnabled, EncryptionFeaturesSupported;
extern int NegotiatedVideoFormat, AudioPacketDuration;
extern uint16_t VideoPortNumber, AudioPortNumber, ControlPortNumber;
extern bool ReferenceFrameInvalidationSupported, AudioEncryptionEnabled;
"""
FACTS = [
    "EncryptionFeaturesEnabled", "EncryptionFeaturesSupported", "NegotiatedVideoFormat",
    "AudioPacketDuration", "VideoPortNumber", "AudioPortNumber", "ControlPortNumber",
    "ReferenceFrameInvalidationSupported", "AudioEncryptionEnabled",
]

# What the client counts of the packets of a stream, in its order.
COUNTS = [
    "data", "parity", "recovered", "recovery_failed", "out_of_sequence", "invalid", "invalid_parity",
]

# Every kind of input that the client can send, once. Keys are Windows' with the high bit set.
DOWN, UP, PRESS, RELEASE = 3, 4, 7, 8
INPUT = [
    ("LiSendKeyboardEvent", 0x8041 - 0x10000, DOWN, 0),
    ("LiSendKeyboardEvent", 0x8041 - 0x10000, UP, 0),
    ("LiSendKeyboardEvent2", 0x8042 - 0x10000, DOWN, 1, 0),
    ("LiSendKeyboardEvent2", 0x8042 - 0x10000, UP, 1, 0),
    ("LiSendUtf8TextEvent", "grüß".encode(), len("grüß".encode())),
    ("LiSendMouseMoveEvent", 10, -5),
    ("LiSendMousePositionEvent", 320, 180, 640, 360),
    ("LiSendMouseButtonEvent", PRESS, 1),
    ("LiSendMouseButtonEvent", RELEASE, 1),
    ("LiSendScrollEvent", 1),
    ("LiSendHighResScrollEvent", -60),
    ("LiSendHScrollEvent", 1),
    ("LiSendHighResHScrollEvent", -60),
    ("LiSendTouchEvent", 1, 7, 0.25, 0.5, 0.75, 0.01, 0.01, 0),
    ("LiSendTouchEvent", 2, 7, 0.25, 0.5, 0.0, 0.0, 0.0, 0),
    ("LiSendPenEvent", 1, 1, 0, 0.5, 0.25, 0.5, 0.0, 0.0, 45, 30),
    ("LiSendPenEvent", 2, 1, 0, 0.5, 0.25, 0.0, 0.0, 0.0, 45, 30),
    # A PlayStation gamepad that can do everything.
    ("LiSendControllerArrivalEvent", 0, 1, 2, 0x3FFFFF, 0xFF),
    ("LiSendMultiControllerEvent", 0, 1, 0x1000, 255, 0, 32767, -32768, 0, 0),
    ("LiSendMultiControllerEvent", 0, 1, 0, 0, 0, 0, 0, 0, 0),
    ("LiSendControllerMotionEvent", 0, 1, 0.0, 9.8, 0.0),
    ("LiSendControllerMotionEvent", 0, 2, 1.0, 2.0, 3.0),
    ("LiSendControllerBatteryEvent", 0, 2, 80),
    ("LiSendControllerTouchEvent", 0, 1, 3, 0.5, 0.5, 1.0),
    ("LiSendControllerTouchEvent", 0, 2, 3, 0.5, 0.5, 0.0),
]
# What a program in the display reads as "aBgr\u00fc\u00df", where all of it arrives.
TYPING = [it for it in INPUT if it[0].startswith(("LiSendKeyboard", "LiSendUtf8"))]
# Of luma: by so much a picture is brighter or darker where a key has changed its colour.
LEVEL_STEP = 30
# What a hand does that feels the gamepad.
ANSWER = ("LiSendMultiControllerEvent", 0, 1, 0x3000, 0, 255, 0, 0, -32768, 32767)
# The gamepad goes, which it does when its bit is not in the mask.
FAREWELL = ("LiSendMultiControllerEvent", 0, 0, 0, 0, 0, 0, 0, 0, 0)


def now_us():
    return time.time_ns() // 1000


class Library:
    """The client's library, which is told more than StreamConfig can say."""

    def __init__(self, library, settings):
        self._library, self._settings = library, settings

    def __getattr__(self, name):
        return getattr(self._library, name)

    def LiStartConnection(self, server, config, *others):
        for name, value in self._settings.items():
            setattr(config, name, value)
        return self._library.LiStartConnection(server, config, *others)


class Session(StreamingSession):
    """A session that notes what the host asks of it."""

    def __init__(self, settings, capabilities):
        super().__init__()
        self._lib = Library(self._lib, settings)
        self.capabilities = capabilities
        self.stages, self.events = [], []
        self.rumbled, self.stilled = threading.Event(), threading.Event()
        self.extra = cffi.FFI()
        self.extra.cdef(EXTRA_CDEF)
        self.library = self.extra.dlopen(_find_shared_lib())

    def stage_name(self, stage):
        return self.extra.string(self.library.LiGetStageName(stage)).decode()

    def note(self, name, *values):
        self.events.append([now_us(), name, *values])

    def _make_connection_callbacks(self):
        callbacks = super()._make_connection_callbacks()

        def listen(field, handle):
            kind = self._ffi.typeof(getattr(callbacks, field))
            kept = self._ffi.callback(kind, handle)
            self._callbacks.append(kept)
            setattr(callbacks, field, kept)

        def rumble(number, low, high):
            self.note("rumble", number, low, high)
            (self.rumbled if low or high else self.stilled).set()

        def adaptive_triggers(number, flags, left_type, right_type, left, right):
            effects = [bytes(self._ffi.buffer(side, 10)).hex() for side in (left, right)]
            self.note("adaptive triggers", number, flags, left_type, right_type, *effects)

        def log(text):
            # The library threw frames away that came faster than they were taken.
            if b"Video decode unit queue overflow" in self._ffi.string(text):
                self.note("overflow")

        # Whatever a text is filled in with is not looked at.
        kept = self._ffi.callback("void(const char *)", log)
        self._callbacks.append(kept)
        callbacks.logMessage = self._ffi.cast("void(*)(const char *, ...)", kept)
        listen("stageStarting", self.stages.append)
        listen("rumble", rumble)
        listen("rumbleTriggers", lambda *values: self.note("rumble triggers", *values))
        listen("setMotionEventState", lambda *values: self.note("motion", *values))
        listen("setControllerLED", lambda *values: self.note("led", *values))
        listen("setAdaptiveTriggers", adaptive_triggers)
        listen("setHdrMode", lambda on: self.note("hdr", bool(on)))
        listen(
            "connectionStatusUpdate",
            lambda status: self.note("status", "poor" if status else "okay"),
        )
        return callbacks

    def _make_video_callbacks(self):
        callbacks = super()._make_video_callbacks()
        callbacks.capabilities |= self.capabilities
        return callbacks

    def send(self, name, *values):
        """Returns what the library says: 0 if it will be sent."""
        return getattr(self.library, name)(*values)

    def facts(self):
        rtt, variance = self.extra.new("uint32_t *"), self.extra.new("uint32_t *")
        has_rtt = self.library.LiGetEstimatedRttInfo(rtt, variance)
        facts = {name: getattr(self.library, name) for name in FACTS}

        def counts(stats):
            return dict(zip(COUNTS, stats.counts))

        return facts | {
            "video_packets": counts(self.library.LiGetRTPVideoStats()),
            "audio_packets": counts(self.library.LiGetRTPAudioStats()),
            "HostFeatureFlags": self.library.LiGetHostFeatureFlags(),
            "rtt_ms": [rtt[0], variance[0]] if has_rtt else None,
            "is_hdr": bool(self.library.LiGetCurrentHostDisplayHdrMode()),
        }


class Taker:
    """Takes access units and packets of sound as they come, on two threads."""

    def __init__(self, session):
        self.session, self.is_over = session, threading.Event()
        self.units, self.packets = [], []
        self.has_first, self.has_more = threading.Event(), threading.Event()
        self.threads = [threading.Thread(target=it, daemon=True) for it in (self.video, self.audio)]
        for thread in self.threads:
            thread.start()

    def video(self):
        while not self.is_over.is_set() and not self.session.is_terminated:
            unit = self.session.pull_frame()
            if unit is not None:
                self.units.append((now_us(), unit))
                self.has_first.set()
                self.has_more.set()

    def audio(self):
        while not self.is_over.is_set():
            packet = self.session.pull_audio_packet(timeout=0.2)
            if packet is not None:
                self.packets.append(packet)

    def end(self):
        self.is_over.set()
        self.session.wake()
        self.session.wake_audio()
        for thread in self.threads:
            thread.join(2)


class Onlooker:
    """Decodes the pictures of a taker while they come, and sees when the colour changes."""

    def __init__(self, taker, codec):
        self.taker, self.decoder = taker, VideoDecoder(codec)
        self.count, self.level = 0, None

    def look(self, end):
        """The next access unit whose picture is of another brightness, and when that was decoded."""
        while time.monotonic() < end and not self.taker.session.is_terminated:
            self.taker.has_more.clear()
            for index in range(self.count, len(self.taker.units)):
                self.count = index + 1
                received_us, unit = self.taker.units[index]
                for _, (luma, *_) in self.decoder.decode(unit.annex_b_data, index):
                    decoded_us, before = now_us(), self.level
                    self.level = float(luma[::16, ::16].mean())
                    if before is not None and abs(self.level - before) > LEVEL_STEP:
                        return received_us, decoded_us, unit
            self.taker.has_more.wait(0.05)
        return None


def missing(numbers):
    """First and last of every range of numbers that is not there."""
    pairs = zip(numbers, numbers[1:])
    return [[before + 1, after - 1] for before, after in pairs if after > before + 1]


def judge_video(units, arguments):
    """What became of the pictures."""
    pictures = Pictures(arguments.colour, arguments.full_range)
    decoder = VideoDecoder(arguments.codec)
    for index, (_, unit) in enumerate(units):
        for label, planes in decoder.decode(unit.annex_b_data, index):
            pictures.add(label, planes)
    for label, planes in decoder.end():
        pictures.add(label, planes)
    report = pictures.report()
    indices, report["readings"] = [it[0] for it in report["readings"]], [
        [units[index][1].frame_number, *reading] for index, *reading in report["readings"]
    ]
    numbers = [unit.frame_number for _, unit in units]
    times = [unit.receive_time_us for _, unit in units]
    latencies = [unit.host_processing_latency_us / 10 for _, unit in units]
    ages = [
        (units[index][0] - time_us) / 1000
        for index, (_, _, time_us) in zip(indices, report["readings"])
    ]
    len_total = sum(len(unit.annex_b_data) for _, unit in units)
    seconds = (times[-1] - times[0]) / 1e6 if len(times) > 1 else 0
    return {
        "access_unit_count": len(units),
        "idr_numbers": [unit.frame_number for _, unit in units if unit.frame_type == FRAME_TYPE_IDR],
        "first_number": numbers[0] if numbers else None,
        "missing_numbers": missing(numbers),
        "are_numbers_rising": all(after > before for before, after in zip(numbers, numbers[1:])),
        "len": spread([len(unit.annex_b_data) for _, unit in units], 0),
        "kbps": round(len_total * 8 / 1000 / seconds) if seconds else None,
        "per_second": round((len(units) - 1) / seconds, 2) if seconds else None,
        "interval_ms": spread(np.diff(times) / 1000),
        "host_latency_ms": spread(latencies),
        # From capture to the client's hands, if the host's clock is this one.
        "age_ms": spread(ages),
        "times_us": times,
        "decode_error_count": decoder.error_count,
        "format": decoder.format,
        "pictures": report,
    }


def judge_audio(packets, config, losses, seconds=2):
    """What became of the sound; of its tones, the last seconds."""
    if config is None:
        return None
    decoder = OpusDecoder(
        config.channel_count, config.streams, config.coupled_streams, config.mapping
    )
    pieces, next_index = [], packets[0].frame_index if packets else 0
    for packet in packets:
        for _ in range(packet.frame_index - next_index):
            pieces.append(decoder.decode(None, config.samples_per_frame))
        pieces.append(decoder.decode(packet.opus_data, config.samples_per_frame))
        next_index = packet.frame_index + 1
    tail_count = seconds * config.sample_rate // config.samples_per_frame
    times = [packet.receive_time_us for packet in packets]
    return {
        "packet_count": len(packets),
        "losses": losses,
        "packet_lens": sorted({len(packet.opus_data) for packet in packets}),
        "interval_ms": spread(np.diff(times) / 1000),
        "channel_count": config.channel_count,
        "streams": config.streams,
        "coupled_streams": config.coupled_streams,
        "mapping": list(config.mapping),
        "samples_per_packet": config.samples_per_frame,
        "tones": tones(np.concatenate(pieces[-tail_count:])) if pieces else [],
    }


def open_app(http, arguments, config, key, iv):
    """Launches or resumes. Returns what the host says of itself and where it speaks RTSP."""
    info = http.parse_server_info(http.get_server_info())
    apps = [app for app in http.get_app_list() if app.name == arguments.app]
    if not apps:
        raise MoonlightError(f"no app {arguments.app}")
    query = "" if arguments.plain_rtsp else "corever=1"
    if arguments.resume:
        url = http.resume_app(key, iv, config.surroundaudioinfo, launch_query_params=query)
    else:
        url = http.launch_app(
            apps[0].id, config.width, config.height, config.fps, config.bitrate_kbps,
            config.supported_video_formats, key, iv, config.surroundaudioinfo,
            launch_query_params=query,
        )
    return info, url


def stream(arguments, report):
    """The session. What is known when something goes wrong is in the report already."""
    width, height, fps = map(int, arguments.mode.split("x"))
    config = StreamConfig(
        width=width, height=height, fps=fps, bitrate_kbps=arguments.bitrate, codec=arguments.codec,
        supported_video_formats=CODEC_MAP[arguments.codec],
        audio_configuration=AUDIO[arguments.audio], packet_size=arguments.packet_size,
    )
    settings = {
        "colorSpace": list(MATRICES).index(arguments.colour),
        "colorRange": int(arguments.full_range),
        "clientRefreshRateX100": arguments.refresh_x100,
    }
    if arguments.plain_video:
        settings["encryptionFlags"] = ENCRYPT_AUDIO_ONLY
    capabilities = RFI[arguments.codec] if arguments.rfi else 0
    http = NvHTTP(arguments.host, Identity(arguments.identity), http_port=arguments.http_port)
    key, iv = os.urandom(16), os.urandom(16)
    began_us = now_us()
    info, url = open_app(http, arguments, config, key, iv)
    report["launch_ms"] = (now_us() - began_us) / 1000
    session = Session(settings, capabilities)
    try:
        session.start(
            arguments.host.strip("[]"), info.app_version, info.gfe_version,
            info.server_codec_mode_support, url, config, key, iv, capture_audio=True,
        )
        report["connect_ms"] = (now_us() - began_us) / 1000
        taker = Taker(session)
        try:
            run(session, taker, arguments, report)
            report["facts"] = session.facts()
        finally:
            taker.end()
            report["is_terminated"] = session.is_terminated
            report["termination_code"] = session.termination_error & 0xFFFFFFFF
            session.stop()
    finally:
        report["stages"] = [session.stage_name(stage) for stage in session.stages]
        report["events"] = [[time_us - began_us, *event] for time_us, *event in session.events]
    if arguments.quit:
        http.quit_app()
    if arguments.record:
        with open(arguments.record, "wb") as file:
            file.writelines(unit.annex_b_data for _, unit in taker.units)
    if taker.units:
        report["first_frame_ms"] = (taker.units[0][0] - began_us) / 1000
    report["video"] = judge_video(taker.units, arguments)
    report["audio"] = judge_audio(taker.packets, session.opus_config, session.audio_loss_stats)
    if report["termination_code"] != 0:
        raise MoonlightError("terminated")
    if not taker.units:
        raise MoonlightError("no frame")


def run(session, taker, arguments, report):
    """From the first frame on for as long as was asked for."""
    taker.has_first.wait(10)
    end = time.monotonic() + arguments.seconds
    if arguments.input_when:
        wait_until(session, end, lambda: os.path.exists(arguments.input_when))
    if arguments.input or arguments.input_when:
        report["input"] = [[name, session.send(name, *values)] for name, *values in INPUT]
    for second in range(arguments.type):
        wait_until(session, end - arguments.seconds + second + 1)
        report.setdefault("untyped_count", len(taker.units))
        for name, *values in typing(arguments.text):
            session.send(name, *values)
    if arguments.press:
        report["presses"] = press(session, taker, arguments)
    if arguments.wait_rumble:
        session.rumbled.wait(arguments.seconds)
    if arguments.answer_rumble and session.rumbled.wait(arguments.seconds):
        name, *values = ANSWER
        session.send(name, *values)
        session.stilled.wait(arguments.seconds)
        end = time.monotonic()
    for index in range(arguments.idr):
        wait_until(session, end - arguments.seconds * (1 - (index + 1) / (arguments.idr + 1)))
        session.request_idr()
    wait_until(session, time.monotonic() if arguments.press else end)
    if "input" in report and not session.is_terminated:
        name, *values = FAREWELL
        report["input"].append([name, session.send(name, *values)])
        wait_until(session, time.monotonic() + 0.2)


def press(session, taker, arguments):
    """Presses a key some times, each when a picture has changed its colour by the one before. Times
    in microseconds: sent, received, decoded; and what the host needed from capture to sending."""
    onlooker, presses = Onlooker(taker, arguments.codec), []
    # The program takes a while to be there, and shows that by changing its colour.
    onlooker.look(time.monotonic() + arguments.seconds)
    for _ in range(arguments.press):
        # No frame of the display is nearer than another.
        wait_until(session, time.monotonic() + random.uniform(0.15, 0.2))
        sent_us = now_us()
        for action in (DOWN, UP):
            session.send("LiSendKeyboardEvent", 0x8041 - 0x10000, action, 0)
        seen = onlooker.look(time.monotonic() + 5)
        if seen is None:
            break
        received_us, decoded_us, unit = seen
        presses.append([sent_us, received_us, decoded_us, unit.host_processing_latency_us * 100])
    return presses


def typing(text):
    if text is None:
        return TYPING
    return [("LiSendUtf8TextEvent", text.encode(), len(text.encode()))]


def wait_until(session, end, is_there=None):
    while not session.is_terminated and (left := end - time.monotonic()) > 0:
        if is_there and is_there():
            return
        session._connection_terminated.wait(min(left, 0.05) if is_there else left)


def parse():
    parser = argparse.ArgumentParser(description="streams with the stock client")
    parser.add_argument("--host", required=True, help="as URLs have it")
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--identity", required=True, help="the folder of a client that is paired")
    parser.add_argument("--app", default="Desktop")
    parser.add_argument("--codec", choices=RFI, default="h264")
    parser.add_argument("--mode", default="1280x720x60", metavar="WIDTHxHEIGHTxFPS")
    parser.add_argument("--refresh-x100", type=int, default=0)
    parser.add_argument("--bitrate", type=int, default=20000, metavar="KBPS")
    parser.add_argument("--packet-size", type=int, default=1392)
    parser.add_argument("--colour", choices=MATRICES, default="601")
    parser.add_argument("--full-range", action="store_true")
    parser.add_argument("--audio", choices=AUDIO, default="stereo")
    parser.add_argument("--seconds", type=float, default=5, help="from the first frame on")
    parser.add_argument("--rfi", action="store_true", help="reference frames may be invalidated")
    parser.add_argument("--plain-video", action="store_true", help="only sound is encrypted")
    parser.add_argument("--type", type=int, default=0, metavar="COUNT", help="once a second")
    parser.add_argument("--text", help="what is typed, instead of a bit of everything")
    parser.add_argument("--plain-rtsp", action="store_true", help="as clients of before 2024 do")
    parser.add_argument("--idr", type=int, default=0, metavar="COUNT", help="ask for so many")
    parser.add_argument("--input", action="store_true", help="send every kind of input once")
    parser.add_argument("--input-when", metavar="FILE", help="as soon as there is such a file")
    parser.add_argument("--press", type=int, default=0, metavar="COUNT", help="each when the last is seen, and then end")
    parser.add_argument(
        "--answer-rumble", action="store_true",
        help="press something when the gamepad rumbles, and end when that ends",
    )
    parser.add_argument("--wait-rumble", action="store_true", help="no longer than --seconds")
    parser.add_argument("--record", metavar="FILE", help="keep the access units")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--quit", action="store_true", help="cancel the app at the end")
    return parser.parse_args()


def main():
    arguments = parse()
    report = {"error": None}
    try:
        stream(arguments, report)
    except StreamStartError as error:
        stage = report.get("stages", [None])[-1:]
        report["error"] = {
            "kind": "StreamStartError", "message": str(error), "stage": stage[0] if stage else None,
            "code": error.error_code,
        }
    except HttpResponseError as error:
        report["error"] = {
            "kind": "HttpResponseError", "message": str(error), "status": error.status_code,
        }
    except (MoonlightError, requests.RequestException) as error:
        report["error"] = {"kind": type(error).__name__, "message": str(error)}
    print(json.dumps(report), flush=True)
    sys.stderr.flush()
    # Threads of the client may still wait for something.
    os._exit(0)


if __name__ == "__main__":
    main()
