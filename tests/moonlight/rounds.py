"""The stock client comes and goes, again and again, and ends in every way there is.

usage: rounds.py HOST PORT FIRST COUNT IDENTITY...

HOST is as URLs have it, PORT the one for HTTP, each IDENTITY a folder with the identity of a client
that the host is paired with. Rounds are numbered, from FIRST on; the number decides who comes and
how the round ends. Each is a process of its own: the client's library is made for one connection.
With COUNT 0 all clients cancel what they have. Prints one object of JSON at the end.
"""

import json
import os
import signal
import sys
import time

from moonlight_python.config import CODEC_MAP, StreamConfig
from moonlight_python.http_client import NvHTTP
from moonlight_python.identity import Identity
from stream import AUDIO, Session

# Of one round, in seconds.
PATIENCE = 30
# What a round says before it may end.
DONE = b"done"


class Round:
    """One stay of one client, in this process."""

    def __init__(self, host, port, identity, say):
        self.host, self.say = host, say
        self.http = NvHTTP(host, Identity(identity), http_port=port)
        self.info = self.http.parse_server_info(self.http.get_server_info())
        [self.app] = self.http.get_app_list()
        self.config = StreamConfig(
            width=320, height=180, fps=60, bitrate_kbps=2000, codec="h264",
            supported_video_formats=CODEC_MAP["h264"], audio_configuration=AUDIO["stereo"],
        )
        self.key, self.iv = os.urandom(16), os.urandom(16)
        self.url, self.session = None, Session({}, 0)

    def launch(self):
        config = self.config
        self.url = self.http.launch_app(
            self.app.id, config.width, config.height, config.fps, config.bitrate_kbps,
            config.supported_video_formats, self.key, self.iv, config.surroundaudioinfo,
            launch_query_params="corever=1",
        )

    def connect(self):
        """Until there is a picture."""
        self.session.start(
            self.host.strip("[]"), self.info.app_version, self.info.gfe_version,
            self.info.server_codec_mode_support, self.url, self.config, self.key, self.iv,
            capture_audio=True,
        )
        while self.session.pull_frame() is None:
            if self.session.is_terminated:
                raise ValueError(f"terminated: {self.session.termination_error & 0xFFFFFFFF:#x}")

    def vanish(self):
        """Nothing is said to the host any more."""
        self.say(DONE)
        os.kill(os.getpid(), signal.SIGKILL)

    def expect_free(self):
        text = self.http.open_https("serverinfo")  # as this client sees it
        if "<state>SUNSHINE_SERVER_FREE</state>" not in text:
            raise ValueError(f"an app is not over: {text}")

    # How a round may end.

    def leaves(self):
        self.launch()
        self.connect()
        self.session.stop()

    def vanishes(self):
        self.launch()
        self.connect()
        self.vanish()

    def cancels(self):
        self.launch()
        self.connect()
        self.http.quit_app()
        if not self.session._connection_terminated.wait(PATIENCE):
            raise ValueError("not told that the app is over")
        if self.session.termination_error != 0:
            raise ValueError(f"told {self.session.termination_error & 0xFFFFFFFF:#x}")
        self.expect_free()
        self.session.stop()

    def cancels_only(self):
        self.http.quit_app()
        self.expect_free()

    def has_no_control_stream(self):
        """RTSP is over, up to PLAY, when the control stream is to be connected."""

        self.session.stages = self
        self.launch()
        self.connect()

    def append(self, stage):
        """Takes the place of the session's list of stages."""
        if self.session.stage_name(stage) == "control stream establishment":
            self.vanish()

    def has_no_rtsp(self):
        self.launch()

    def resumes(self):
        self.launch()
        self.url = self.http.resume_app(
            self.key, self.iv, self.config.surroundaudioinfo, launch_query_params="corever=1"
        )
        self.connect()
        self.session.stop()


ENDS = ["leaves", "vanishes", "cancels", "has_no_control_stream", "has_no_rtsp", "resumes"]


def run(host, port, identity, end):
    """A round in a process of its own. Returns what went wrong, if anything."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        said = DONE
        try:
            getattr(Round(host, port, identity, lambda what: os.write(writer, what)), end)()
        except Exception as error:  # whatever it is, the other process says it
            said = f"{type(error).__name__}: {error}".encode()
        os.write(writer, said)
        # Threads of the client may still wait for something.
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    return None if said == DONE else f"{said.decode()} (status {status:#x})"


def plan(number, identities):
    """Who comes in a round, and how it ends."""
    turn, end = divmod(number, len(ENDS))
    first, *others = identities
    # The first one is missed before it comes again; the others come in every way after every other.
    if ENDS[end] == "vanishes" and turn % 2 == 0:
        return first, ENDS[end]
    return others[(turn + end) % len(others)], ENDS[end]


def main():
    host, port, first, count, *identities = sys.argv[1:]
    first, count = int(first), int(count)
    rounds = [plan(number, identities) for number in range(first, first + count)]
    if count == 0:
        rounds = [(identity, "cancels_only") for identity in identities]
    began, failures = time.monotonic(), []
    for number, (identity, end) in enumerate(rounds, first):
        failure = run(host, int(port), identity, end)
        if failure is not None:
            failures.append([number, end, failure])
    print(json.dumps({"failures": failures, "seconds": round(time.monotonic() - began, 1)}))


if __name__ == "__main__":
    main()
