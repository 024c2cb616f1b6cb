/*
 * A plug-in for tests. Software H.264 works: its units are a few bytes that end in the first byte
 * of their picture. STUB_* defines make it misbehave.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "avenc.h"

#ifndef STUB_ABI
#define STUB_ABI AVENC_ABI
#endif
#ifndef STUB_LAYOUT
#define STUB_LAYOUT AVENC_I420
#endif
#ifndef STUB_VERSION
#define STUB_VERSION "stub 1"
#endif

struct avenc_encoder {
    uint8_t bytes[6];
    uint64_t number;
    int is_full, wants_idr, heals;
};

/* A true fault: a signal that is merely raised is swallowed by the guard of Rust's stacks. */
__attribute__((unused)) static void crash(void) { *(volatile int *)8 = 1; }

uint32_t avenc_abi(void) { return STUB_ABI; }

#ifdef STUB_CRASHES_AT_EXIT
__attribute__((destructor)) static void leave(void) { crash(); }
#endif

#ifdef STUB_LOOKS_AROUND
static const char *look_around(void) {
    static char text[64];
    int open_count = 0;
    struct rlimit core;
    for (int fd = 0; fd < 1024; fd++)
        open_count += fcntl(fd, F_GETFD) != -1;
    getrlimit(RLIMIT_CORE, &core);
    snprintf(text, sizeof text, "%d %d %d", open_count, getpriority(PRIO_PROCESS, 0),
             (int)core.rlim_cur);
    return text;
}
#endif

const char *avenc_version(void) {
#ifdef STUB_LOOKS_AROUND
    return look_around();
#endif
#ifdef STUB_CRASHES_AT_ONCE
    crash();
#endif
    return STUB_VERSION;
}

int avenc_probe(uint32_t codec, uint32_t backend, const char *device, uint32_t *abilities,
                char *why, size_t why_len) {
    (void)device;
#ifdef STUB_CRASHES
    if (backend == STUB_CRASHES)
        crash();
#endif
#ifdef STUB_HANGS
    if (backend == STUB_HANGS)
        for (;;)
            pause();
#endif
#ifdef STUB_TALKS
    printf("hello from a driver\n{\"why_not\":1}");
#endif
    if (backend == AVENC_NVENC) {
        snprintf(why, why_len, "Cannot load libcuda.so.1");
        return AVENC_E_MISSING;
    }
    if (backend != AVENC_SOFTWARE || codec != AVENC_H264) {
        snprintf(why, why_len, "no such\nencoder");
        return AVENC_E_MISSING;
    }
    *abilities = AVENC_CAN_ENCODE | AVENC_CAN_INVALIDATE | AVENC_CAN_SET_BITRATE;
    return AVENC_OK;
}

int avenc_open(const struct avenc_config *c, avenc_encoder **encoder, char *why, size_t why_len) {
    if (c->struct_size != sizeof *c)
        return AVENC_E_ARGUMENT;
#ifdef STUB_TELL
    snprintf(why, why_len, "%u %u %u %u %u %u %u %u %u %u %u %u %u %u %s", c->codec, c->backend,
             c->space, c->quality, c->width, c->height, c->refresh_mhz, c->bitrate_kbps,
             c->frame_len_max, c->slice_count, c->reference_count_max, c->bit_depth, c->full_range,
             c->thread_count, c->device ? c->device : "none");
    return AVENC_E_ARGUMENT;
#endif
#ifdef STUB_OPENS_NOTHING
    return AVENC_OK;
#endif
    if (c->backend == AVENC_NVENC) {
        snprintf(why, why_len, "Cannot load libcuda.so.1");
        return AVENC_E_MISSING;
    }
    *encoder = calloc(1, sizeof **encoder);
    (*encoder)->wants_idr = 1;
    return AVENC_OK;
}

uint32_t avenc_layout(const avenc_encoder *e) { (void)e; return STUB_LAYOUT; }
const char *avenc_name(const avenc_encoder *e) { (void)e; return "stub"; }

int avenc_submit(avenc_encoder *e, const struct avenc_picture *p) {
    if (p->struct_size != sizeof *p)
        return AVENC_E_ARGUMENT;
#ifdef STUB_FAILS
    return AVENC_E_FAILED;
#endif
    memcpy(e->bytes, (uint8_t[]){0, 0, 0, 1, e->wants_idr ? 0x65 : 0x41, p->planes[0][0]}, 6);
    e->number = p->number;
    e->is_full = 1;
    return AVENC_OK;
}

#ifndef STUB_NO_POLL
int avenc_poll(avenc_encoder *e, struct avenc_unit *u) {
    if (u->struct_size != sizeof *u)
        return AVENC_E_ARGUMENT;
#ifdef STUB_FAILS
    return AVENC_E_FAILED;
#endif
#ifndef STUB_NUMBER
    if (!e->is_full)
        return AVENC_NOT_NOW;
    u->number = e->number;
#else
    u->number = STUB_NUMBER < 0 ? e->number : STUB_NUMBER;
#endif
#ifndef STUB_NO_BYTES
    u->bytes = e->bytes;
    u->len = sizeof e->bytes;
#endif
    u->is_idr = e->wants_idr;
    u->heals = e->heals;
    e->is_full = e->wants_idr = e->heals = 0;
    return AVENC_OK;
}
#endif

void avenc_request_idr(avenc_encoder *e) { e->wants_idr = 1; }

int avenc_invalidate(avenc_encoder *e, uint64_t first, uint64_t last) {
    e->heals = 1;
    if (first != last) {
        e->wants_idr = 1;
        return AVENC_NOT_NOW;
    }
    return AVENC_OK;
}

int avenc_set_bitrate(avenc_encoder *e, uint32_t bitrate_kbps, uint32_t frame_len_max) {
    (void)e;
    (void)frame_len_max;
    return bitrate_kbps ? AVENC_OK : AVENC_NOT_NOW;
}

const char *avenc_error(const avenc_encoder *e) { (void)e; return "the card is\ngone"; }
void avenc_close(avenc_encoder *e) { free(e); }
