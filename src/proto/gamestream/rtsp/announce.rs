//! What a client announces: how the session is to be. The body of ANNOUNCE, in the manner of SDP.
//!
//! Lines are `a=NAME:VALUE`, with blanks behind the value. The attributes that mean something to
//! this host are checked here, the rest is ignored; of an attribute that stands twice, the first
//! counts. Whether the host offers what is asked is the handshake's.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::proto::gamestream::http::decimal;

/// Bits of `x-nv-general.featureFlags`: sound is sealed, whatever else is said.
const NV_AUDIO_ENCRYPTION: u32 = 0x20;
/// Bits of `x-ml-general.featureFlags`.
const ML_FEC_STATUS: u32 = 1;
const ML_SESSION_ID: u32 = 2;
/// The address that clients claim to talk to where they want sound at a low bitrate.
const HOST_OF_LOW_BITRATE: &str = "0.0.0.0";
/// Width and height at most, in pixels.
const SIDE_MAX: u32 = 16_384;
/// Bits per second that no encoder reaches, in kbit/s.
const BITRATE_KBPS_MAX: u32 = 10_000_000;

/// A session as the client wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct Announce {
    /// The picture.
    pub video: Video,
    /// The sound.
    pub audio: Audio,
    /// What is sealed from now on, by either end.
    pub encryption: Encryption,
    /// The client reports on what FEC repaired.
    pub reports_fec: bool,
    /// The client brings the ping payload and the connect data that SETUP gave it. Others are told
    /// apart by their address alone.
    pub has_session_id: bool,
}

/// A picture as the client wants it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Video {
    /// 2 to 16384 pixels, even.
    pub width: u32,
    /// 2 to 16384 pixels, even.
    pub height: u32,
    /// 1000 to 999999; 59940 is 59.94 Hz.
    pub refresh_mhz: u32,
    /// What it is encoded as.
    pub format: Format,
    /// How its colours are.
    pub colour: Colour,
    /// Of everything that is sent for it, parity too. The encoder's own where the client tells no
    /// more.
    pub bitrate_kbps: u32,
    /// Whether `bitrate_kbps` is the encoder's alone. Otherwise parity and sound come out of it.
    pub is_encoder_bitrate: bool,
    /// The length of a shard less 16 bytes; a multiple of 16.
    pub packet_len: u32,
    /// Slices that the decoder wants of each frame, 1 to 64.
    pub slice_count: u32,
    /// Reference frames that an encoder may use at most; `None` leaves it to the level.
    pub reference_count_max: Option<u32>,
    /// Parity shards that each block has at least.
    pub parity_count_min: u32,
    /// Intra refresh is wanted in place of IDR frames.
    pub wants_intra_refresh: bool,
    /// Datagrams may be marked for routers.
    pub may_mark: bool,
}

/// A codec and what it carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Format {
    /// By whom it is decoded.
    pub codec: Codec,
    /// 10 bits a sample, otherwise 8.
    pub is_10_bit: bool,
    /// A colour for every pixel (4:4:4), otherwise for every four (4:2:0).
    pub is_444: bool,
}

/// What pictures are encoded with, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Codec {
    /// H.264.
    H264,
    /// HEVC.
    Hevc,
    /// AV1.
    Av1,
}

/// How numbers become colours while the picture is not HDR.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Colour {
    /// Matrix and primaries.
    pub space: ColourSpace,
    /// Numbers use their whole range, otherwise 16 to 235 and its like.
    pub is_full_range: bool,
}

/// A matrix and primaries, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ColourSpace {
    /// ITU-R BT.601.
    Bt601,
    /// ITU-R BT.709.
    Bt709,
    /// ITU-R BT.2020.
    Bt2020,
}

/// Sound as the client wants it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Audio {
    /// 2, 6 or 8.
    pub channel_count: u32,
    /// Of the speakers, as WAVE counts them; one bit to a channel.
    pub channel_mask: u32,
    /// At a high bitrate.
    pub is_high_quality: bool,
    /// What one Opus packet lasts, 5 or 10 ms.
    pub packet_time: Duration,
    /// Datagrams may be marked for routers.
    pub may_mark: bool,
}

/// What of a session is sealed, or can be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Encryption {
    /// The control stream, with a nonce of 12 bytes and a direction (V2). It is never in the
    /// clear.
    pub control: bool,
    /// Pictures.
    pub video: bool,
    /// Sound.
    pub audio: bool,
}

/// Why a session cannot be as it is announced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// The attribute of this name has a value that it cannot have.
    Bad(&'static str),
    /// The attribute of this name is missing.
    Missing(&'static str),
    /// It is not text.
    NotText,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Bad(name) => write!(f, "bad attribute {name}"),
            Error::Missing(name) => write!(f, "missing attribute {name}"),
            Error::NotText => f.write_str("announcement is not text"),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::H264 => "h264",
            Codec::Hevc => "hevc",
            Codec::Av1 => "av1",
        })
    }
}

impl Encryption {
    /// Nothing but the control stream.
    pub const CONTROL: Encryption = Encryption { control: true, video: false, audio: false };
    /// Everything.
    pub const ALL: Encryption = Encryption { control: true, video: true, audio: true };

    /// What these bits say; others are ignored.
    pub fn from_bits(bits: u32) -> Encryption {
        Encryption { control: bits & 1 != 0, video: bits & 2 != 0, audio: bits & 4 != 0 }
    }

    /// As on the wire.
    pub fn bits(self) -> u32 {
        u32::from(self.control) | u32::from(self.video) << 1 | u32::from(self.audio) << 2
    }

    /// Whether everything in `other` is in this as well.
    pub fn contains(self, other: Encryption) -> bool {
        self.bits() & other.bits() == other.bits()
    }
}

impl Announce {
    /// Takes the body of an ANNOUNCE, and the value of its Host header: the quality of stereo has
    /// no other place.
    pub fn parse(body: &[u8], host: Option<&str>) -> Result<Announce, Error> {
        let text = std::str::from_utf8(body).map_err(|_| Error::NotText)?;
        let attributes = Attributes::parse(text);
        let encryption = attributes.encryption()?;
        let features = attributes.number("x-ml-general.featureFlags", ANY, Some(0))?;
        Ok(Announce {
            video: attributes.video()?,
            audio: attributes.audio(host)?,
            encryption,
            reports_fec: features & ML_FEC_STATUS != 0,
            has_session_id: features & ML_SESSION_ID != 0,
        })
    }
}

/// Numbers in any range.
const ANY: RangeInclusive<u32> = 0..=u32::MAX;

/// Names and values as sent.
struct Attributes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Attributes<'a> {
    fn parse(text: &'a str) -> Attributes<'a> {
        let lines = text.split('\n').filter_map(|line| line.strip_prefix("a="));
        let pairs = lines.filter_map(|line| line.split_once(':'));
        Attributes(pairs.map(|(name, value)| (name, value.trim_matches(BLANKS))).collect())
    }

    /// The number of this name; without it `default`, where there is one.
    fn number(
        &self,
        name: &'static str,
        range: RangeInclusive<u32>,
        default: Option<u32>,
    ) -> Result<u32, Error> {
        match self.0.iter().find(|(other, _)| *other == name) {
            Some((_, value)) => {
                decimal(value).filter(|number| range.contains(number)).ok_or(Error::Bad(name))
            }
            None => default.ok_or(Error::Missing(name)),
        }
    }

    /// 0 or 1; without it 0.
    fn flag(&self, name: &'static str) -> Result<bool, Error> {
        Ok(self.number(name, 0..=1, Some(0))? == 1)
    }

    fn encryption(&self) -> Result<Encryption, Error> {
        let bits = self.number("x-ss-general.encryptionEnabled", ANY, Some(0))?;
        let features = self.number("x-nv-general.featureFlags", ANY, Some(135))?;
        let mut encryption = Encryption::from_bits(bits);
        encryption.audio |= features & NV_AUDIO_ENCRYPTION != 0;
        Ok(encryption)
    }

    fn video(&self) -> Result<Video, Error> {
        let even = |name| Ok(self.number(name, 2..=SIDE_MAX, None)? & !1);
        let bitrate_max = self.bitrate("x-nv-vqos[0].bw.maximumBitrateKbps", 1, None)?;
        let configured = self.bitrate("x-ml-video.configuredBitrateKbps", 0, Some(0))?;
        let packet_len = self.number("x-nv-video[0].packetSize", 128..=8960, None)?;
        if packet_len % 16 != 0 {
            return Err(Error::Bad("x-nv-video[0].packetSize"));
        }
        let references = self.number("x-nv-video[0].maxNumReferenceFrames", 0..=16, None)?;
        let marking = self.number("x-nv-vqos[0].qosTrafficType", ANY, Some(5))?;
        Ok(Video {
            width: even("x-nv-video[0].clientViewportWd")?,
            height: even("x-nv-video[0].clientViewportHt")?,
            refresh_mhz: self.refresh_mhz()?,
            format: self.format()?,
            colour: self.colour()?,
            bitrate_kbps: if configured > 0 { configured } else { bitrate_max },
            is_encoder_bitrate: configured == 0,
            packet_len,
            slice_count: self.number("x-nv-video[0].videoEncoderSlicesPerFrame", 1..=64, None)?,
            reference_count_max: (references > 0).then_some(references),
            parity_count_min: self.number(
                "x-nv-vqos[0].fec.minRequiredFecPackets",
                0..=255,
                Some(0),
            )?,
            wants_intra_refresh: self.flag("x-ss-video[0].intraRefresh")?,
            may_mark: marking != 0,
        })
    }

    fn bitrate(&self, name: &'static str, min: u32, default: Option<u32>) -> Result<u32, Error> {
        self.number(name, min..=BITRATE_KBPS_MAX, default)
    }

    /// The exact rate counts where it is that of the stream. Some clients send their display's.
    fn refresh_mhz(&self) -> Result<u32, Error> {
        let refresh = self.number("x-nv-video[0].maxFPS", 1..=999, None)? * 1000;
        let exact = self.number("x-nv-video[0].clientRefreshRateX100", ANY, Some(0))?;
        let exact = exact.saturating_mul(10);
        Ok(if exact.abs_diff(refresh) <= refresh / 100 { exact } else { refresh }.min(999_999))
    }

    fn format(&self) -> Result<Format, Error> {
        const CODECS: [Codec; 3] = [Codec::H264, Codec::Hevc, Codec::Av1];
        let codec = self.number("x-nv-vqos[0].bitStreamFormat", 0..=2, Some(0))?;
        Ok(Format {
            codec: CODECS[codec as usize],
            is_10_bit: self.flag("x-nv-video[0].dynamicRangeMode")?,
            is_444: self.flag("x-ss-video[0].chromaSamplingType")?,
        })
    }

    fn colour(&self) -> Result<Colour, Error> {
        const SPACES: [ColourSpace; 3] =
            [ColourSpace::Bt601, ColourSpace::Bt709, ColourSpace::Bt2020];
        let mode = self.number("x-nv-video[0].encoderCscMode", 0..=5, Some(0))?;
        Ok(Colour { space: SPACES[mode as usize >> 1], is_full_range: mode & 1 != 0 })
    }

    fn audio(&self, host: Option<&str>) -> Result<Audio, Error> {
        const CHANNELS: &str = "x-nv-audio.surround.numChannels";
        const MASK: &str = "x-nv-audio.surround.channelMask";
        const PACKET: &str = "x-nv-aqos.packetDuration";
        let channel_count = self.number(CHANNELS, 2..=8, None)?;
        if ![2, 6, 8].contains(&channel_count) {
            return Err(Error::Bad(CHANNELS));
        }
        let channel_mask = self.number(MASK, 0..=0xffff, None)?;
        if channel_mask.count_ones() != channel_count {
            return Err(Error::Bad(MASK));
        }
        let packet_ms = self.number(PACKET, 5..=10, Some(5))?;
        if ![5, 10].contains(&packet_ms) {
            return Err(Error::Bad(PACKET));
        }
        let quality = self.number("x-nv-audio.surround.AudioQuality", 0..=1, None)?;
        let marking = self.number("x-nv-aqos.qosTrafficType", ANY, Some(4))?;
        Ok(Audio {
            channel_count,
            channel_mask,
            is_high_quality: match channel_count {
                2 => host.is_some_and(|host| host != HOST_OF_LOW_BITRATE),
                _ => quality == 1,
            },
            packet_time: Duration::from_millis(packet_ms.into()),
            may_mark: marking != 0,
        })
    }
}

const BLANKS: [char; 3] = [' ', '\t', '\r'];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::gamestream::rtsp::message::Request;

    const STEREO: &[u8] = include_bytes!("../../../../tests/vectors/rtsp/announce");
    const SURROUND: &[u8] = include_bytes!("../../../../tests/vectors/rtsp/announce-surround");

    /// The body that the stock client sends, with one value put in place of another.
    fn body(name: &str, value: &str) -> String {
        let body = std::str::from_utf8(Request::parse(STEREO).unwrap().body).unwrap();
        let lines = body.split_inclusive('\n').filter(|line| !line.contains(&format!("={name}:")));
        let rest: String = lines.collect();
        if value.is_empty() { rest } else { format!("{rest}a={name}:{value} \r\n") }
    }

    fn parse(name: &str, value: &str) -> Result<Announce, Error> {
        Announce::parse(body(name, value).as_bytes(), Some("10.0.0.2"))
    }

    fn stock(bytes: &[u8]) -> Announce {
        let request = Request::parse(bytes).unwrap();
        Announce::parse(request.body, request.value("host")).unwrap()
    }

    #[test]
    fn what_the_stock_client_announces_is_understood() {
        let format = Format { codec: Codec::H264, is_10_bit: false, is_444: false };
        let stereo = Announce {
            video: Video {
                width: 1280,
                height: 720,
                refresh_mhz: 60_000,
                format,
                colour: Colour { space: ColourSpace::Bt601, is_full_range: false },
                bitrate_kbps: 10_000,
                is_encoder_bitrate: false,
                packet_len: 1360,
                slice_count: 1,
                reference_count_max: Some(1),
                parity_count_min: 2,
                wants_intra_refresh: false,
                may_mark: true,
            },
            audio: Audio {
                channel_count: 2,
                channel_mask: 3,
                is_high_quality: false,
                packet_time: Duration::from_millis(5),
                may_mark: true,
            },
            encryption: Encryption::ALL,
            reports_fec: true,
            has_session_id: true,
        };
        let audio =
            Audio { channel_count: 6, channel_mask: 63, is_high_quality: true, ..stereo.audio };
        let format = Format { codec: Codec::Hevc, ..format };
        let video = Video { bitrate_kbps: 20_000, format, ..stereo.video };

        assert_eq!(stock(STEREO), stereo);
        assert_eq!(stock(SURROUND), Announce { audio, video, ..stereo });
    }

    #[test]
    fn what_a_session_cannot_do_without_is_named() {
        let table = [
            "x-nv-video[0].clientViewportWd",
            "x-nv-video[0].clientViewportHt",
            "x-nv-video[0].maxFPS",
            "x-nv-video[0].packetSize",
            "x-nv-vqos[0].bw.maximumBitrateKbps",
            "x-nv-video[0].videoEncoderSlicesPerFrame",
            "x-nv-video[0].maxNumReferenceFrames",
            "x-nv-audio.surround.numChannels",
            "x-nv-audio.surround.channelMask",
            "x-nv-audio.surround.AudioQuality",
        ];
        for name in table {
            assert_eq!(parse(name, ""), Err(Error::Missing(name)));
            for value in [" ", "-1", "+1", "1x", "4294967296", "99999999999999999999"] {
                assert_eq!(parse(name, value), Err(Error::Bad(name)), "{value}");
            }
        }
        assert!(matches!(Announce::parse(b"", None), Err(Error::Missing(_))));
        assert_eq!(Announce::parse(b"a=\xff:1", None), Err(Error::NotText));
    }

    #[test]
    fn values_have_their_ranges() {
        let table = [
            ("x-nv-video[0].clientViewportWd", "2", true),
            ("x-nv-video[0].clientViewportWd", "1", false),
            ("x-nv-video[0].clientViewportHt", "16384", true),
            ("x-nv-video[0].clientViewportHt", "16385", false),
            ("x-nv-video[0].maxFPS", "999", true),
            ("x-nv-video[0].maxFPS", "0", false),
            ("x-nv-video[0].maxFPS", "1000", false),
            ("x-nv-video[0].packetSize", "128", true),
            ("x-nv-video[0].packetSize", "112", false),
            ("x-nv-video[0].packetSize", "1391", false),
            ("x-nv-video[0].packetSize", "8960", true),
            ("x-nv-video[0].packetSize", "8976", false),
            ("x-nv-vqos[0].bw.maximumBitrateKbps", "0", false),
            ("x-nv-vqos[0].bw.maximumBitrateKbps", "10000000", true),
            ("x-ml-video.configuredBitrateKbps", "10000001", false),
            ("x-nv-video[0].videoEncoderSlicesPerFrame", "64", true),
            ("x-nv-video[0].videoEncoderSlicesPerFrame", "65", false),
            ("x-nv-video[0].maxNumReferenceFrames", "16", true),
            ("x-nv-video[0].maxNumReferenceFrames", "17", false),
            ("x-nv-vqos[0].fec.minRequiredFecPackets", "255", true),
            ("x-nv-vqos[0].fec.minRequiredFecPackets", "256", false),
            ("x-nv-vqos[0].bitStreamFormat", "2", true),
            ("x-nv-vqos[0].bitStreamFormat", "3", false),
            ("x-nv-video[0].dynamicRangeMode", "2", false),
            ("x-ss-video[0].chromaSamplingType", "2", false),
            ("x-ss-video[0].intraRefresh", "2", false),
            ("x-nv-video[0].encoderCscMode", "5", true),
            ("x-nv-video[0].encoderCscMode", "6", false),
            ("x-nv-audio.surround.numChannels", "4", false),
            ("x-nv-audio.surround.numChannels", "6", false),
            ("x-nv-audio.surround.channelMask", "1536", true),
            ("x-nv-audio.surround.channelMask", "7", false),
            ("x-nv-audio.surround.channelMask", "65537", false),
            ("x-nv-audio.surround.AudioQuality", "2", false),
            ("x-nv-aqos.packetDuration", "10", true),
            ("x-nv-aqos.packetDuration", "7", false),
            ("x-nv-general.featureFlags", "4294967295", true),
            ("x-ss-general.encryptionEnabled", "4294967295", true),
            ("x-nv-video[0].rateControlMode", "whatever", true),
            ("x-of-nobody.knows", "a:b=c", true),
        ];
        for (name, value, is_good) in table {
            let announce = parse(name, value);

            assert_eq!(announce.is_ok(), is_good, "{name} {value}");
        }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let names = [
            "x-ml-general.featureFlags",
            "x-ss-general.encryptionEnabled",
            "x-ss-video[0].chromaSamplingType",
            "x-ml-video.configuredBitrateKbps",
            "x-nv-vqos[0].fec.minRequiredFecPackets",
            "x-nv-vqos[0].qosTrafficType",
            "x-nv-aqos.qosTrafficType",
            "x-nv-general.featureFlags",
            "x-nv-vqos[0].bitStreamFormat",
            "x-nv-video[0].dynamicRangeMode",
            "x-nv-video[0].clientRefreshRateX100",
            "x-nv-aqos.packetDuration",
            "x-nv-video[0].encoderCscMode",
        ];
        let body = body("", "");
        let lines = body.split_inclusive('\n');
        let rest: String =
            lines.filter(|line| !names.iter().any(|name| line.contains(name))).collect();

        let announce = Announce::parse(rest.as_bytes(), Some("0.0.0.0")).unwrap();

        let mut expected = stock(STEREO);
        expected.encryption = Encryption::default();
        (expected.reports_fec, expected.has_session_id) = (false, false);
        expected.video.parity_count_min = 0;
        (expected.video.bitrate_kbps, expected.video.is_encoder_bitrate) = (8000, true);
        assert_eq!(announce, expected);
    }

    #[test]
    fn sound_is_sealed_by_either_of_two_flags() {
        let table = [
            ("0", "135", Encryption::default()),
            ("0", "167", Encryption { audio: true, ..Encryption::default() }),
            ("5", "135", Encryption { audio: true, ..Encryption::CONTROL }),
            ("1", "135", Encryption::CONTROL),
            ("3", "167", Encryption::ALL),
        ];
        for (enabled, features, expected) in table {
            let text = format!(
                "a=x-ss-general.encryptionEnabled:{enabled}\n\
                 a=x-nv-general.featureFlags:{features}\n"
            );
            let text = text + &body("", "");

            let announce = Announce::parse(text.as_bytes(), None).unwrap();

            assert_eq!(announce.encryption, expected, "{enabled} {features}");
            assert_eq!(Encryption::from_bits(expected.bits()), expected);
        }
    }

    #[test]
    fn the_exact_refresh_counts_within_a_hundredth() {
        let table = [
            ("60", "0", 60_000),
            ("60", "5994", 59_940),
            ("60", "5940", 59_400),
            ("60", "5939", 60_000),
            ("60", "6060", 60_600),
            ("60", "14400", 60_000),
            ("60", "4294967295", 60_000),
            ("999", "100500", 999_999),
        ];
        for (rate, exact, refresh_mhz) in table {
            let text = format!(
                "a=x-nv-video[0].maxFPS:{rate}\na=x-nv-video[0].clientRefreshRateX100:{exact}\n"
            );
            let text = text + &body("", "");

            let announce = Announce::parse(text.as_bytes(), None).unwrap();

            assert_eq!(announce.video.refresh_mhz, refresh_mhz, "{rate} {exact}");
        }
    }

    #[test]
    fn odd_sides_lose_a_pixel_and_colours_are_two_numbers_in_one() {
        let odd = parse("x-nv-video[0].clientViewportWd", "1367").unwrap();
        let wide = parse("x-nv-video[0].encoderCscMode", "5").unwrap();
        let free = parse("x-nv-video[0].maxNumReferenceFrames", "0").unwrap();

        assert_eq!(odd.video.width, 1366);
        let colour = Colour { space: ColourSpace::Bt2020, is_full_range: true };
        assert_eq!(wide.video.colour, colour);
        assert_eq!(free.video.reference_count_max, None);
    }

    #[test]
    fn stereo_has_the_quality_of_its_host_header() {
        let body = body("", "");
        let table = [(Some("10.0.0.2"), true), (Some("0.0.0.0"), false), (None, false)];
        for (host, expected) in table {
            let announce = Announce::parse(body.as_bytes(), host).unwrap();

            assert_eq!(announce.audio.is_high_quality, expected, "{host:?}");
        }
    }

    #[test]
    fn lines_may_end_in_either_way() {
        let body = body("", "").replace("\r\n", "\n").replace(" \n", "\n");

        assert_eq!(Announce::parse(body.as_bytes(), Some("0.0.0.0")), Ok(stock(STEREO)));
    }
}
