/* A program that uses all of punktfunk_core.h, and ends with 0 if all of it does what it says. */

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "punktfunk_core.h"

/* Sizes and offsets as the library has them: _Static_assert, one a line. */
#include "layout.h"

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);     \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

#define FRAME_US 16667
#define UNIT_LEN_MAX 60000

/* Two ends of a session, and what is between them. */
struct pair {
    punktfunk_session host, client;
    punktfunk_link link;
    uint64_t now_us;
    uint32_t received_count, lost_count;
    /* Of the next event. */
    uint32_t next;
};

static struct punktfunk_keys keys(uint8_t number) {
    struct punktfunk_keys keys;
    memset(keys.key, number, sizeof keys.key);
    memset(keys.iv, number ^ 0xff, sizeof keys.iv);
    return keys;
}

static struct punktfunk_config config(uint32_t role, uint8_t number) {
    struct punktfunk_config config = {.struct_size = sizeof config, .role = role};
    bool is_host = role == PUNKTFUNK_ROLE_HOST;
    config.send = keys(2 * number + is_host);
    config.receive = keys(2 * number + !is_host);
    config.unit_len_max = UNIT_LEN_MAX;
    return config;
}

/* The bytes of an access unit, which follow from its number and length. */
static void fill(uint8_t *bytes, uint32_t index, size_t len) {
    for (size_t at = 0; at < len; at++) {
        bytes[at] = (uint8_t)((at * 31 + at / 256) ^ (index * 0x9e3779b1u >> 8));
    }
}

static size_t len_of(uint32_t index) {
    return 1 + (index * 7919u) % UNIT_LEN_MAX;
}

static struct pair open_pair(uint8_t number, struct punktfunk_link_options options) {
    struct pair pair = {.now_us = 5000000, .next = 1};
    struct punktfunk_config of_host = config(PUNKTFUNK_ROLE_HOST, number);
    struct punktfunk_config of_client = config(PUNKTFUNK_ROLE_CLIENT, number);
    of_host.parity_percent = 25;
    options.struct_size = sizeof options;
    CHECK(punktfunk_session_open(&of_host, &pair.host) == 0);
    CHECK(punktfunk_session_open(&of_client, &pair.client) == 0);
    CHECK(punktfunk_link_open(&options, &pair.link) == 0);
    return pair;
}

static void close_pair(struct pair *pair) {
    CHECK(punktfunk_session_close(pair->host) == 0);
    CHECK(punktfunk_session_close(pair->client) == 0);
    CHECK(punktfunk_link_close(pair->link) == 0);
}

static int32_t submit(struct pair *pair, uint32_t index, size_t len) {
    uint8_t *bytes = malloc(len);
    CHECK(bytes != NULL);
    fill(bytes, index, len);
    struct punktfunk_unit unit = {
        .struct_size = sizeof unit,
        .flags = index % 30 == 1 ? PUNKTFUNK_UNIT_IDR : 0,
        .bytes = bytes,
        .len = len,
        .captured_us = pair->now_us - 4000,
        .latency_us = 4000,
        .epoch = 3,
    };
    uint32_t given = 0;
    int32_t status = punktfunk_host_submit(pair->host, &unit, &given, pair->now_us);
    CHECK(status != 0 || given == index);
    /* It was copied. */
    memset(bytes, 0, len);
    free(bytes);
    return status;
}

/* Takes what the client has to tell, in order and byte for byte as it was sent. */
static void poll_events(struct pair *pair) {
    static _Thread_local uint8_t expected[UNIT_LEN_MAX];
    struct punktfunk_event event = {.struct_size = sizeof event};
    int32_t status;
    while ((status = punktfunk_client_poll_event(pair->client, &event, pair->now_us)) == 1) {
        CHECK(event.struct_size == sizeof event);
        CHECK(event.first == pair->next && event.last >= event.first);
        pair->next = event.last + 1;
        if (event.kind == PUNKTFUNK_EVENT_LOST) {
            CHECK(event.bytes == NULL && event.len == 0);
            pair->lost_count += event.last - event.first + 1;
            continue;
        }
        CHECK(event.kind == PUNKTFUNK_EVENT_UNIT && event.first == event.last);
        CHECK(event.flags == (event.first % 30 == 1 ? PUNKTFUNK_UNIT_IDR : 0));
        CHECK(event.len == len_of(event.first) && event.epoch == 3 && event.latency_us == 4000);
        fill(expected, event.first, event.len);
        CHECK(memcmp(event.bytes, expected, event.len) == 0);
        pair->received_count++;
    }
    CHECK(status == 0);
}

static void step(struct pair *pair, uint32_t index) {
    CHECK(submit(pair, index, len_of(index)) == 0);
    CHECK(punktfunk_link_carry(pair->link, pair->host, pair->client, pair->now_us) >= 0);
    poll_events(pair);
    pair->now_us += FRAME_US;
    poll_events(pair);
}

static struct punktfunk_stats stats_of(punktfunk_session session) {
    struct punktfunk_stats stats = {.struct_size = sizeof stats};
    CHECK(punktfunk_session_stats(session, &stats) == 0);
    CHECK(stats.version == PUNKTFUNK_STATS_VERSION);
    return stats;
}

static void sessions_run_side_by_side_over_ways_that_lose(void) {
    enum { PAIR_COUNT = 3, UNIT_COUNT = 300 };
    struct pair pairs[PAIR_COUNT];
    for (uint8_t at = 0; at < PAIR_COUNT; at++) {
        struct punktfunk_link_options options = {.seed = at + 1u};
        if (at > 0) {
            options.loss_ppm = 50000;
            options.burst_len = at == 2 ? 12 : 1;
            options.repeat_ppm = 20000;
            options.disorder_ppm = 20000;
        }
        pairs[at] = open_pair(at, options);
    }
    for (uint32_t index = 1; index <= UNIT_COUNT; index++) {
        for (int at = 0; at < PAIR_COUNT; at++) {
            step(&pairs[at], index);
        }
    }
    for (int at = 0; at < PAIR_COUNT; at++) {
        struct pair *pair = &pairs[at];
        struct punktfunk_stats sent = stats_of(pair->host), came = stats_of(pair->client);
        CHECK(sent.units_sent == UNIT_COUNT && sent.unit_len.count == UNIT_COUNT);
        CHECK(sent.bytes_sent == 1452 * sent.packets_sent);
        CHECK(sent.host_us.p50 == 4000 && sent.host_us.min == 4000);
        CHECK(came.units_received == pair->received_count && came.units_lost == pair->lost_count);
        CHECK(came.unit_len.count == came.units_received);
        CHECK(came.refused_header + came.refused_phase + came.refused_tag == 0);
        CHECK(came.shards_refused == 0);
        CHECK(came.packets_received + came.packets_dropped + came.packets_missing
              - came.packets_late <= sent.packets_sent);
        /* What is missing is known as dropped soon, however long the window is. */
        CHECK(came.packets_missing < 200);
        if (at == 0) {
            CHECK(came.packets_received == sent.packets_sent && came.shards_recovered == 0);
            CHECK(pair->lost_count == 0);
        } else {
            CHECK(came.packets_received < sent.packets_sent && came.shards_recovered > 20);
            CHECK(came.refused_replay > 0 && came.packets_dropped + came.packets_missing > 100);
        }
        /* Bursts of twelve are more than short access units have parity for. */
        CHECK((pair->lost_count > 0) == (at == 2) || at == 1);
        CHECK(pair->received_count > UNIT_COUNT * 3 / 4);
    }
    for (int at = 0; at < PAIR_COUNT; at++) {
        close_pair(&pairs[at]);
    }
}

static void datagrams_go_through_the_hands_of_the_program(void) {
    struct pair pair = open_pair(9, (struct punktfunk_link_options){.seed = 1});
    uint8_t *room = malloc(1 << 20);
    size_t len = 0;
    CHECK(room != NULL);
    CHECK(punktfunk_session_poll_datagrams(pair.host, room, 1 << 20, &len, pair.now_us) == 0);
    CHECK(submit(&pair, 1, len_of(1)) == 0);
    CHECK(submit(&pair, 2, len_of(2)) == PUNKTFUNK_STATUS_FULL);
    CHECK(punktfunk_session_poll_datagrams(pair.host, room, 1451, &len, pair.now_us)
          == PUNKTFUNK_STATUS_ROOM);

    /* Two at a time, as a program might send them by segmentation offload. */
    size_t count = 0;
    int32_t polled;
    pair.now_us += 250;
    while ((polled = punktfunk_session_poll_datagrams(pair.host, room + count * 1452, 2 * 1452 + 7,
                                                      &len, pair.now_us)) > 0) {
        CHECK(polled <= 2 && len == 1452);
        count += (size_t)polled;
    }
    CHECK(polled == 0 && count == stats_of(pair.host).packets_sent);
    CHECK(stats_of(pair.host).send_us.max == 250 && stats_of(pair.host).send_us.count == 1);
    CHECK(stats_of(pair.host).protect_ns.count == 1 && stats_of(pair.host).seal_ns.count == 1);

    /* What is forged does nothing, what is genuine does it once. */
    uint8_t *copy = malloc(count * 1452);
    CHECK(copy != NULL);
    memcpy(copy, room, count * 1452);
    copy[1451] ^= 1;
    CHECK(punktfunk_session_handle_datagrams(pair.client, copy, 1452, 1452, pair.now_us) == 0);
    memcpy(copy, room, count * 1452);
    int32_t taken = punktfunk_session_handle_datagrams(pair.client, copy, count * 1452, 1452,
                                                       pair.now_us);
    CHECK(taken == (int32_t)count);
    memcpy(copy, room, count * 1452);
    CHECK(punktfunk_session_handle_datagrams(pair.client, copy, count * 1452, 1452, 0) == 0);
    struct punktfunk_stats stats = stats_of(pair.client);
    CHECK(stats.refused_tag == 1 && stats.refused_replay == count);
    free(copy);

    /* What was lent stays while others come. */
    struct punktfunk_event event = {.struct_size = sizeof event};
    CHECK(punktfunk_client_poll_event(pair.client, &event, pair.now_us) == 1);
    for (uint32_t index = 2; index < 9; index++) {
        CHECK(submit(&pair, index, len_of(index)) == 0);
        CHECK(punktfunk_link_carry(pair.link, pair.host, pair.client, pair.now_us) > 0);
    }
    uint8_t *expected = malloc(len_of(1));
    CHECK(expected != NULL);
    fill(expected, 1, len_of(1));
    CHECK(event.len == len_of(1) && memcmp(event.bytes, expected, event.len) == 0);
    free(expected);
    pair.next = 2;
    poll_events(&pair);
    CHECK(pair.received_count == 7);

    /* An access unit that is whole waits as long as it was told, for the one before it. */
    uint64_t at_us = 0;
    CHECK(punktfunk_client_poll_timeout(pair.client, &at_us) == 0);
    CHECK(submit(&pair, 9, len_of(9)) == 0);
    while (punktfunk_session_poll_datagrams(pair.host, room, 1 << 20, &len, pair.now_us) > 0) {
        CHECK(punktfunk_session_note_send_dropped(pair.host, 3) == 0);
    }
    CHECK(stats_of(pair.host).packets_send_dropped == 3);
    CHECK(punktfunk_session_note_receive_dropped(pair.client, 4) == 0);
    for (uint32_t bits = 0; bits < 4; bits++) {
        CHECK(punktfunk_session_note_ecn(pair.client, bits, 10 + bits) == 0);
    }
    CHECK(punktfunk_session_note_ecn(pair.client, 4, 1) == PUNKTFUNK_STATUS_VALUE);
    stats = stats_of(pair.client);
    CHECK(stats.packets_receive_dropped == 4 && stats.packets_ce == 13);
    CHECK(stats.packets_ect_0 == 12 && stats.packets_ect_1 == 11);
    CHECK(submit(&pair, 10, len_of(10)) == 0);
    CHECK(punktfunk_link_carry(pair.link, pair.host, pair.client, pair.now_us) > 0);
    CHECK(punktfunk_client_poll_event(pair.client, &event, pair.now_us) == 0);
    CHECK(punktfunk_client_poll_timeout(pair.client, &at_us) == 1 && at_us == pair.now_us + 5000);
    pair.now_us = at_us;
    poll_events(&pair);
    CHECK(pair.lost_count == 1 && pair.received_count == 8);

    /* One of which a part has come is given up without any behind it. */
    CHECK(submit(&pair, 11, len_of(11)) == 0);
    CHECK(punktfunk_session_poll_datagrams(pair.host, room, 1 << 20, &len, pair.now_us) > 1);
    CHECK(punktfunk_session_handle_datagrams(pair.client, room, len, len, pair.now_us) == 1);
    CHECK(punktfunk_client_poll_timeout(pair.client, &at_us) == 1);
    CHECK(at_us == pair.now_us + 50000);
    poll_events(&pair);
    CHECK(pair.lost_count == 1);
    pair.now_us = at_us;
    poll_events(&pair);
    CHECK(pair.lost_count == 2 && pair.next == 12);

    /* The time between the first and the last datagram is told. */
    CHECK(submit(&pair, 12, len_of(12)) == 0);
    int32_t rest = punktfunk_session_poll_datagrams(pair.host, room, 1 << 20, &len, pair.now_us);
    CHECK(rest > 1);
    punktfunk_session_handle_datagrams(pair.client, room, len, len, pair.now_us);
    punktfunk_session_handle_datagrams(pair.client, room + len, (size_t)(rest - 1) * len, len,
                                       pair.now_us + 700);
    CHECK(punktfunk_client_poll_event(pair.client, &event, pair.now_us + 700) == 1);
    CHECK(event.assembly_us == 700 && stats_of(pair.client).assembly_us.max == 700);
    free(room);
    close_pair(&pair);
}

static void keys_and_parity_change_on_the_way(void) {
    struct pair pair = open_pair(20, (struct punktfunk_link_options){.seed = 1});
    for (uint32_t index = 1; index <= 40; index++) {
        if (index == 10) {
            struct punktfunk_keys next = keys(200);
            CHECK(stats_of(pair.client).is_key_wanted == 1);
            CHECK(punktfunk_session_next_receive_phase(pair.client, &next) == 0);
            CHECK(punktfunk_session_next_receive_phase(pair.client, &next)
                  == PUNKTFUNK_STATUS_EARLY);
            CHECK(punktfunk_session_next_send_phase(pair.host, &next) == 0);
        }
        if (index == 20 || index == 30) {
            uint64_t before = stats_of(pair.host).parity_packets_sent;
            uint32_t percent = index == 20 ? PUNKTFUNK_NONE : 100;
            CHECK(punktfunk_host_set_parity_percent(pair.host, percent) == 0);
            step(&pair, index);
            uint64_t parity = stats_of(pair.host).parity_packets_sent - before;
            CHECK((parity > 0) == (index == 30));
            continue;
        }
        step(&pair, index);
    }
    CHECK(pair.received_count == 40);
    struct punktfunk_stats sent = stats_of(pair.host), came = stats_of(pair.client);
    CHECK(sent.send_phase == 1 && came.receive_phase == 1 && came.is_key_wanted == 1);
    CHECK(sent.receive_phase == 0 && came.send_phase == 0 && sent.is_key_due == 0);
    /* To a client that does not have the next keys, nothing comes. */
    struct punktfunk_keys next = keys(201);
    CHECK(punktfunk_session_next_send_phase(pair.host, &next) == 0);
    CHECK(submit(&pair, 41, 100) == 0);
    CHECK(punktfunk_link_carry(pair.link, pair.host, pair.client, pair.now_us) > 0);
    CHECK(stats_of(pair.client).refused_phase > 0);
    CHECK(punktfunk_session_next_send_phase(pair.client, &next) == 0);
    CHECK(punktfunk_session_next_receive_phase(pair.host, &next) == 0);
    close_pair(&pair);
}

static void an_access_unit_keeps_the_parity_that_it_was_submitted_with(void) {
    struct punktfunk_config of_host = config(PUNKTFUNK_ROLE_HOST, 90);
    struct pair pair = {.now_us = 5000000};
    uint8_t room[1452];
    size_t len = 0;
    of_host.block_data_max = 4;
    of_host.parity_percent = 25;
    CHECK(punktfunk_session_open(&of_host, &pair.host) == 0);

    /* 15 data shards in four blocks, each with one of parity; then with as many as of data. */
    for (uint32_t index = 1; index <= 2; index++) {
        uint64_t before = stats_of(pair.host).packets_sent;
        CHECK(submit(&pair, index, 20000) == 0);
        CHECK(punktfunk_host_set_parity_percent(pair.host, 100) == 0);
        while (punktfunk_session_poll_datagrams(pair.host, room, sizeof room, &len, 0) == 1) {
        }
        CHECK(stats_of(pair.host).packets_sent - before == (index == 1 ? 19 : 30));
    }
    CHECK(stats_of(pair.host).parity_packets_sent == 4 + 15);
    CHECK(punktfunk_session_close(pair.host) == 0);
}

/* Sends the ping that is due from an address, and the answer back, each within a millisecond. */
static void ping(struct pair *pair, const struct punktfunk_address *from, uint8_t chance) {
    uint8_t sent[PUNKTFUNK_PING_LEN], answer[PUNKTFUNK_PING_LEN], token[16] = {0};
    uint64_t at_us = 0;
    token[0] = chance;
    CHECK(punktfunk_client_poll_ping(pair->client, sent, &at_us, pair->now_us) == 1);
    CHECK(at_us > pair->now_us);
    pair->now_us += 1000;
    CHECK(punktfunk_host_handle_datagram_from(pair->host, sent, sizeof sent, from, token, answer,
                                              pair->now_us) == 2);
    pair->now_us += 1000;
    CHECK(punktfunk_session_handle_datagrams(pair->client, answer, sizeof answer, sizeof answer,
                                             pair->now_us) == 1);
    CHECK(punktfunk_client_poll_ping(pair->client, sent, &at_us, pair->now_us) == 0);
    pair->now_us = at_us;
}

static void media_go_where_pings_come_from_and_what_is_lost_is_known_by_answers(void) {
    struct pair pair = open_pair(80, (struct punktfunk_link_options){.seed = 1});
    struct punktfunk_address here = {.ip = {[10] = 0xff, 0xff, 192, 0, 2, 1}, .port = 4000};
    struct punktfunk_address there = {.ip = {0x20, 0x01, 0x0d, 0xb8}, .port = 65535}, to;
    struct punktfunk_path path = {.struct_size = sizeof path};
    uint8_t room[4000], token[16] = {1};
    size_t len = 0;
    CHECK(punktfunk_host_media_address(pair.host, &to, pair.now_us) == 0);
    CHECK(punktfunk_client_path(pair.client, &path, pair.now_us) == 0 && path.is_open == 0);

    /* The first ping asks for the token, the second shows it. */
    ping(&pair, &here, 1);
    CHECK(punktfunk_host_media_address(pair.host, &to, pair.now_us) == 0);
    ping(&pair, &here, 2);
    CHECK(punktfunk_host_media_address(pair.host, &to, pair.now_us) == 1);
    CHECK(memcmp(&to, &here, sizeof to) == 0);
    CHECK(punktfunk_client_path(pair.client, &path, pair.now_us) == 0 && path.is_open == 1);
    CHECK(path.rtt_us == 2000 && path.offset_us == 0);

    /* An access unit of which nothing comes is named, as the next answer tells of it. */
    CHECK(submit(&pair, 1, 500) == 0);
    CHECK(punktfunk_session_poll_datagrams(pair.host, room, sizeof room, &len, pair.now_us) > 0);
    ping(&pair, &here, 3);
    pair.now_us += 50000;
    poll_events(&pair);
    CHECK(pair.lost_count == 1);

    /* It moves, and is silent. */
    CHECK(punktfunk_client_rebind(pair.client, pair.now_us) == 0);
    ping(&pair, &there, 4);
    ping(&pair, &there, 5);
    CHECK(punktfunk_host_media_address(pair.host, &to, pair.now_us) == 1);
    CHECK(memcmp(&to, &there, sizeof to) == 0);
    pair.now_us += 5000000;
    CHECK(punktfunk_host_media_address(pair.host, &to, pair.now_us) == 0);
    CHECK(punktfunk_client_path(pair.client, &path, pair.now_us) == 0 && path.is_open == 0);

    /* What is wrong is told. */
    memset(room, 3, sizeof room);
    CHECK(punktfunk_host_handle_datagram_from(pair.host, room, 64, &here, token, room + 100, 0)
          == 0);
    here.port = 65536;
    CHECK(punktfunk_host_handle_datagram_from(pair.host, room, 64, &here, token, room + 100, 0)
          == PUNKTFUNK_STATUS_VALUE);
    here.port = 1;
    token[0] = 0;
    CHECK(punktfunk_host_handle_datagram_from(pair.host, room, 64, &here, token, room + 100, 0)
          == PUNKTFUNK_STATUS_VALUE);
    CHECK(punktfunk_host_handle_datagram_from(pair.host, room, 64, NULL, token, room + 100, 0)
          == PUNKTFUNK_STATUS_NULL);
    token[0] = 1;
    CHECK(punktfunk_host_handle_datagram_from(pair.client, room, 64, &here, token, room + 100, 0)
          == PUNKTFUNK_STATUS_ROLE);
    CHECK(punktfunk_host_media_address(pair.client, &to, 0) == PUNKTFUNK_STATUS_ROLE);
    CHECK(punktfunk_client_rebind(pair.host, 0) == PUNKTFUNK_STATUS_ROLE);
    CHECK(punktfunk_client_path(pair.host, &path, 0) == PUNKTFUNK_STATUS_ROLE);
    CHECK(punktfunk_client_poll_ping(pair.client, room, NULL, 0) == PUNKTFUNK_STATUS_NULL);
    close_pair(&pair);
}

static void a_speed_test_tells_what_the_way_carries(void) {
    struct pair pair = open_pair(95, (struct punktfunk_link_options){.seed = 1});
    struct punktfunk_probe probe = {
        .struct_size = sizeof probe, .test = 7, .rate_kbps = 20000, .duration_ms = 1000};
    struct punktfunk_probe_sent sent = {.struct_size = sizeof sent};
    struct punktfunk_probe_report report = {.struct_size = sizeof report};
    uint8_t room[8 * 1452];
    uint64_t at_us = 0, count = 0, lost = 0;
    size_t len = 0;
    CHECK(punktfunk_host_probe_sent(pair.host, &sent) == PUNKTFUNK_STATUS_EARLY);
    CHECK(punktfunk_client_probe_report(pair.client, NULL, &report) == PUNKTFUNK_STATUS_EARLY);
    CHECK(punktfunk_host_poll_probe(pair.host, room, sizeof room, &len, &at_us, 0) == 0);
    CHECK(at_us == UINT64_MAX);

    /* Of every ten datagrams the way loses one, and the system does not take three at all. */
    CHECK(punktfunk_client_begin_probe(pair.client, 7) == 0);
    CHECK(punktfunk_host_begin_probe(pair.host, &probe, pair.now_us) == 0);
    CHECK(punktfunk_host_poll_probe(pair.host, room, 1451, &len, &at_us, pair.now_us)
          == PUNKTFUNK_STATUS_ROOM);
    for (at_us = pair.now_us; at_us != UINT64_MAX;) {
        pair.now_us = at_us;
        int32_t made = punktfunk_host_poll_probe(pair.host, room, sizeof room, &len, &at_us,
                                                 pair.now_us);
        CHECK(made >= 0 && len == 1452);
        for (int32_t at = 0; at < made; at++, count++) {
            if (count < 3) {
                CHECK(punktfunk_host_note_probe_dropped(pair.host, 1) == 0);
            } else if (count % 10 == 9) {
                lost++;
            } else {
                CHECK(punktfunk_session_handle_datagrams(pair.client, room + (size_t)at * len, len,
                                                         len, pair.now_us + 500) == 1);
            }
        }
    }
    CHECK(punktfunk_host_probe_sent(pair.host, &sent) == 0);
    CHECK(sent.test == 7 && sent.datagrams == count && sent.send_dropped == 3);
    CHECK(count == 20000000 / 8 / 1452 + 1);
    CHECK(punktfunk_client_probe_report(pair.client, &sent, &report) == 0);
    CHECK(report.test == 7 && report.lost == lost && report.received == count - 3 - lost);
    CHECK(report.rate_kbps > 17500 && report.rate_kbps < 18500 && report.queue_us_max == 0);
    CHECK(sent.rate_kbps > 19500 && sent.rate_kbps <= 20100);

    /* What is wrong is told. */
    probe.rate_kbps = 3000001;
    CHECK(punktfunk_host_begin_probe(pair.host, &probe, 0) == PUNKTFUNK_STATUS_VALUE);
    probe.rate_kbps = 1;
    probe.duration_ms = 10001;
    CHECK(punktfunk_host_begin_probe(pair.host, &probe, 0) == PUNKTFUNK_STATUS_VALUE);
    CHECK(punktfunk_host_begin_probe(pair.client, &probe, 0) == PUNKTFUNK_STATUS_ROLE);
    CHECK(punktfunk_client_begin_probe(pair.host, 1) == PUNKTFUNK_STATUS_ROLE);
    CHECK(punktfunk_host_note_probe_dropped(pair.client, 1) == PUNKTFUNK_STATUS_ROLE);
    CHECK(punktfunk_client_probe_report(pair.client, &sent, NULL) == PUNKTFUNK_STATUS_NULL);
    close_pair(&pair);
}

static void sound_is_whole_where_single_datagrams_are_lost(void) {
    struct pair pair = open_pair(25, (struct punktfunk_link_options){
                                         .seed = 3, .loss_ppm = 100000});
    struct punktfunk_sound sound = {.struct_size = sizeof sound};
    uint8_t frame[592], room[2000];
    uint32_t next = 1, lost_count = 0;
    size_t len = 0;
    for (uint32_t index = 1; index <= 400; index++) {
        size_t frame_len = 1 + index * 37 % sizeof frame;
        fill(frame, index, frame_len);
        CHECK(punktfunk_host_submit_sound(pair.host, frame, frame_len, 5000 * index) == 0);
        CHECK(punktfunk_host_submit_sound(pair.host, frame, frame_len, 0)
              == PUNKTFUNK_STATUS_FULL);
        if (index == 100) {
            /* It does not wait for what is under way, and needs no more room than it takes. */
            CHECK(submit(&pair, 1, len_of(1)) == 0);
            CHECK(punktfunk_session_poll_datagrams(pair.host, room, 10, &len, 0)
                  == PUNKTFUNK_STATUS_ROOM);
            CHECK(punktfunk_session_poll_datagrams(pair.host, room, sizeof room, &len, 0) == 1);
            CHECK(len < 1452);
            CHECK(punktfunk_session_handle_datagrams(pair.client, room, len, len, pair.now_us)
                  == 1);
        }
        CHECK(punktfunk_link_carry(pair.link, pair.host, pair.client, pair.now_us) >= 0);
        pair.now_us += 5000;
        while (punktfunk_client_poll_sound(pair.client, &sound, pair.now_us) == 1) {
            CHECK(sound.first == next && sound.last >= next);
            next = sound.last + 1;
            if (sound.bytes == NULL) {
                lost_count += sound.last - sound.first + 1;
                continue;
            }
            fill(frame, sound.first, sound.len);
            CHECK(sound.len == 1 + sound.first * 37 % sizeof frame && sound.sample_count == 240);
            CHECK(memcmp(sound.bytes, frame, sound.len) == 0);
            CHECK(sound.captured_us == 5000 * (uint64_t)sound.first);
        }
    }
    struct punktfunk_stats stats = stats_of(pair.client);
    CHECK(stats_of(pair.host).sound_sent == 400);
    CHECK(stats.sound_lost == lost_count && stats.sound_received + lost_count == next - 1);
    CHECK(next > 395 && lost_count < 20 && stats.sound_recovered > 20);
    CHECK(punktfunk_host_submit_sound(pair.host, frame, 0, 0) == PUNKTFUNK_STATUS_VALUE);
    CHECK(punktfunk_host_submit_sound(pair.host, NULL, 9, 0) == PUNKTFUNK_STATUS_NULL);
    CHECK(punktfunk_host_submit_sound(pair.host, room, 593, 0) == PUNKTFUNK_STATUS_TOO_LONG);
    CHECK(punktfunk_host_submit_sound(pair.client, frame, 9, 0) == PUNKTFUNK_STATUS_ROLE);
    CHECK(punktfunk_client_poll_sound(pair.host, &sound, 0) == PUNKTFUNK_STATUS_ROLE);
    CHECK(punktfunk_client_poll_sound(pair.client, NULL, 0) == PUNKTFUNK_STATUS_NULL);
    close_pair(&pair);
}

static int32_t opened_with(struct punktfunk_config config) {
    punktfunk_session session = 0;
    int32_t status = punktfunk_session_open(&config, &session);
    CHECK((status == 0) == (session != 0));
    CHECK(status != 0 || punktfunk_session_close(session) == 0);
    return status;
}

static void configurations_are_within_their_ranges(void) {
    struct punktfunk_config good = config(PUNKTFUNK_ROLE_HOST, 30), bad;
    struct {
        struct punktfunk_config known;
        uint64_t later[2];
    } longer = {.known = good};
    punktfunk_session session = 0;
    CHECK(opened_with(good) == 0);
    CHECK(punktfunk_session_open(NULL, &session) == PUNKTFUNK_STATUS_NULL);
    CHECK(punktfunk_session_open(&good, NULL) == PUNKTFUNK_STATUS_NULL);

    /* An older program knows less, a newer one more, which it may not use. */
    bad = good;
    bad.struct_size = offsetof(struct punktfunk_config, datagram_len_max);
    bad.datagram_len_max = 1;
    CHECK(opened_with(bad) == 0);
    bad.struct_size -= 1;
    CHECK(opened_with(bad) == PUNKTFUNK_STATUS_STRUCT_SIZE);
    longer.known.struct_size = sizeof longer;
    CHECK(punktfunk_session_open(&longer.known, &session) == 0);
    CHECK(punktfunk_session_close(session) == 0);
    longer.later[1] = 1;
    CHECK(punktfunk_session_open(&longer.known, &session) == PUNKTFUNK_STATUS_STRUCT_SIZE);

#define BAD(member, value)                                                      \
    bad = good;                                                                 \
    bad.member = (value);                                                       \
    CHECK(opened_with(bad) == PUNKTFUNK_STATUS_VALUE)
    BAD(role, 0);
    BAD(role, 3);
    BAD(datagram_len_max, 107);
    BAD(datagram_len_max, 65508);
    BAD(unit_len_max, 67108865);
    BAD(block_data_max, 1001);
    BAD(parity_percent, 101);
    BAD(parity_count_min, 256);
    BAD(frame_count, 1);
    BAD(frame_count, 65);
    BAD(patience_us, 1000001);
    BAD(sound_sample_count, 5761);
    BAD(sound_patience_us, 1000001);
    BAD(stall_us, 1000001);
    BAD(window_len, 1048577);
    BAD(window_len, UINT32_MAX);
    bad = good;
    bad.datagram_len_max = 65507;
    bad.window_len = 1048576;
    CHECK(opened_with(bad) == 0);
}

static void calls_that_are_wrong_are_told_so(void) {
    struct pair pair = open_pair(40, (struct punktfunk_link_options){.seed = 1});
    uint8_t bytes[2000] = {0};
    size_t len = 0;
    uint64_t at_us;
    struct punktfunk_event event = {.struct_size = sizeof event};
    struct punktfunk_stats stats = {.struct_size = sizeof stats};
    struct punktfunk_unit unit = {.struct_size = sizeof unit, .bytes = bytes, .len = 1000}, bad;
    struct punktfunk_sound sound = {.struct_size = sizeof sound};
    struct punktfunk_keys next = keys(1);

    /* Null and nothing. */
    CHECK(punktfunk_host_submit(pair.host, NULL, NULL, 0) == PUNKTFUNK_STATUS_NULL);
    CHECK(punktfunk_session_poll_datagrams(pair.host, NULL, 9, &len, 0)
          == PUNKTFUNK_STATUS_NULL);
    CHECK(punktfunk_session_poll_datagrams(pair.host, bytes, 9, NULL, 0) == PUNKTFUNK_STATUS_NULL);
    CHECK(punktfunk_session_handle_datagrams(pair.client, NULL, 9, 9, 0) == PUNKTFUNK_STATUS_NULL);
    CHECK(punktfunk_session_handle_datagrams(pair.client, bytes, 0, 9, 0)
          == PUNKTFUNK_STATUS_VALUE);
    CHECK(punktfunk_session_handle_datagrams(pair.client, bytes, 9, 0, 0)
          == PUNKTFUNK_STATUS_VALUE);
    CHECK(punktfunk_session_handle_datagrams(pair.client, bytes, SIZE_MAX, 9, 0)
          == PUNKTFUNK_STATUS_VALUE);
    CHECK(punktfunk_client_poll_event(pair.client, NULL, 0) == PUNKTFUNK_STATUS_NULL);
    CHECK(punktfunk_client_poll_timeout(pair.client, NULL) == PUNKTFUNK_STATUS_NULL);
    CHECK(punktfunk_session_stats(pair.client, NULL) == PUNKTFUNK_STATUS_NULL);
    CHECK(punktfunk_session_next_send_phase(pair.host, NULL) == PUNKTFUNK_STATUS_NULL);
    CHECK(punktfunk_session_next_receive_phase(pair.host, NULL) == PUNKTFUNK_STATUS_NULL);
    CHECK(punktfunk_link_open(NULL, &pair.link) == PUNKTFUNK_STATUS_NULL);

#define BAD_UNIT(member, value, status)                                         \
    bad = unit;                                                                 \
    bad.member = (value);                                                       \
    CHECK(punktfunk_host_submit(pair.host, &bad, NULL, 0) == (status))
    BAD_UNIT(bytes, NULL, PUNKTFUNK_STATUS_NULL);
    BAD_UNIT(len, 0, PUNKTFUNK_STATUS_VALUE);
    BAD_UNIT(len, SIZE_MAX, PUNKTFUNK_STATUS_VALUE);
    BAD_UNIT(flags, 4, PUNKTFUNK_STATUS_VALUE);
    BAD_UNIT(epoch, 256, PUNKTFUNK_STATUS_VALUE);
    BAD_UNIT(struct_size, 0, PUNKTFUNK_STATUS_STRUCT_SIZE);
    BAD_UNIT(struct_size, UINT32_MAX, PUNKTFUNK_STATUS_STRUCT_SIZE);
    static uint8_t large[UNIT_LEN_MAX + 1];
    bad = unit;
    bad.bytes = large;
    bad.len = sizeof large;
    CHECK(punktfunk_host_submit(pair.host, &bad, NULL, 0) == PUNKTFUNK_STATUS_TOO_LONG);
    CHECK(punktfunk_host_set_parity_percent(pair.host, 101) == PUNKTFUNK_STATUS_VALUE);
    uint32_t *askew = (uint32_t *)(void *)(bytes + 1 - (uintptr_t)bytes % 4);
    CHECK(punktfunk_host_submit(pair.host, &unit, askew, 0) == PUNKTFUNK_STATUS_VALUE);
    CHECK(stats_of(pair.host).units_sent == 0);

    /* Each end has its calls. */
    CHECK(punktfunk_host_submit(pair.client, &unit, NULL, 0) == PUNKTFUNK_STATUS_ROLE);
    CHECK(punktfunk_host_set_parity_percent(pair.client, 9) == PUNKTFUNK_STATUS_ROLE);
    CHECK(punktfunk_client_poll_event(pair.host, &event, 0) == PUNKTFUNK_STATUS_ROLE);
    CHECK(punktfunk_client_poll_timeout(pair.host, &at_us) == PUNKTFUNK_STATUS_ROLE);

    /* Bytes that are no datagrams are counted, at whatever length. */
    for (size_t of_one = 1; of_one < 64; of_one++) {
        bytes[0] = 1;
        CHECK(punktfunk_session_handle_datagrams(pair.client, bytes, sizeof bytes, of_one,
                                                 UINT64_MAX) == 0);
        CHECK(punktfunk_session_handle_datagrams(pair.host, bytes, sizeof bytes, of_one, 0) == 0);
    }
    CHECK(stats_of(pair.client).refused_header > 0);

    /* A struct is filled as far as an older program knows it. */
    memset(&stats, 0xee, sizeof stats);
    stats.struct_size = offsetof(struct punktfunk_stats, unit_bytes_sent);
    CHECK(punktfunk_session_stats(pair.host, &stats) == 0);
    CHECK(stats.version == PUNKTFUNK_STATS_VERSION && stats.units_sent == 0);
    CHECK(stats.unit_bytes_sent == 0xeeeeeeeeeeeeeeee);
    stats.struct_size = 4;
    CHECK(punktfunk_session_stats(pair.host, &stats) == PUNKTFUNK_STATUS_STRUCT_SIZE);

    /* A handle is good until it is closed, and where it belongs. */
    struct pair old = pair;
    close_pair(&pair);
    pair = open_pair(41, (struct punktfunk_link_options){.seed = 1});
    const punktfunk_session wrong[] = {0, 1, UINT64_MAX, old.host, old.client, pair.link};
    stats.struct_size = sizeof stats;
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) {
        punktfunk_session it = wrong[at];
        CHECK(punktfunk_session_close(it) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_session_stats(it, &stats) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_host_submit(it, &unit, NULL, 0) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_host_set_parity_percent(it, 1) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_host_submit_sound(it, bytes, 9, 0) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_client_poll_sound(it, &sound, 0) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_client_poll_event(it, &event, 0) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_client_poll_timeout(it, &at_us) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_session_poll_datagrams(it, bytes, 9, &len, 0) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_session_handle_datagrams(it, bytes, 9, 9, 0) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_session_next_send_phase(it, &next) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_session_next_receive_phase(it, &next) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_session_note_send_dropped(it, 1) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_session_note_receive_dropped(it, 1) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_session_note_ecn(it, 1, 1) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_link_carry(pair.link, it, pair.client, 0) == PUNKTFUNK_STATUS_HANDLE);
        CHECK(punktfunk_link_carry(pair.link, pair.host, it, 0) == PUNKTFUNK_STATUS_HANDLE);
    }
    CHECK(punktfunk_link_carry(pair.host, pair.host, pair.client, 0) == PUNKTFUNK_STATUS_HANDLE);
    CHECK(punktfunk_link_close(old.link) == PUNKTFUNK_STATUS_HANDLE);
    close_pair(&pair);

    CHECK(strcmp(punktfunk_status_text(0), "no error") == 0);
    CHECK(strcmp(punktfunk_status_text(PUNKTFUNK_STATUS_NULL), "null pointer") == 0);
    CHECK(strcmp(punktfunk_status_text(-12345), "unknown error") == 0);
}

static void a_defect_breaks_one_session_and_ends_no_program(void) {
    struct pair pair = open_pair(50, (struct punktfunk_link_options){.seed = 1, .defect_at = 5});
    struct pair other = open_pair(51, (struct punktfunk_link_options){.seed = 1});
    struct punktfunk_event event = {.struct_size = sizeof event};
    CHECK(submit(&pair, 1, len_of(1)) == 0);
    CHECK(punktfunk_link_carry(pair.link, pair.host, pair.client, 0) == PUNKTFUNK_STATUS_DEFECT);
    CHECK(punktfunk_link_carry(pair.link, pair.host, pair.client, 0) == PUNKTFUNK_STATUS_BROKEN);
    CHECK(punktfunk_client_poll_event(pair.client, &event, 0) == PUNKTFUNK_STATUS_BROKEN);
    CHECK(stats_of(pair.host).units_sent == 1);
    step(&other, 1);
    CHECK(other.received_count == 1);
    close_pair(&pair);
    close_pair(&other);
}

static void *run_a_pair(void *argument) {
    uint8_t number = *(uint8_t *)argument;
    struct pair pair = open_pair(number, (struct punktfunk_link_options){
                                             .seed = number, .loss_ppm = 10000});
    for (uint32_t index = 1; index <= 100; index++) {
        step(&pair, index);
    }
    CHECK(pair.received_count + pair.lost_count == pair.next - 1 && pair.received_count > 90);
    close_pair(&pair);
    return NULL;
}

/* The way of datagrams of a session whose events another thread polls. */
static void *carry_a_pair(void *argument) {
    struct pair pair = *(struct pair *)argument;
    for (uint32_t index = 1; index <= 200;) {
        struct punktfunk_stats stats = stats_of(pair.client);
        /* No further ahead than there are places for access units. */
        if (stats.units_received + stats.units_lost + 4 < index) {
            continue;
        }
        CHECK(submit(&pair, index, len_of(index)) == 0);
        CHECK(punktfunk_link_carry(pair.link, pair.host, pair.client, pair.now_us) > 0);
        index++;
    }
    return NULL;
}

static void threads_share_and_do_not_share_sessions(void) {
    pthread_t threads[4], carrier;
    uint8_t numbers[4] = {60, 61, 62, 63};
    struct pair shared = open_pair(70, (struct punktfunk_link_options){.seed = 1});
    struct pair of_carrier = shared;
    for (int at = 0; at < 4; at++) {
        CHECK(pthread_create(&threads[at], NULL, run_a_pair, &numbers[at]) == 0);
    }
    CHECK(pthread_create(&carrier, NULL, carry_a_pair, &of_carrier) == 0);
    while (shared.next <= 200) {
        poll_events(&shared);
    }
    CHECK(shared.received_count == 200 && shared.lost_count == 0);
    CHECK(pthread_join(carrier, NULL) == 0);
    for (int at = 0; at < 4; at++) {
        CHECK(pthread_join(threads[at], NULL) == 0);
    }
    close_pair(&shared);
}

int main(void) {
    CHECK(punktfunk_abi_version() == PUNKTFUNK_ABI_VERSION);
    configurations_are_within_their_ranges();
    calls_that_are_wrong_are_told_so();
    datagrams_go_through_the_hands_of_the_program();
    keys_and_parity_change_on_the_way();
    an_access_unit_keeps_the_parity_that_it_was_submitted_with();
    sound_is_whole_where_single_datagrams_are_lost();
    media_go_where_pings_come_from_and_what_is_lost_is_known_by_answers();
    a_speed_test_tells_what_the_way_carries();
    sessions_run_side_by_side_over_ways_that_lose();
    threads_share_and_do_not_share_sessions();
    a_defect_breaks_one_session_and_ends_no_program();
    puts("all of it is so");
    return 0;
}
