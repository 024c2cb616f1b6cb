//! What the settings are in FFmpeg's enums.

#![forbid(unsafe_code)]

use crate::ffmpeg;

use ffmpeg::AVHWDeviceType::{self, AV_HWDEVICE_TYPE_VULKAN};
use ffmpeg::{
    AVColorPrimaries, AVColorRange, AVColorSpace, AVColorTransferCharacteristic, AVPixelFormat,
};

use crate::settings::{Layout, Space};

/// The format of a picture that is in the program's memory.
pub(crate) fn pixel_format(layout: Layout) -> AVPixelFormat {
    match layout {
        Layout::I420 => AVPixelFormat::AV_PIX_FMT_YUV420P,
        Layout::I420P10 => AVPixelFormat::AV_PIX_FMT_YUV420P10LE,
        Layout::Nv12 => AVPixelFormat::AV_PIX_FMT_NV12,
        Layout::P010 => AVPixelFormat::AV_PIX_FMT_P010LE,
    }
}

/// The format of a picture that is in a device's memory.
pub(crate) fn surface_format(device: AVHWDeviceType) -> AVPixelFormat {
    match device {
        AV_HWDEVICE_TYPE_VULKAN => AVPixelFormat::AV_PIX_FMT_VULKAN,
        _ => AVPixelFormat::AV_PIX_FMT_VAAPI,
    }
}

/// The colour description of a space in FFmpeg's enums.
pub(crate) fn description(
    space: Space,
) -> (AVColorPrimaries, AVColorTransferCharacteristic, AVColorSpace) {
    use AVColorPrimaries::*;
    use AVColorSpace::*;
    use AVColorTransferCharacteristic::*;
    match space {
        Space::Bt2020 => (AVCOL_PRI_BT2020, AVCOL_TRC_BT2020_10, AVCOL_SPC_BT2020_NCL),
        Space::Bt2020Pq => (AVCOL_PRI_BT2020, AVCOL_TRC_SMPTE2084, AVCOL_SPC_BT2020_NCL),
        Space::Bt601 => (AVCOL_PRI_SMPTE170M, AVCOL_TRC_SMPTE170M, AVCOL_SPC_SMPTE170M),
        Space::Bt709 => (AVCOL_PRI_BT709, AVCOL_TRC_BT709, AVCOL_SPC_BT709),
    }
}

/// Whether samples use all their values, or those of television.
pub(crate) fn range(is_full_range: bool) -> AVColorRange {
    match is_full_range {
        true => AVColorRange::AVCOL_RANGE_JPEG,
        false => AVColorRange::AVCOL_RANGE_MPEG,
    }
}
