/* The other end, by libenet.
 *
 *   peer server              prints its port on 127.0.0.1, serves one client, prints how it left
 *   peer client PORT COUNT   connects, sends COUNT messages of each kind, takes the echoes, leaves
 *
 * Channel and length say how a message travels: channel 0 and 3 reliable, 1 unreliable, 2
 * unsequenced. Bytes 0 to 3 of a message are its number, the others follow from it. */
#include <enet/enet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 48, LEN_MAX = 100000, PATIENCE_MS = 60000, TURN_MS = 5 };

static const enet_uint32 FLAGS[4] = {
    ENET_PACKET_FLAG_RELIABLE,
    ENET_PACKET_FLAG_UNRELIABLE_FRAGMENT,
    ENET_PACKET_FLAG_UNSEQUENCED,
    ENET_PACKET_FLAG_RELIABLE,
};

static void fail(const char *what) {
    printf("failed %s\n", what);
    exit(1);
}

/* libenet sleeps as long as it may, whatever is due meanwhile. */
static int next_event(ENetHost *host, ENetEvent *event) {
    for (int waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms += TURN_MS) {
        int result = enet_host_service(host, event, TURN_MS);
        if (result != 0) return result;
    }
    return 0;
}

static enet_uint8 byte_at(enet_uint32 number, size_t index) {
    return index < 4 ? number >> (8 * index) : (enet_uint8)(number * 31 + index * 7 + index / 251);
}

static enet_uint32 number_of(const ENetPacket *packet) {
    enet_uint32 number = 0;
    if (packet->dataLength < 4) fail("short message");
    for (int i = 3; i >= 0; i--) number = number << 8 | packet->data[i];
    for (size_t i = 0; i < packet->dataLength; i++)
        if (packet->data[i] != byte_at(number, i)) fail("damaged message");
    return number;
}

/* No unreliable message is held back because acknowledgements were slow, and no peer given up
 * because one message of a hundred was lost seven times in a row, as happens in bad weather. */
static void be_patient(ENetPeer *peer) {
    enet_peer_throttle_configure(peer, 5000, ENET_PEER_PACKET_THROTTLE_SCALE, 0);
    enet_peer_timeout(peer, 1 << 16, PATIENCE_MS, PATIENCE_MS);
}

static void send_number(ENetPeer *peer, int channel, enet_uint32 number, size_t len) {
    static enet_uint8 data[LEN_MAX];
    for (size_t i = 0; i < len; i++) data[i] = byte_at(number, i);
    if (enet_peer_send(peer, channel, enet_packet_create(data, len, FLAGS[channel])) != 0)
        fail("send");
}

static int serve(void) {
    ENetAddress address = {.host = htonl(INADDR_LOOPBACK), .port = 0};
    ENetHost *host = enet_host_create(&address, 1, CHANNELS, 0, 0);
    ENetEvent event;
    if (host == NULL) fail("host");
    printf("port %u\n", host->address.port);
    fflush(stdout);
    while (next_event(host, &event) > 0) {
        switch (event.type) {
        case ENET_EVENT_TYPE_CONNECT:
            printf("connect %u %zu\n", event.data, event.peer->channelCount);
            be_patient(event.peer);
            break;
        case ENET_EVENT_TYPE_RECEIVE:
            number_of(event.packet);
            /* Sent back as it came. */
            event.packet->flags = FLAGS[event.channelID & 3];
            if (enet_peer_send(event.peer, event.channelID, event.packet) != 0) fail("echo");
            break;
        case ENET_EVENT_TYPE_DISCONNECT:
            printf("disconnect %u\n", event.data);
            enet_host_flush(host);
            return 0;
        default:
            break;
        }
    }
    fail("patience");
    return 1;
}

static void send_numbers(ENetPeer *peer, enet_uint32 first, enet_uint32 last) {
    for (enet_uint32 number = first; number <= last; number++) {
        for (int channel = 0; channel < 3; channel++)
            send_number(peer, channel, number, 4 + number * 13 % 800);
        if (number % 10 == 0) send_number(peer, 3, number, 300 * number);
    }
}

static int call(enet_uint16 port, enet_uint32 count) {
    ENetAddress address = {.host = htonl(INADDR_LOOPBACK), .port = port};
    ENetHost *host = enet_host_create(NULL, 1, 0, 0, 0);
    ENetPeer *peer = host ? enet_host_connect(host, &address, CHANNELS, 0xdeadbeef) : NULL;
    enet_uint32 echoes[4] = {0}, last = 0;
    ENetEvent event;
    int is_leaving = 0;
    if (peer == NULL) fail("host");
    while (next_event(host, &event) > 0) {
        switch (event.type) {
        case ENET_EVENT_TYPE_CONNECT:
            printf("connect %zu\n", peer->channelCount);
            be_patient(peer);
            /* libenet waits half a second for each acknowledgement until it has measured a round
             * trip, and twice as long after each loss; after half a minute of that it gives up. So
             * the rest follows when the first has come back. */
            send_numbers(peer, 1, 1);
            break;
        case ENET_EVENT_TYPE_RECEIVE: {
            enet_uint32 number = number_of(event.packet);
            if (event.channelID > 3) fail("channel");
            if (event.channelID == 0 && number != echoes[0] + 1) fail("reliable order");
            if (event.channelID == 1 && number <= last) fail("unreliable order");
            if (event.channelID == 1) last = number;
            if (event.channelID == 3 && number != 10 * (echoes[3] + 1)) fail("fragment order");
            echoes[event.channelID]++;
            enet_packet_destroy(event.packet);
            if (event.channelID == 0 && number == 1) {
                send_numbers(peer, 2, count);
                send_number(peer, 1, count + 1, 3000);
            }
            if (echoes[0] == count && echoes[3] == count / 10 && !is_leaving) {
                is_leaving = 1;
                enet_peer_disconnect_later(peer, 77);
            }
            break;
        }
        case ENET_EVENT_TYPE_DISCONNECT:
            if (!is_leaving) fail("disconnected");
            printf("echoes %u %u %u %u\n", echoes[0], echoes[1], echoes[2], echoes[3]);
            return 0;
        default:
            break;
        }
    }
    fail("patience");
    return 1;
}

int main(int argc, char **argv) {
    if (enet_initialize() != 0) fail("initialize");
    if (argc == 2 && strcmp(argv[1], "server") == 0) return serve();
    if (argc == 4 && strcmp(argv[1], "client") == 0) return call(atoi(argv[2]), atoi(argv[3]));
    fprintf(stderr, "usage: peer server | client PORT COUNT\n");
    return 2;
}
