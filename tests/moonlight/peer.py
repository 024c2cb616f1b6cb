"""The stock client of GameStream, told what to do by lines on standard input.

usage: peer.py HOST PORT FOLDER

HOST is as URLs have it, PORT the one for HTTP, FOLDER where the client keeps its identity. A line
is a JSON list: what to do, and with what. Each is answered by a line of JSON, {"ok": ...} or
{"error": ..., "message": ..., "status": ...}.
"""

import hashlib
import json
import os
import sys

import requests
from moonlight_python import MoonlightClient
from moonlight_python.exceptions import HttpResponseError, MoonlightError
from moonlight_python.http_client import NvHTTP
from moonlight_python.identity import Identity
from moonlight_python.pairing import pair

# Stereo, as the client asks for it: channel mask and count.
SURROUND_AUDIO_INFO = 196610


class Peer:
    def __init__(self, host, port, folder):
        self.host, self.port, self.folder = host, port, folder
        self.identity = Identity(folder)
        self.http = NvHTTP(host, self.identity, http_port=port)

    def apps(self):
        return [app.name for app in self.http.get_app_list()]

    def connect(self):
        """All that a user writes; a PIN is shown on standard output if one is needed."""
        client = MoonlightClient(self.folder)
        server = client.connect(self.host, self.port)
        return {"host": server.hostname, "apps": [app.name for app in client.apps()]}

    def fingerprint(self):
        return hashlib.sha256(self.identity.cert_der).hexdigest()

    def info(self):
        """What the host says of itself, over HTTPS once it is paired with."""
        xml = self.http.get_server_info(use_https=True)
        server = self.http.parse_server_info(xml)
        return {
            "paired": server.paired, "unique_id": server.unique_id, "app": server.current_game,
        }

    def launch(self, title):
        [app] = [app for app in self.http.get_app_list() if app.name == title]
        return self.http.launch_app(
            app.id, 1280, 720, 60, 20000, 1, bytes(16), bytes(16), SURROUND_AUDIO_INFO,
            launch_query_params="corever=1",
        )

    def pair(self, pin):
        server = self.http.parse_server_info(self.http.get_server_info())
        certificate = pair(self.http, self.identity, pin, server)
        self.http.server_cert_pem = certificate
        return certificate.decode()

    def quit(self):
        return self.http.quit_app()

    def resume(self):
        return self.http.resume_app(bytes(16), bytes(16), SURROUND_AUDIO_INFO)


def main():
    host, port, folder = sys.argv[1:]
    peer = Peer(host, int(port), folder)
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        try:
            answer = {"ok": getattr(peer, what)(*arguments)}
        except (MoonlightError, requests.RequestException) as error:
            status = error.status_code if isinstance(error, HttpResponseError) else None
            answer = {"error": type(error).__name__, "message": str(error), "status": status}
        print(json.dumps(answer), flush=True)
    # Threads of the client may still wait for something.
    os._exit(0)


main()
