/*
 * avenc: video encoders for streaming behind one small interface.
 *
 * Every picture that is submitted comes out as one access unit, in order and at once: there are no
 * B-frames and no look-ahead. IDR frames come when asked for, and first; never by themselves.
 * An encoder belongs to one thread at a time. Functions that can fail write why, as one sentence
 * without a full stop, to `why` (always terminated, cut to `why_len`).
 */
#ifndef AVENC_H
#define AVENC_H

#include <stddef.h>
#include <stdint.h>

#define AVENC_ABI 1

enum avenc_codec { AVENC_H264 = 0, AVENC_HEVC = 1, AVENC_AV1 = 2 };
enum avenc_backend { AVENC_SOFTWARE = 0, AVENC_NVENC = 1, AVENC_VAAPI = 2, AVENC_VULKAN = 3, AVENC_V4L2 = 4 };
enum avenc_layout { AVENC_I420 = 0, AVENC_I420P10 = 1, AVENC_NV12 = 2, AVENC_P010 = 3 };
enum avenc_space { AVENC_BT601 = 0, AVENC_BT709 = 1, AVENC_BT2020 = 2, AVENC_BT2020_PQ = 3 };
enum avenc_quality { AVENC_FASTEST = 0, AVENC_BALANCED = 1, AVENC_BEST = 2 };

/* Abilities of a codec of a backend. */
#define AVENC_CAN_ENCODE 1u      /* 8 bits, 4:2:0 */
#define AVENC_CAN_10_BIT 2u      /* 10 bits, 4:2:0 */
#define AVENC_CAN_INVALIDATE 4u  /* heals the loss of a reference without an IDR frame */
#define AVENC_CAN_SET_BITRATE 8u /* changes its bitrate without beginning anew */

/* Results: 0 or more is success. */
#define AVENC_OK 0
#define AVENC_NOT_NOW 1      /* poll: nothing to be had; invalidate: an IDR frame will come instead */
#define AVENC_E_ARGUMENT -1  /* a value that cannot be; the caller is wrong */
#define AVENC_E_MISSING -2   /* this FFmpeg or this machine has no such encoder */
#define AVENC_E_FAILED -3    /* the encoder failed, and will not work again */

typedef struct avenc_encoder avenc_encoder;

struct avenc_config {
    uint32_t struct_size;
    uint32_t codec, backend, space, quality;
    uint32_t width, height;        /* even, 16 to 16384 */
    uint32_t refresh_mhz;          /* 59940 is 59.94 Hz */
    uint32_t bitrate_kbps;
    uint32_t frame_len_max;        /* bytes that an access unit should not exceed (the rate buffer); 0: bitrate / refresh */
    uint32_t slice_count;          /* wanted; encoders may make more */
    uint32_t reference_count_max;  /* 0: the encoder's choice */
    uint32_t bit_depth;            /* 8 or 10 */
    uint32_t full_range;           /* 0 or 1 */
    uint32_t thread_count;         /* 0: one per processor */
    const char *device;            /* render or video node; NULL: the first that works */
};

struct avenc_picture {
    uint32_t struct_size;
    const uint8_t *planes[3];      /* as many as the layout has; read during the call only */
    uint32_t strides[3];
    uint64_t number;               /* of the picture: rises by 1 with each */
};

struct avenc_unit {
    uint32_t struct_size;
    const uint8_t *bytes;          /* Annex B (or OBUs): the encoder's until its next call */
    size_t len;
    uint64_t number;
    uint32_t is_idr;               /* 0 or 1 */
    uint32_t heals;                /* 1: the first unit that refers to nothing that was invalidated */
};

uint32_t avenc_abi(void);
/* Versions of everything that decides what can be encoded; another text means: probe again. */
const char *avenc_version(void);
/* Tries an encoder with a small picture. Returns AVENC_OK and abilities, or an error and why. */
int avenc_probe(uint32_t codec, uint32_t backend, const char *device, uint32_t *abilities, char *why, size_t why_len);
int avenc_open(const struct avenc_config *config, avenc_encoder **encoder, char *why, size_t why_len);
/* The avenc_layout in which pictures are to come. */
uint32_t avenc_layout(const avenc_encoder *encoder);
/* The name of what encodes, such as "libx264". */
const char *avenc_name(const avenc_encoder *encoder);
int avenc_submit(avenc_encoder *encoder, const struct avenc_picture *picture);
int avenc_poll(avenc_encoder *encoder, struct avenc_unit *unit);
/* The next picture becomes an IDR frame. */
void avenc_request_idr(avenc_encoder *encoder);
/* Pictures first to last are lost to the decoder: the next refers to none of them, nor to one that
 * does. Returns AVENC_OK where that works without an IDR frame, else AVENC_NOT_NOW. */
int avenc_invalidate(avenc_encoder *encoder, uint64_t first, uint64_t last);
/* AVENC_OK, or AVENC_NOT_NOW where the encoder has to be opened anew for that. */
int avenc_set_bitrate(avenc_encoder *encoder, uint32_t bitrate_kbps, uint32_t frame_len_max);
/* Why the last call on this encoder failed; "" where none did. */
const char *avenc_error(const avenc_encoder *encoder);
void avenc_close(avenc_encoder *encoder);

#endif
