//! What an encoder is opened with, once it is known to be possible.

use std::ffi::{CStr, CString};
use std::thread;

use crate::abi::*;
use crate::annexb::Syntax;
use crate::error::Error;

/// Pixels of a side, at least and at most.
const SIDE: std::ops::RangeInclusive<u32> = 16..=16_384;
/// 1 Hz to 1 kHz.
const REFRESH_MHZ: std::ops::RangeInclusive<u32> = 1_000..=1_000_000;
/// The libraries count bits in 32 bits with a sign.
const BITRATE_KBPS: std::ops::RangeInclusive<u32> = 1..=2_000_000;
const FRAME_LEN_MAX: u32 = i32::MAX as u32 / 8;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Codec {
    Av1,
    H264,
    Hevc,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Backend {
    Nvenc,
    Software,
    V4l2,
    Vaapi,
    Vulkan,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Space {
    Bt2020,
    Bt2020Pq,
    Bt601,
    Bt709,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quality {
    Balanced,
    Best,
    Fastest,
}

/// How samples lie in memory, all 4:2:0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Layout {
    /// Three planes of bytes.
    I420,
    /// Three planes of 16-bit words, the sample in the lower ten bits.
    I420P10,
    /// A plane of bytes, a plane of pairs of them.
    Nv12,
    /// As NV12 of 16-bit words, the sample in the upper ten bits.
    P010,
}

/// How many bits there may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    pub(crate) bitrate_kbps: u32,
    /// Bytes; 0 is bitrate by refresh rate.
    pub(crate) frame_len_max: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) codec: Codec,
    pub(crate) backend: Backend,
    pub(crate) space: Space,
    pub(crate) quality: Quality,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) refresh_mhz: u32,
    pub(crate) rate: Rate,
    pub(crate) slice_count: u32,
    pub(crate) reference_count_max: u32,
    pub(crate) is_10_bit: bool,
    pub(crate) is_full_range: bool,
    pub(crate) thread_count: u32,
    pub(crate) device: Option<CString>,
}

impl Settings {
    /// Checks a configuration of the C interface.
    ///
    /// # Safety
    ///
    /// `device` is null or points to a string that ends.
    pub(crate) unsafe fn new(config: &avenc_config) -> Result<Settings, Error> {
        let is_side = |side: u32| SIDE.contains(&side) && side.is_multiple_of(2);
        if !is_side(config.width) || !is_side(config.height) {
            return Err(Error::Argument("width and height are even and 16 to 16384"));
        }
        if !REFRESH_MHZ.contains(&config.refresh_mhz) {
            return Err(Error::Argument("refresh_mhz is 1000 to 1000000"));
        }
        let is_10_bit = match config.bit_depth {
            8 => false,
            10 => true,
            _ => return Err(Error::Argument("bit_depth is 8 or 10")),
        };
        if config.full_range > 1 {
            return Err(Error::Argument("full_range is 0 or 1"));
        }
        let device = (!config.device.is_null()).then(|| {
            // SAFETY: not null, so a string that ends, as the caller promises.
            unsafe { CStr::from_ptr(config.device) }.to_owned()
        });
        Ok(Settings {
            codec: Codec::new(config.codec)?,
            backend: Backend::new(config.backend)?,
            space: Space::new(config.space)?,
            quality: Quality::new(config.quality)?,
            width: config.width,
            height: config.height,
            refresh_mhz: config.refresh_mhz,
            rate: Rate::new(config.bitrate_kbps, config.frame_len_max)?,
            slice_count: config.slice_count.clamp(1, 64),
            reference_count_max: config.reference_count_max.min(16),
            is_10_bit,
            is_full_range: config.full_range == 1,
            thread_count: match config.thread_count {
                0 => thread::available_parallelism().map_or(1, |count| count.get() as u32),
                count => count,
            }
            .min(64),
            device,
        })
    }

    /// Bytes to set aside for a unit: twice what it should have, where that is not out of hand.
    pub(crate) fn unit_len(&self) -> usize {
        (self.rate.buffer_bits(self.refresh_mhz) / 4).min(1 << 20) as usize
    }

    /// A small picture, to see whether there is such an encoder at all. It is as large as the
    /// largest minimum of the hardware there is.
    pub(crate) fn probe(codec: Codec, backend: Backend, device: Option<CString>) -> Settings {
        Settings {
            codec,
            backend,
            space: Space::Bt709,
            quality: Quality::Fastest,
            width: 320,
            height: 192,
            refresh_mhz: 60_000,
            rate: Rate { bitrate_kbps: 2_000, frame_len_max: 0 },
            slice_count: 1,
            reference_count_max: 0,
            is_10_bit: false,
            is_full_range: false,
            thread_count: 1,
            device,
        }
    }
}

impl Codec {
    pub(crate) fn new(codec: u32) -> Result<Codec, Error> {
        Ok(match codec {
            AVENC_H264 => Codec::H264,
            AVENC_HEVC => Codec::Hevc,
            AVENC_AV1 => Codec::Av1,
            _ => return Err(Error::Argument("codec is not one of avenc_codec")),
        })
    }

    /// How its access units are put together, where that is Annex B.
    pub(crate) fn syntax(self) -> Option<Syntax> {
        match self {
            Codec::Av1 => None,
            Codec::H264 => Some(Syntax::H264),
            Codec::Hevc => Some(Syntax::Hevc),
        }
    }
}

impl Backend {
    pub(crate) fn new(backend: u32) -> Result<Backend, Error> {
        Ok(match backend {
            AVENC_SOFTWARE => Backend::Software,
            AVENC_NVENC => Backend::Nvenc,
            AVENC_VAAPI => Backend::Vaapi,
            AVENC_VULKAN => Backend::Vulkan,
            AVENC_V4L2 => Backend::V4l2,
            _ => return Err(Error::Argument("backend is not one of avenc_backend")),
        })
    }
}

impl Space {
    fn new(space: u32) -> Result<Space, Error> {
        Ok(match space {
            AVENC_BT601 => Space::Bt601,
            AVENC_BT709 => Space::Bt709,
            AVENC_BT2020 => Space::Bt2020,
            AVENC_BT2020_PQ => Space::Bt2020Pq,
            _ => return Err(Error::Argument("space is not one of avenc_space")),
        })
    }

    /// Primaries, transfer and matrix, by the numbers of ITU-T H.273.
    pub(crate) fn description(self) -> (u8, u8, u8) {
        match self {
            Space::Bt2020 => (9, 14, 9),
            Space::Bt2020Pq => (9, 16, 9),
            Space::Bt601 => (6, 6, 6),
            Space::Bt709 => (1, 1, 1),
        }
    }
}

impl Quality {
    fn new(quality: u32) -> Result<Quality, Error> {
        Ok(match quality {
            AVENC_FASTEST => Quality::Fastest,
            AVENC_BALANCED => Quality::Balanced,
            AVENC_BEST => Quality::Best,
            _ => return Err(Error::Argument("quality is not one of avenc_quality")),
        })
    }
}

impl Rate {
    pub(crate) fn new(bitrate_kbps: u32, frame_len_max: u32) -> Result<Rate, Error> {
        if !BITRATE_KBPS.contains(&bitrate_kbps) {
            return Err(Error::Argument("bitrate_kbps is 1 to 2000000"));
        }
        Ok(Rate { bitrate_kbps, frame_len_max: frame_len_max.min(FRAME_LEN_MAX) })
    }

    /// Bits that a frame may have: the size of the rate buffer.
    pub(crate) fn buffer_bits(self, refresh_mhz: u32) -> u64 {
        match self.frame_len_max {
            0 => u64::from(self.bitrate_kbps) * 1_000_000 / u64::from(refresh_mhz),
            len => u64::from(len) * 8,
        }
        .max(1_000)
    }

    /// The bitrate in kbps that frames of the largest size do not exceed.
    pub(crate) fn kbps_max(self, refresh_mhz: u32) -> u32 {
        if self.frame_len_max == 0 {
            return self.bitrate_kbps;
        }
        let full = self.buffer_bits(refresh_mhz) * u64::from(refresh_mhz) / 1_000_000;
        u64::from(self.bitrate_kbps).min(full.max(1)) as u32
    }
}

impl Layout {
    /// The `avenc_layout` of it.
    pub(crate) fn number(self) -> u32 {
        match self {
            Layout::I420 => AVENC_I420,
            Layout::I420P10 => AVENC_I420P10,
            Layout::Nv12 => AVENC_NV12,
            Layout::P010 => AVENC_P010,
        }
    }

    pub(crate) fn plane_count(self) -> usize {
        match self {
            Layout::I420 | Layout::I420P10 => 3,
            Layout::Nv12 | Layout::P010 => 2,
        }
    }

    /// Bytes of a row and rows of a plane of a picture.
    pub(crate) fn plane(self, index: usize, width: u32, height: u32) -> (usize, usize) {
        let (width, height) = (width as usize, height as usize);
        let sample_len = match self {
            Layout::I420 | Layout::Nv12 => 1,
            Layout::I420P10 | Layout::P010 => 2,
        };
        match (self, index) {
            (_, 0) => (width * sample_len, height),
            (Layout::I420 | Layout::I420P10, _) => (width / 2 * sample_len, height / 2),
            (Layout::Nv12 | Layout::P010, _) => (width * sample_len, height / 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_buffer_holds_a_frame() {
        let cases = [
            (20_000, 0, 60_000, 333_333, 20_000),
            (20_000, 41_666, 60_000, 333_328, 19_999),
            (20_000, 100_000, 60_000, 800_000, 20_000),
            (20_000, 10_000, 60_000, 80_000, 4_800),
            (1, 0, 1_000_000, 1_000, 1),
        ];

        for (bitrate_kbps, frame_len_max, refresh_mhz, bits, kbps) in cases {
            let rate = Rate::new(bitrate_kbps, frame_len_max).unwrap();
            assert_eq!(rate.buffer_bits(refresh_mhz), bits, "{rate:?}");
            assert_eq!(rate.kbps_max(refresh_mhz), kbps, "{rate:?}");
        }
    }

    #[test]
    fn planes_are_as_large_as_their_layout_says() {
        let cases = [
            (Layout::I420, 0, (64, 32)),
            (Layout::I420, 2, (32, 16)),
            (Layout::I420P10, 0, (128, 32)),
            (Layout::I420P10, 1, (64, 16)),
            (Layout::Nv12, 1, (64, 16)),
            (Layout::P010, 1, (128, 16)),
        ];

        for (layout, index, expected) in cases {
            assert_eq!(layout.plane(index, 64, 32), expected, "{layout:?} {index}");
        }
    }
}
