// punktfunk_core: the data plane of punktfunk/1 for programs in C. See punktfunk_core(3).
//
// Made by cbindgen from src/abi, and held to it by tests/abi.rs: do not edit.
//
// Functions return 0 or a count, and less than 0 if something is wrong: enum punktfunk_status. None
// waits for anything but another call on the same session or link, and none calls back.
//
// Every function may be called by every thread. Calls on one session wait for one another, calls on
// different ones do not. An access unit that was lent stays until the next event of its session is
// polled or it is closed, on whatever thread: so one thread polls.
//
// A child of fork(2) must not use the sessions of its parent: it would send other bytes under the
// same numbers and keys, which gives away both.

#ifndef PUNKTFUNK_CORE_H
#define PUNKTFUNK_CORE_H

#include <stddef.h>
#include <stdint.h>

// Counts the additions to these statistics.
#define PUNKTFUNK_STATS_VERSION 2

// In place of a number: none of it, where 0 is the usual.
#define PUNKTFUNK_NONE UINT32_MAX

// The end that submits access units.
#define PUNKTFUNK_ROLE_HOST 1

// The end that polls access units.
#define PUNKTFUNK_ROLE_CLIENT 2

// A decoder can begin with this access unit.
#define PUNKTFUNK_UNIT_IDR 1

// This access unit refers to nothing that the client has reported as lost.
#define PUNKTFUNK_UNIT_ANCHOR 2

// There is an access unit.
#define PUNKTFUNK_EVENT_UNIT 1

// Access units will not come any more.
#define PUNKTFUNK_EVENT_LOST 2

// Bytes of a datagram with a ping, or with the answer to one.
#define PUNKTFUNK_PING_LEN 64

// Counts changes that old programs would notice. Additions are none.
#define PUNKTFUNK_ABI_VERSION 1

// What is wrong with a call. Functions return 0 or a count where nothing is.
typedef enum punktfunk_status {
    // A pointer is null that must not be.
    PUNKTFUNK_STATUS_NULL = -1,
    // The struct_size is less than what must be given, or members are set that this version of the
    // library does not know.
    PUNKTFUNK_STATUS_STRUCT_SIZE = -2,
    // A value is out of its range.
    PUNKTFUNK_STATUS_VALUE = -3,
    // No such session or link is open: it was closed, or never was.
    PUNKTFUNK_STATUS_HANDLE = -4,
    // This is a call for the other end of a session.
    PUNKTFUNK_STATUS_ROLE = -5,
    // Datagrams of what was submitted before are still to be polled. Nothing has changed.
    PUNKTFUNK_STATUS_FULL = -6,
    // An access unit or a frame of sound is longer than was agreed on.
    PUNKTFUNK_STATUS_TOO_LONG = -7,
    // The memory has no room for a datagram. Nothing has changed.
    PUNKTFUNK_STATUS_ROOM = -8,
    // The key has sealed as much as it may, or numbers have come to their end.
    PUNKTFUNK_STATUS_EXHAUSTED = -9,
    // As many sessions or links are open as can be.
    PUNKTFUNK_STATUS_TOO_MANY = -10,
    // The phase before has not begun yet, or no speed test has.
    PUNKTFUNK_STATUS_EARLY = -11,
    // An earlier call on this session or link ended in a defect. It can only be closed.
    PUNKTFUNK_STATUS_BROKEN = -98,
    // A defect of the library ended this call.
    PUNKTFUNK_STATUS_DEFECT = -99,
} punktfunk_status;

// What one direction is sealed under: secrets, which must not be used for another session or the
// other direction.
typedef struct punktfunk_keys {
    // Of AES-128.
    uint8_t key[16];
    // What packet numbers are combined with.
    uint8_t iv[12];
} punktfunk_keys;

// How a session is to be. Both ends have agreed on it. From datagram_len_max on, 0 stands for the
// usual.
typedef struct punktfunk_config {
    // sizeof of this struct; no less than what ends with receive.
    uint32_t struct_size;
    // PUNKTFUNK_ROLE_HOST or PUNKTFUNK_ROLE_CLIENT.
    uint32_t role;
    // For what this end sends.
    struct punktfunk_keys send;
    // For what this end receives.
    struct punktfunk_keys receive;
    // Bytes of a UDP payload: 108 to 65507, usually 1452.
    uint32_t datagram_len_max;
    // Bytes of an access unit: up to 67108864, usually 16777216.
    uint32_t unit_len_max;
    // Data shards of a block: up to 1000, which is usual.
    uint32_t block_data_max;
    // Parity shards per hundred data shards: up to 100, usually 20, or PUNKTFUNK_NONE. Of hosts.
    uint32_t parity_percent;
    // Parity shards of a block that has any: up to 255, no more than block_data_max, usually 1. Of
    // hosts.
    uint32_t parity_count_min;
    // Access units in the making: 2 to 64, usually 8. Of clients.
    uint32_t frame_count;
    // How long an access unit that is whole waits for those before it, in microseconds: up to
    // 1000000, usually 5000, or PUNKTFUNK_NONE. Of clients.
    uint32_t patience_us;
    // Packets that may come late or be told from others: up to 1048576, usually 16384.
    uint32_t window_len;
    // Samples of each channel in a frame of sound, at 48 kHz: up to 5760, usually 240. Of hosts.
    uint32_t sound_sample_count;
    // How long frames of sound wait for one before them, in microseconds: up to 1000000, usually
    // 10000, or PUNKTFUNK_NONE. Of clients.
    uint32_t sound_patience_us;
    // How long an access unit that is not whole is waited for after its last datagram, in
    // microseconds, where nothing comes behind it: up to 1000000, usually 50000. Of clients.
    uint32_t stall_us;
} punktfunk_config;

// One end of a session. 0 is none.
typedef uint64_t punktfunk_session;

// What a histogram says. Zeros where there was nothing.
typedef struct punktfunk_summary {
    // How many there were.
    uint64_t count;
    // The least.
    uint64_t min;
    // Half of them are no more than this; it is too much by less than a sixteenth.
    uint64_t p50;
    // 90 in a hundred, likewise.
    uint64_t p90;
    // 99 in a hundred, likewise.
    uint64_t p99;
    // 999 in a thousand, likewise.
    uint64_t p999;
    // The most.
    uint64_t max;
} punktfunk_summary;

// What one end has counted and measured since it was opened. What it does not do is 0.
typedef struct punktfunk_stats {
    // sizeof of this struct, set by the caller; no less than what ends with version.
    uint32_t struct_size;
    // What the library knows to fill: members of later versions are 0.
    uint32_t version;
    // Access units that were sent.
    uint64_t units_sent;
    // Bytes of them.
    uint64_t unit_bytes_sent;
    // Blocks that they were cut into.
    uint64_t blocks_sent;
    // Packets of any kind that were sealed to be sent.
    uint64_t packets_sent;
    // Packets of parity among them.
    uint64_t parity_packets_sent;
    // Bytes of their datagrams.
    uint64_t bytes_sent;
    // Datagrams that the system did not take, as the caller has told.
    uint64_t packets_send_dropped;
    // Packets that were opened.
    uint64_t packets_received;
    // Bytes of their datagrams.
    uint64_t bytes_received;
    // Packets of the peer that have not come in time.
    uint64_t packets_dropped;
    // Packets that came after all when they were counted as dropped. They are received ones too.
    uint64_t packets_late;
    // Packets of the peer that have not come yet and may.
    uint64_t packets_missing;
    // How often so many of these in a row were dropped: 1, 2 to 3, 4 to 7, and so on; the last
    // counts all that were more.
    uint64_t burst_counts[16];
    // Datagrams that are none of this protocol.
    uint64_t refused_header;
    // Datagrams of a phase whose key is not there.
    uint64_t refused_phase;
    // Datagrams that came twice, or too late to know.
    uint64_t refused_replay;
    // Datagrams that are damaged, forged, or sealed under another key.
    uint64_t refused_tag;
    // Access units that were given out.
    uint64_t units_received;
    // Access units that were given up.
    uint64_t units_lost;
    // Shards that were of use.
    uint64_t shards_received;
    // Data shards that were recovered from parity.
    uint64_t shards_recovered;
    // Shards that came when they were not needed any more.
    uint64_t shards_needless;
    // Shards of access units that had been given out or up.
    uint64_t shards_late;
    // Shards of access units for which there was no place yet.
    uint64_t shards_early;
    // Shards that contradict others, or what was agreed on.
    uint64_t shards_refused;
    // Frames of sound that were sent.
    uint64_t sound_sent;
    // Frames of sound that were given out.
    uint64_t sound_received;
    // Those of them that came with the packet behind theirs.
    uint64_t sound_recovered;
    // Frames of sound that were given up.
    uint64_t sound_lost;
    // Interarrival jitter of access units, RFC 3550, in microseconds.
    uint64_t jitter_us;
    // By how much the delay grows from one access unit to the next of late, in microseconds.
    int64_t trend_us;
    // Bytes of access units, sent or received.
    struct punktfunk_summary unit_len;
    // From capture until the host had the access unit to send, in microseconds.
    struct punktfunk_summary host_us;
    // From then until the last of its datagrams was to be sent, in microseconds.
    struct punktfunk_summary send_us;
    // From an access unit's first shard to its last, in microseconds.
    struct punktfunk_summary assembly_us;
    // How much longer an access unit took to come than the quickest so far, in microseconds.
    struct punktfunk_summary excess_us;
    // Messages of the peer that the system had no room for, as the caller has told. One may be
    // several datagrams that the system has kept together.
    uint64_t packets_receive_dropped;
    // Datagrams that came as such that may be marked rather than dropped, by ECT(0), as the caller
    // has told.
    uint64_t packets_ect_0;
    // Likewise, by ECT(1).
    uint64_t packets_ect_1;
    // Datagrams that were marked on a full way, by CE, as the caller has told.
    uint64_t packets_ce;
    // How often the key of what is sent was changed.
    uint32_t send_phase;
    // How often the peer has changed its key, as far as packets say.
    uint32_t receive_phase;
    // 1 when the next phase of what is sent should begin, as half of what its key may seal is
    // sealed; else 0.
    uint32_t is_key_due;
    // 1 while the keys of the peer's next phase are not there; else 0.
    uint32_t is_key_wanted;
    // What the parity of an access unit took the host, in nanoseconds.
    struct punktfunk_summary protect_ns;
    // What sealing its datagrams took, in nanoseconds.
    struct punktfunk_summary seal_ns;
} punktfunk_stats;

// An access unit to be sent.
typedef struct punktfunk_unit {
    // sizeof of this struct; no less than what ends with captured_us.
    uint32_t struct_size;
    // PUNKTFUNK_UNIT_IDR, PUNKTFUNK_UNIT_ANCHOR, both or none.
    uint32_t flags;
    // What the encoder made. It is copied.
    const uint8_t *bytes;
    // How many bytes, at least one.
    size_t len;
    // When it was captured by the host's clock, in microseconds.
    uint64_t captured_us;
    // How long ago that is, in microseconds.
    uint32_t latency_us;
    // Counts the changes of mode, and wraps at 256.
    uint32_t epoch;
} punktfunk_unit;

// What a client is told.
typedef struct punktfunk_event {
    // sizeof of this struct, set by the caller; no less than what ends with len.
    uint32_t struct_size;
    // PUNKTFUNK_EVENT_UNIT or PUNKTFUNK_EVENT_LOST.
    uint32_t kind;
    // The number of the access unit, or of the first that is lost. They count from 1.
    uint32_t first;
    // The same, or of the last that is lost.
    uint32_t last;
    // As struct punktfunk_unit has them.
    uint32_t flags;
    // Likewise.
    uint32_t epoch;
    // The access unit, which is lent: until the next event of this session is polled, or it is
    // closed. Null for what is lost.
    const uint8_t *bytes;
    // How many bytes.
    size_t len;
    // When it was captured by the host's clock, in microseconds.
    uint64_t captured_us;
    // How long the host took from there until it sent it, in microseconds.
    uint32_t latency_us;
    // From its first datagram to its last, in microseconds.
    uint32_t assembly_us;
} punktfunk_event;

// Sound for a client.
typedef struct punktfunk_sound {
    // sizeof of this struct, set by the caller; no less than what ends with len.
    uint32_t struct_size;
    // Samples of each channel in the frame, at 48 kHz. 0 for what is lost.
    uint32_t sample_count;
    // The number of the frame, or of the first that is lost. They count from 1.
    uint32_t first;
    // The same, or of the last that is lost.
    uint32_t last;
    // The frame, which is lent: until the next sound of this session is polled, or it is closed.
    // Null for what is lost.
    const uint8_t *bytes;
    // How many bytes.
    size_t len;
    // When its first sample was captured by the host's clock, in microseconds.
    uint64_t captured_us;
} punktfunk_sound;

// What a client's pings say of the way.
typedef struct punktfunk_path {
    // sizeof of this struct, set by the caller; no less than what ends with is_open.
    uint32_t struct_size;
    // 1 while the host sends media here; else 0.
    uint32_t is_open;
    // From the last ping that was answered to its answer, in microseconds.
    uint64_t rtt_us;
    // What the host's clock shows more than that of the caller, in microseconds; off by half of
    // rtt_us at most.
    int64_t offset_us;
} punktfunk_path;

// Where datagrams of a client come from, and are to go.
typedef struct punktfunk_address {
    // Of IPv6; one of IPv4 is mapped into it, RFC 4291 section 2.5.5.2.
    uint8_t ip[16];
    // 1 to 65535.
    uint32_t port;
} punktfunk_address;

// A speed test, on which both ends have agreed.
typedef struct punktfunk_probe {
    // sizeof of this struct; no less than what ends with duration_ms.
    uint32_t struct_size;
    // Which test of the session it is.
    uint32_t test;
    // The rate of whole datagrams, in kbit/s: 1 to 3000000.
    uint32_t rate_kbps;
    // How long it takes: 1 to 10000.
    uint32_t duration_ms;
} punktfunk_probe;

// What a host has sent of a speed test, which it tells the client when the test is over.
typedef struct punktfunk_probe_sent {
    // sizeof of this struct; no less than what ends with send_dropped.
    uint32_t struct_size;
    // Which test of the session it is.
    uint32_t test;
    // Datagrams that were made, those among them that the system did not take.
    uint64_t datagrams;
    // Datagrams that the system did not take, as the caller has told.
    uint64_t send_dropped;
    // The rate of what the system took, in kbit/s.
    uint64_t rate_kbps;
} punktfunk_probe_sent;

// What a speed test says of the way.
typedef struct punktfunk_probe_report {
    // sizeof of this struct, set by the caller; no less than what ends with lost.
    uint32_t struct_size;
    // Which test of the session it is.
    uint32_t test;
    // Datagrams that came.
    uint64_t received;
    // Datagrams that the way has lost.
    uint64_t lost;
    // The rate of what came, in kbit/s.
    uint64_t rate_kbps;
    // How much longer the slowest took than the quickest, in microseconds: what was in queues.
    uint64_t queue_us_max;
    // The interarrival jitter of RFC 3550 at the end, in microseconds.
    uint64_t jitter_us;
} punktfunk_probe_report;

// What a link does to datagrams. 0 stands for nothing of it.
typedef struct punktfunk_link_options {
    // sizeof of this struct; no less than what ends with seed.
    uint32_t struct_size;
    // Datagrams that are lost, of a million.
    uint32_t loss_ppm;
    // The same seed loses the same datagrams.
    uint64_t seed;
    // Datagrams that are lost in a row, on average. 0 and 1: each by itself.
    uint32_t burst_len;
    // Datagrams that come twice, of a million.
    uint32_t repeat_ppm;
    // Datagrams that the next one overtakes, of a million.
    uint32_t disorder_ppm;
    // The datagram of this number, from 1, meets a defect of the library: to see what a program does
    // then.
    uint32_t defect_at;
} punktfunk_link_options;

// A way from one session to another in the same process. 0 is none.
typedef uint64_t punktfunk_link;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// PUNKTFUNK_ABI_VERSION as the library was built with. A program goes on if it is its own.
uint32_t punktfunk_abi_version(void);

// What a returned number means, in a few words that stay.
const char *punktfunk_status_text(int32_t status);

// Opens one end of a session. Returns 0.
int32_t punktfunk_session_open(const struct punktfunk_config *config, punktfunk_session *session);

// Closes it: the handle is good no more, nor is what was lent. Returns 0.
int32_t punktfunk_session_close(punktfunk_session session);

// Writes datagrams to be sent to the peer, in this order, one behind the other, as many as there
// are and as room has room for. All of one call have the same length, which is written to
// datagram_len. Returns how many, 0 if there are none. With the key used up it returns
// PUNKTFUNK_STATUS_EXHAUSTED, and goes on where it was once there is the next one. now_us is the
// caller's clock, of which all calls on a session take the same.
int32_t punktfunk_session_poll_datagrams(punktfunk_session session,
                                         uint8_t *room,
                                         size_t room_len,
                                         size_t *datagram_len,
                                         uint64_t now_us);

// Takes datagrams that came from the peer: len bytes, which are overwritten. They are one datagram
// of datagram_len bytes behind the other, of which the last may be shorter. Events are to be polled
// afterwards. Returns how many were genuine and new; what is refused is counted and harms nothing.
int32_t punktfunk_session_handle_datagrams(punktfunk_session session,
                                           uint8_t *datagrams,
                                           size_t len,
                                           size_t datagram_len,
                                           uint64_t now_us);

// Seals what is sent from now on under the next keys. Returns 0.
int32_t punktfunk_session_next_send_phase(punktfunk_session session,
                                          const struct punktfunk_keys *next);

// Has the keys of the peer's next phase ready, which begins with the first datagram that is sealed
// under them. One phase at a time: until it has begun, those behind it return
// PUNKTFUNK_STATUS_EARLY. Returns 0.
int32_t punktfunk_session_next_receive_phase(punktfunk_session session,
                                             const struct punktfunk_keys *next);

// Counts datagrams that the system did not take from the caller, who sends them. Returns 0.
int32_t punktfunk_session_note_send_dropped(punktfunk_session session, uint64_t count);

// Counts messages that the system had no room for, as it tells the caller, who receives. Returns 0.
int32_t punktfunk_session_note_receive_dropped(punktfunk_session session, uint64_t count);

// Counts datagrams that came with these two bits of congestion in their IP header, 0 to 3. Returns
// 0.
int32_t punktfunk_session_note_ecn(punktfunk_session session, uint32_t bits, uint64_t count);

// Fills what a session has counted and measured. Its struct_size is set by the caller. Returns 0.
int32_t punktfunk_session_stats(punktfunk_session session, struct punktfunk_stats *stats);

// Takes an access unit to be sent, whose datagrams are to be polled then, all of them before the
// next one. Writes its number to index, if that is not null. Returns 0.
int32_t punktfunk_host_submit(punktfunk_session session,
                              const struct punktfunk_unit *unit,
                              uint32_t *index,
                              uint64_t now_us);

// Takes a frame of sound to be sent, as Opus makes it: up to 592 bytes, or as much as fits twice
// into a datagram. Its datagram is polled before those of access units that are under way, and
// before the next frame is submitted. Returns 0.
int32_t punktfunk_host_submit_sound(punktfunk_session session,
                                    const uint8_t *frame,
                                    size_t len,
                                    uint64_t captured_us);

// Sets the share of parity of access units that are submitted from now on, as parity_percent of
// struct punktfunk_config. Returns 0.
int32_t punktfunk_host_set_parity_percent(punktfunk_session session, uint32_t percent);

// Tells the next thing that has happened: an access unit to be decoded, or some that are lost. In
// the order of their numbers. Its struct_size is set by the caller. Returns 1 if there was one, else
// 0.
int32_t punktfunk_client_poll_event(punktfunk_session session,
                                    struct punktfunk_event *event,
                                    uint64_t now_us);

// Tells the next frame of sound, or frames that are lost and are to be concealed. In the order of
// their numbers. Its struct_size is set by the caller. Returns 1 if there was one, else 0.
int32_t punktfunk_client_poll_sound(punktfunk_session session,
                                    struct punktfunk_sound *sound,
                                    uint64_t now_us);

// When there may be an event or sound though no datagram comes: writes that to at_us. Returns 1 if
// there is such a time, else 0.
int32_t punktfunk_client_poll_timeout(punktfunk_session session, uint64_t *at_us);

// Writes the ping that is due to room, which has PUNKTFUNK_PING_LEN bytes, to be sent to the host,
// and to at_us when there may be the next one. A client calls it only where the host is told
// addresses by pings. Returns 1 if there was one, else 0.
int32_t punktfunk_client_poll_ping(punktfunk_session session,
                                   uint8_t *room,
                                   uint64_t *at_us,
                                   uint64_t now_us);

// Has a ping due at once, as the client's socket or network is another one. Returns 0.
int32_t punktfunk_client_rebind(punktfunk_session session, uint64_t now_us);

// Fills what pings say of the way. Its struct_size is set by the caller. Returns 0.
int32_t punktfunk_client_path(punktfunk_session session,
                              struct punktfunk_path *path,
                              uint64_t now_us);

// Takes one datagram and where it came from, as punktfunk_session_handle_datagrams does, and
// answers pings: chance is 16 bytes of it, fresh with each call, and answer has room for
// PUNKTFUNK_PING_LEN bytes. Returns 0 if the datagram was refused, 1 if it was genuine and new, and
// 2 if the answer is to be sent to where it came from besides.
int32_t punktfunk_host_handle_datagram_from(punktfunk_session session,
                                            uint8_t *datagram,
                                            size_t len,
                                            const struct punktfunk_address *from,
                                            const uint8_t *chance,
                                            uint8_t *answer,
                                            uint64_t now_us);

// Writes to where datagrams are to be sent, as far as pings have shown. Returns 1 if there is such
// an address, else 0: then nothing may be sent but answers.
int32_t punktfunk_host_media_address(punktfunk_session session,
                                     struct punktfunk_address *address,
                                     uint64_t now_us);

// Begins a speed test, instead of one that may be under way. Its datagrams are as long as those of
// access units, and are to be polled. Returns 0.
int32_t punktfunk_host_begin_probe(punktfunk_session session,
                                   const struct punktfunk_probe *probe,
                                   uint64_t now_us);

// As punktfunk_session_poll_datagrams, those of the speed test that are due. Writes to at_us when
// there are the next, which is UINT64_MAX when it is over.
int32_t punktfunk_host_poll_probe(punktfunk_session session,
                                  uint8_t *room,
                                  size_t room_len,
                                  size_t *datagram_len,
                                  uint64_t *at_us,
                                  uint64_t now_us);

// Counts datagrams of the speed test that the system did not take. Returns 0.
int32_t punktfunk_host_note_probe_dropped(punktfunk_session session, uint64_t count);

// Fills what was sent of the speed test, for the client to be told. Its struct_size is set by the
// caller. Returns 0.
int32_t punktfunk_host_probe_sent(punktfunk_session session, struct punktfunk_probe_sent *sent);

// Counts the datagrams of a speed test of that number from now on. Returns 0.
int32_t punktfunk_client_begin_probe(punktfunk_session session, uint32_t test);

// Fills what the speed test says. sent is what the host has told of it, or null while it has not.
// The report's struct_size is set by the caller. Returns 0.
int32_t punktfunk_client_probe_report(punktfunk_session session,
                                      const struct punktfunk_probe_sent *sent,
                                      struct punktfunk_probe_report *report);

// Opens a link. Returns 0.
int32_t punktfunk_link_open(const struct punktfunk_link_options *options, punktfunk_link *link);

// Closes it. Returns 0.
int32_t punktfunk_link_close(punktfunk_link link);

// Polls all datagrams of one session, and hands those that are not lost to another. Returns how
// many these were.
int32_t punktfunk_link_carry(punktfunk_link link,
                             punktfunk_session from,
                             punktfunk_session to,
                             uint64_t now_us);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PUNKTFUNK_CORE_H */
