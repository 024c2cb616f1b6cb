//! FFmpeg's encoders by name, and what each has to be told to give every picture out at once.

#![forbid(unsafe_code)]

use std::ffi::CStr;

use crate::ffmpeg;

use ffmpeg::AVHWDeviceType::{self, AV_HWDEVICE_TYPE_VAAPI, AV_HWDEVICE_TYPE_VULKAN};

use crate::settings::{Backend, Codec, Layout, Quality, Settings};

/// One of FFmpeg's encoders.
pub(crate) struct Kind {
    pub(crate) name: &'static CStr,
    pub(crate) codec: Codec,
    pub(crate) backend: Backend,
    /// Pictures of 8 and of 10 bits, as the caller gives them.
    pub(crate) layouts: [Layout; 2],
    /// The device whose memory pictures have to be in.
    pub(crate) device: Option<AVHWDeviceType>,
    /// Looks at the context's bitrate with each picture.
    pub(crate) follows_bitrate: bool,
    /// Frames that the rate buffer holds. libaom, given one, makes some frames three times as large
    /// as they should be; given four, half as large again.
    pub(crate) buffer_frames: i64,
}

const PLANAR: [Layout; 2] = [Layout::I420, Layout::I420P10];
const PAIRED: [Layout; 2] = [Layout::Nv12, Layout::P010];

/// All of them.
#[rustfmt::skip]
pub(crate) const KINDS: [Kind; 13] = [
    Kind { name: c"libx265", codec: Codec::Hevc, backend: Backend::Software, layouts: PLANAR, device: None, follows_bitrate: false, buffer_frames: 1 },
    Kind { name: c"libaom-av1", codec: Codec::Av1, backend: Backend::Software, layouts: PLANAR, device: None, follows_bitrate: false, buffer_frames: 4 },
    Kind { name: c"h264_nvenc", codec: Codec::H264, backend: Backend::Nvenc, layouts: PAIRED, device: None, follows_bitrate: true, buffer_frames: 1 },
    Kind { name: c"hevc_nvenc", codec: Codec::Hevc, backend: Backend::Nvenc, layouts: PAIRED, device: None, follows_bitrate: true, buffer_frames: 1 },
    Kind { name: c"av1_nvenc", codec: Codec::Av1, backend: Backend::Nvenc, layouts: PAIRED, device: None, follows_bitrate: true, buffer_frames: 1 },
    Kind { name: c"h264_vaapi", codec: Codec::H264, backend: Backend::Vaapi, layouts: PAIRED, device: Some(AV_HWDEVICE_TYPE_VAAPI), follows_bitrate: false, buffer_frames: 1 },
    Kind { name: c"hevc_vaapi", codec: Codec::Hevc, backend: Backend::Vaapi, layouts: PAIRED, device: Some(AV_HWDEVICE_TYPE_VAAPI), follows_bitrate: false, buffer_frames: 1 },
    Kind { name: c"av1_vaapi", codec: Codec::Av1, backend: Backend::Vaapi, layouts: PAIRED, device: Some(AV_HWDEVICE_TYPE_VAAPI), follows_bitrate: false, buffer_frames: 1 },
    Kind { name: c"h264_vulkan", codec: Codec::H264, backend: Backend::Vulkan, layouts: PAIRED, device: Some(AV_HWDEVICE_TYPE_VULKAN), follows_bitrate: false, buffer_frames: 1 },
    Kind { name: c"hevc_vulkan", codec: Codec::Hevc, backend: Backend::Vulkan, layouts: PAIRED, device: Some(AV_HWDEVICE_TYPE_VULKAN), follows_bitrate: false, buffer_frames: 1 },
    Kind { name: c"av1_vulkan", codec: Codec::Av1, backend: Backend::Vulkan, layouts: PAIRED, device: Some(AV_HWDEVICE_TYPE_VULKAN), follows_bitrate: false, buffer_frames: 1 },
    Kind { name: c"h264_v4l2m2m", codec: Codec::H264, backend: Backend::V4l2, layouts: PAIRED, device: None, follows_bitrate: false, buffer_frames: 1 },
    Kind { name: c"hevc_v4l2m2m", codec: Codec::Hevc, backend: Backend::V4l2, layouts: PAIRED, device: None, follows_bitrate: false, buffer_frames: 1 },
];

/// The private options of an encoder. Those that an older FFmpeg does not know are left out there.
pub(crate) fn options(kind: &Kind, settings: &Settings) -> Vec<(&'static CStr, String)> {
    let threads = settings.thread_count;
    let pick = |fastest: &str, balanced: &str, best: &str| match settings.quality {
        Quality::Balanced => balanced.to_owned(),
        Quality::Best => best.to_owned(),
        Quality::Fastest => fastest.to_owned(),
    };
    let text = str::to_owned;
    let mut options = match (kind.backend, kind.codec) {
        (Backend::Software, Codec::Hevc) => vec![
            (c"preset", pick("ultrafast", "superfast", "veryfast")),
            (c"tune", text("zerolatency")),
            (c"forced-idr", text("1")),
            // With more slices than one, x265 keeps a picture back.
            (
                c"x265-params",
                format!(
                    "log-level=none:info=0:hrd=0:aud=0:repeat-headers=1:annexb=1:open-gop=0:\
                     keyint=-1:scenecut=0:bframes=0:rc-lookahead=0:frame-threads=1:\
                     slices=1:pools={threads}"
                ),
            ),
        ],
        (Backend::Software, _) => vec![
            (c"usage", text("realtime")),
            // By the library's own name: FFmpeg's option of it ends at 8.
            (c"aom-params", pick("cpu-used=10", "cpu-used=9", "cpu-used=8")),
            (c"lag-in-frames", text("0")),
            (c"row-mt", text("1")),
            // A logarithm of 2: a column for each thread where they do not become narrow.
            (c"tile-columns", threads.min(settings.width / 256).clamp(1, 4).ilog2().to_string()),
            (c"aq-mode", text("3")),
            (c"error-resilience", text("0")),
        ],
        (Backend::Nvenc, _) => vec![
            (c"preset", pick("p1", "p3", "p5")),
            (c"tune", text("ull")),
            (c"rc", text("cbr")),
            (c"multipass", text("disabled")),
            (c"zerolatency", text("1")),
            (c"delay", text("0")),
            (c"rc-lookahead", text("0")),
            (c"forced-idr", text("1")),
            (c"strict_gop", text("1")),
            (c"aud", text("0")),
            (c"extra_sei", text("0")),
        ],
        (Backend::Vaapi, _) => vec![
            (c"async_depth", text("1")),
            (c"idr_interval", text("0")),
            (c"aud", text("0")),
            (c"sei", text("0")),
        ],
        (Backend::Vulkan, _) => vec![
            (c"async_depth", text("1")),
            (c"rc_mode", text("cbr")),
            (c"tune", text("ull")),
            (c"usage", text("stream")),
            (c"content", text("desktop")),
            (c"units", text("0")),
        ],
        // Buffers of the driver: as few as FFmpeg allows.
        (Backend::V4l2, _) => {
            vec![(c"num_output_buffers", text("6")), (c"num_capture_buffers", text("4"))]
        }
    };
    if matches!(kind.backend, Backend::Nvenc | Backend::Vaapi) && kind.codec == Codec::H264 {
        options.push((c"profile", text("high")));
    }
    if kind.backend == Backend::Nvenc && settings.reference_count_max > 0 {
        options.push((c"dpb_size", settings.reference_count_max.to_string()));
    }
    if let (Backend::Nvenc, Some(device)) = (kind.backend, &settings.device) {
        // Cards of NVIDIA have numbers, not nodes; of a node's path the library would take the 0.
        let number = device.to_string_lossy();
        if number.bytes().all(|byte| byte.is_ascii_digit()) {
            options.push((c"gpu", number.into_owned()));
        }
    }
    options
}

/// One way to ask for an encoder of hardware, where drivers want to be asked differently.
pub(crate) struct Variant {
    pub(crate) layout: Layout,
    pub(crate) options: &'static [(&'static CStr, &'static str)],
}

/// The ways to ask for an encoder, the best first.
pub(crate) fn variants(kind: &Kind, is_10_bit: bool) -> Vec<Variant> {
    let layout = kind.layouts[usize::from(is_10_bit)];
    match kind.backend {
        // Some hardware of Intel's has the low-power encoder only, and some drivers no CBR.
        Backend::Vaapi => vec![
            Variant { layout, options: &[(c"rc_mode", "CBR")] },
            Variant { layout, options: &[(c"rc_mode", "CBR"), (c"low_power", "1")] },
            Variant { layout, options: &[(c"rc_mode", "VBR")] },
            Variant { layout, options: &[(c"rc_mode", "VBR"), (c"low_power", "1")] },
        ],
        // Drivers take the one or the other.
        Backend::V4l2 if !is_10_bit => {
            vec![Variant { layout, options: &[] }, Variant { layout: Layout::I420, options: &[] }]
        }
        _ => vec![Variant { layout, options: &[] }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_encoders_are_for_the_same() {
        for (index, kind) in KINDS.iter().enumerate() {
            let is_same =
                |other: &&Kind| other.codec == kind.codec && other.backend == kind.backend;
            assert_eq!(KINDS.iter().filter(is_same).count(), 1, "{index}");
        }
    }
}
