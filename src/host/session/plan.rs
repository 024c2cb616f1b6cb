//! From what a client announces, and what the configuration allows, to what the threads do.

#![forbid(unsafe_code)]

use punktfunk_core::proto::gamestream::http::Mode;
use punktfunk_core::proto::gamestream::rtsp::announce::{Announce, Audio, Video};
use punktfunk_core::proto::packet::video::VideoConfig;

use super::Session;
use crate::capture::Memory;
use crate::conf::{self, Conf};
use crate::display::{self, Told, Wanted};
use crate::encode::{Backend, Quality, Settings};
use crate::grants::Grant;
use crate::pipeline::{Plan, Schedule, SoundPlan};

/// Shards of a block at most, parity included.
const BLOCK_SHARDS_MAX: u32 = 255;
/// Blocks of a frame at most.
const BLOCK_COUNT_MAX: u32 = 4;
/// Bytes of a shard that are not payload of the frame.
const SHARD_HEADER_LEN: u32 = 16;
/// Bytes in front of each frame's bits.
const FRAME_HEADER_LEN: u32 = 8;
/// A picture at less than this is none.
const ENCODER_KBPS_MIN: u32 = 200;
/// Class selector 5 (RFC 2474), for pictures.
const VIDEO_DSCP: u8 = 40;
/// Class selector 6, for sound.
const AUDIO_DSCP: u8 = 48;
/// Room between the numbers of two streams that share a key.
const NONCES_PER_STREAM_BITS: u32 = 40;

/// What of the host a plan depends on beside its configuration.
#[derive(Debug)]
pub struct Circumstances {
    /// Who encodes what was announced.
    pub backend: Backend,
    /// Processors that this process may use.
    pub processor_count: usize,
    /// What runs in the session's display, and around it.
    pub app: display::App,
}

/// The plan of a session, or why there can be none.
pub fn plan(
    session: &Session,
    announce: &Announce,
    conf: &Conf,
    circumstances: Circumstances,
) -> Result<Plan, String> {
    let video = &announce.video;
    let refresh_mhz = refresh_mhz(video.refresh_mhz, conf.fps_max);
    let is_too_large = video.width > conf.mode_max.width || video.height > conf.mode_max.height;
    if is_too_large || refresh_mhz > conf.mode_max.refresh_mhz {
        return Err(format!(
            "{}x{}@{} is more than MaxMode {}x{}@{}",
            video.width,
            video.height,
            Hertz(refresh_mhz),
            conf.mode_max.width,
            conf.mode_max.height,
            Hertz(conf.mode_max.refresh_mhz),
        ));
    }
    let parity_percent = conf.parity_percent;
    let encoder_kbps = encoder_kbps(announce, parity_percent.into(), conf.bitrate_max_kbps);
    let protected_len = protected_len(video.packet_len, parity_percent.into());
    let seals = |is_sealed: bool| is_sealed.then(|| session.keys.rikey.clone());
    Ok(Plan {
        session: session.id,
        run: session.run,
        display: display(session, announce, refresh_mhz, conf, circumstances.app),
        memory: memory(conf.capture_buffers, circumstances.backend),
        encoder: Settings {
            codec: video.format.codec,
            backend: circumstances.backend,
            width: video.width,
            height: video.height,
            refresh_mhz,
            bitrate_kbps: encoder_kbps,
            frame_len_max: Some(frame_len_share(encoder_kbps, refresh_mhz).min(protected_len)),
            slice_count: conf.slices.map_or(video.slice_count, u32::from),
            reference_count_max: video.reference_count_max,
            is_10_bit: video.format.is_10_bit,
            colour: video.colour,
            is_hdr: false,
            quality: match conf.quality {
                conf::Quality::Balanced => Quality::Balanced,
                conf::Quality::Best => Quality::Best,
                conf::Quality::Fastest => Quality::Fastest,
            },
            thread_count: None,
            device: None,
        },
        video: VideoConfig {
            packet_len: video.packet_len as usize,
            parity_percent,
            parity_count_min: video.parity_count_min.min(u8::MAX.into()) as u8,
            key: seals(announce.encryption.video),
            nonce: session.stream_count << NONCES_PER_STREAM_BITS,
        },
        protected_len,
        paces: conf.pacing,
        spread_percent: conf.pacing_spread_percent,
        segments: conf.gso,
        video_dscp: (conf.dscp && video.may_mark).then_some(VIDEO_DSCP),
        idr_interval_min: conf.idr_interval_min,
        sound: sound(session, announce, conf),
        schedule: schedule(conf, circumstances.processor_count),
    })
}

fn display(
    session: &Session,
    announce: &Announce,
    refresh_mhz: u32,
    conf: &Conf,
    app: display::App,
) -> Option<Wanted> {
    let (video, channel_count) = (&announce.video, announce.audio.channel_count);
    (conf.capture != conf::Capture::Test).then(|| Wanted {
        kind: conf.display.clone(),
        compositor: conf.compositor,
        mode: Mode { width: video.width, height: video.height, refresh_mhz },
        scale_percent: conf.scale_percent,
        session: session.id,
        run: session.run,
        told: Told { channel_count: Some(channel_count), ..session.told.clone() },
        app: Some(app),
        sessions_max: conf.sessions_max as u32,
    })
}

/// Buffers of the compositor's are worth it where the encoder takes them as they are; to read them
/// may be slow, so that has to be asked for.
fn memory(wanted: conf::CaptureBuffers, backend: Backend) -> Memory {
    match wanted {
        conf::CaptureBuffers::Auto if backend.imports() => Memory::DmaBuf,
        conf::CaptureBuffers::DmaBuf => Memory::DmaBuf,
        conf::CaptureBuffers::Auto | conf::CaptureBuffers::Shm => Memory::Shared,
    }
}

fn sound(session: &Session, announce: &Announce, conf: &Conf) -> Option<SoundPlan> {
    if conf.audio == conf::Audio::Off || !session.grants.contains(Grant::Audio) {
        return None;
    }
    let audio = &announce.audio;
    let keys = &session.keys;
    Some(SoundPlan {
        session: session.id,
        client_name: session.client_name.clone(),
        is_test: conf.capture == conf::Capture::Test,
        channel_count: audio.channel_count as usize,
        is_high_quality: audio.is_high_quality,
        layout: session.wishes.layout,
        packet_time: audio.packet_time,
        key: announce.encryption.audio.then(|| (keys.rikey.clone(), keys.rikeyid)),
        dscp: (conf.dscp && audio.may_mark).then_some(AUDIO_DSCP),
        is_heard_here: conf.audio == conf::Audio::Both
            || session.wishes.plays_on_host == Some(true),
        sink: conf.audio_sink.clone(),
    })
}

/// The refresh of the stream: the client's, or the highest that is allowed.
fn refresh_mhz(wanted: u32, fps_max: Option<u32>) -> u32 {
    fps_max.map_or(wanted, |fps_max| wanted.min(fps_max * 1000))
}

/// What is left for the encoder of what the client set: less parity, sound, and something for the
/// control stream, none of which may take it all.
fn encoder_kbps(announce: &Announce, parity_percent: u32, max_kbps: Option<u32>) -> u32 {
    let Video { bitrate_kbps, is_encoder_bitrate, .. } = announce.video;
    let mut kbps = bitrate_kbps;
    if !is_encoder_bitrate {
        if parity_percent <= 80 {
            kbps = (u64::from(kbps) * u64::from(100 - parity_percent) / 100) as u32;
        }
        kbps -= sound_kbps(&announce.audio).min(kbps / 5);
        kbps -= 500.min(kbps / 10);
    }
    kbps.min(max_kbps.unwrap_or(u32::MAX)).max(ENCODER_KBPS_MIN)
}

fn sound_kbps(audio: &Audio) -> u32 {
    audio.channel_count * if audio.is_high_quality { 256 } else { 96 }
}

/// Bytes that the bitrate gives a frame.
fn frame_len_share(kbps: u32, refresh_mhz: u32) -> u32 {
    (u64::from(kbps) * 125_000 / u64::from(refresh_mhz)).min(u32::MAX.into()) as u32
}

/// Bytes of a frame that still has all of its parity.
fn protected_len(packet_len: u32, parity_percent: u32) -> u32 {
    let data_shards_max = BLOCK_SHARDS_MAX * 100 / (100 + parity_percent);
    let payload_len = packet_len - SHARD_HEADER_LEN;
    BLOCK_COUNT_MAX * data_shards_max * payload_len - FRAME_HEADER_LEN
}

/// Threads are pinned where the two hot ones leave a processor to everything else.
fn schedule(conf: &Conf, processor_count: usize) -> Schedule {
    let processors = match &conf.affinity {
        conf::Affinity::Auto if processor_count > 3 => {
            Some([processor_count - 2, processor_count - 1])
        }
        conf::Affinity::Auto | conf::Affinity::Off => None,
        conf::Affinity::Cpus(list) => {
            let first = list.first().copied().map(usize::from);
            first.map(|first| [first, list.get(1).map_or(first, |second| (*second).into())])
        }
    };
    Schedule { processors, is_real_time: conf.priority != conf::Priority::Off }
}

/// Millihertz as people read them.
struct Hertz(u32);

impl std::fmt::Display for Hertz {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{}", self.0 / 1000),
            rest => {
                let decimals = format!("{rest:03}");
                write!(f, "{}.{}", self.0 / 1000, decimals.trim_end_matches('0'))
            }
        }
    }
}

impl Plan {
    /// Bytes that a frame should not exceed at a bitrate of the encoder: what that gives it, and
    /// what still has all of its parity.
    pub fn frame_len_max(&self, kbps: u32) -> u32 {
        frame_len_share(kbps, self.encoder.refresh_mhz).min(self.protected_len)
    }

    /// In words, for the log.
    pub fn summary(&self) -> String {
        let encoder = &self.encoder;
        let bits = if encoder.is_10_bit { ", 10 bits" } else { "" };
        let sound = match &self.sound {
            None => "no sound".to_owned(),
            Some(sound) => format!("{} channels", sound.channel_count),
        };
        format!(
            "{}x{}@{}, {}{bits}, {} kbps, {sound}",
            encoder.width,
            encoder.height,
            Hertz(encoder.refresh_mhz),
            encoder.codec,
            encoder.bitrate_kbps,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNOUNCE: &[u8] = include_bytes!("../../../tests/vectors/rtsp/announce");

    fn announce() -> Announce {
        let text = std::str::from_utf8(ANNOUNCE).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        Announce::parse(body.as_bytes(), None).unwrap()
    }

    #[test]
    fn the_encoder_has_what_parity_and_sound_leave() {
        // Configured, parity in percent, channels, high quality, most allowed; the encoder's.
        let table = [
            (20_000, 20, 2, false, None, 15_308),
            (20_000, 20, 2, true, None, 14_988),
            (20_000, 20, 2, true, Some(8_000), 8_000),
            (100_000, 20, 8, true, None, 77_452),
            (1_000, 20, 2, true, None, 576),
            (20_000, 90, 2, false, None, 19_308),
            (300, 20, 2, false, None, 200),
        ];
        for (kbps, parity, channels, is_high, max, expected) in table {
            let mut announce = announce();
            (announce.video.bitrate_kbps, announce.video.is_encoder_bitrate) = (kbps, false);
            (announce.audio.channel_count, announce.audio.is_high_quality) = (channels, is_high);

            assert_eq!(encoder_kbps(&announce, parity, max), expected, "{kbps}");
        }
        let mut announce = announce();
        (announce.video.bitrate_kbps, announce.video.is_encoder_bitrate) = (12_345, true);
        assert_eq!(encoder_kbps(&announce, 20, None), 12_345);
    }

    #[test]
    fn a_frame_is_as_long_as_its_share_and_never_too_long_for_parity() {
        // kbps, millihertz, packet length, parity; bytes.
        let table = [
            (15_000, 60_000, 1392, 20, 31_250),
            (15_000, 59_940, 1392, 20, 31_281),
            (800_000, 30_000, 1392, 20, 4 * 212 * 1376 - 8),
            (800_000, 30_000, 1392, 100, 4 * 127 * 1376 - 8),
        ];
        for (kbps, refresh_mhz, packet_len, parity, expected) in table {
            let len = frame_len_share(kbps, refresh_mhz).min(protected_len(packet_len, parity));
            assert_eq!(len, expected, "{kbps}");
        }
    }

    #[test]
    fn buffers_of_the_compositor_are_for_who_asks_for_them() {
        for backend in Backend::ALL {
            let memory = |wanted| memory(wanted, backend);

            assert_eq!(memory(conf::CaptureBuffers::Auto), Memory::Shared, "{backend}");
            assert_eq!(memory(conf::CaptureBuffers::DmaBuf), Memory::DmaBuf, "{backend}");
            assert_eq!(memory(conf::CaptureBuffers::Shm), Memory::Shared, "{backend}");
        }
    }

    #[test]
    fn refresh_is_shown_as_people_write_it() {
        for (refresh_mhz, text) in [(60_000, "60"), (59_940, "59.94"), (1_001, "1.001")] {
            assert_eq!(Hertz(refresh_mhz).to_string(), text);
        }
        assert_eq!(refresh_mhz(120_000, Some(60)), 60_000);
        assert_eq!(refresh_mhz(30_000, Some(60)), 30_000);
    }
}
