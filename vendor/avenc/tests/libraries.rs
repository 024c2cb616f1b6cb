//! Which libraries an encoder brings into the process.

use std::ptr;

use avenc::*;

fn is_loaded(library: &str) -> bool {
    std::fs::read_to_string("/proc/self/maps").unwrap().contains(library)
}

/// Opens an encoder and closes it again.
fn open(codec: u32) {
    let config = avenc_config {
        struct_size: size_of::<avenc_config>() as u32,
        codec,
        backend: AVENC_SOFTWARE,
        space: AVENC_BT709,
        quality: AVENC_FASTEST,
        width: 320,
        height: 240,
        refresh_mhz: 60_000,
        bitrate_kbps: 4_000,
        frame_len_max: 0,
        slice_count: 1,
        reference_count_max: 0,
        bit_depth: 8,
        full_range: 0,
        thread_count: 1,
        device: ptr::null(),
    };
    let mut encoder = ptr::null_mut();
    // SAFETY: the configuration says how long it is, nobody asks why, and what is open is closed.
    unsafe {
        assert_eq!(avenc_open(&config, &mut encoder, ptr::null_mut(), 0), AVENC_OK);
        avenc_close(encoder);
    }
}

#[test]
fn ffmpeg_is_loaded_for_encoders_of_its_own_only() {
    open(AVENC_H264);
    let before = (is_loaded("/libx264."), is_loaded("/libavcodec."));
    open(AVENC_HEVC);

    assert_eq!((before, is_loaded("/libavcodec.")), ((true, false), true));
}
