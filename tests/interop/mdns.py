"""An mDNS client for mdns.sh. find NAME: prints addresses and port of that host. watch: prints
hosts as they come and go. ask: puts a question as an old resolver would, from a port of its own."""

import socket
import struct
import sys
import time

from zeroconf import ServiceBrowser, Zeroconf

KIND = "_nvstream._tcp.local."


def find(name):
    zeroconf = Zeroconf()
    try:
        info = zeroconf.get_service_info(KIND, f"{name}.{KIND}", timeout=3000)
    finally:
        zeroconf.close()
    if info is None:
        sys.exit("not found")
    # Some versions show the one empty string of an empty TXT record as a property without a name.
    if not info.server.startswith("punktfunk-") or any(info.properties):
        sys.exit(f"odd: {info}")
    for address in info.parsed_addresses():
        print(address)
    print(info.port)


class Watcher:
    def tell(self, what, name):
        print(what, name.removesuffix("." + KIND), flush=True)

    def add_service(self, zeroconf, kind, name):
        self.tell("added", name)

    def update_service(self, zeroconf, kind, name):
        pass

    def remove_service(self, zeroconf, kind, name):
        self.tell("removed", name)


def watch():
    browser = ServiceBrowser(Zeroconf(), KIND, Watcher())
    while browser.is_alive():
        time.sleep(1)


def ask():
    labels = b"".join(bytes([len(label)]) + label.encode() for label in KIND.split("."))
    question = labels + struct.pack("!HH", 12, 1)
    interface = socket.if_nametoindex("eth0")
    families = [
        (socket.AF_INET, ("224.0.0.251", 5353)),
        (socket.AF_INET6, ("ff02::fb", 5353, 0, interface)),
    ]
    for family, group in families:
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(3)
            if family == socket.AF_INET:
                way = struct.pack("=4s4si", bytes(4), bytes(4), interface)
                client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, way)
            client.sendto(struct.pack("!6H", 4711, 0, 1, 0, 0, 0) + question, group)
            answer, source = client.recvfrom(9000)
        number, flags, questions, answers = struct.unpack("!4H", answer[:8])
        expected = (4711, 0x8400, 1, 1, True)
        seen = (number, flags, questions, answers, answer[12:].startswith(question))
        if seen != expected or source[1] != 5353:
            sys.exit(f"odd: {answer} from {source}")


if __name__ == "__main__":
    {"find": find, "watch": watch, "ask": ask}[sys.argv[1]](*sys.argv[2:])
