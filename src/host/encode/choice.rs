//! Which backend serves which codec, and why: what clients are offered.

#![forbid(unsafe_code)]

use std::fmt;

use punktfunk_core::proto::gamestream::rtsp::announce::{Codec, Format};

use super::abilities::{Abilities, Backend, Can};

/// Codecs in preference, where the administrator names none.
const PREFERENCE: [Codec; 3] = [Codec::Hevc, Codec::Av1, Codec::H264];

/// What the configuration says of encoders.
#[derive(Clone, Debug, PartialEq)]
pub struct Directives {
    /// The backend; `None` is the first that can.
    pub encoder: Option<Backend>,
    /// What may serve where that cannot.
    pub fallback: Fallback,
    /// Codecs that are offered, in preference. `None` is all of them, but of software H.264 alone:
    /// the others cost it several times as much, and clients prefer them where they are offered.
    pub codecs: Option<Vec<Codec>>,
    /// 10 bits a sample may be offered.
    pub allows_10_bit: bool,
}

/// What happens where the wanted encoder cannot. With no backend named, what is wanted is one
/// that frees the processor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fallback {
    /// Nothing serves in its place.
    Refuse,
    /// Another serves, and a warning says so.
    Warn,
}

/// What serves the codecs of the configuration, in preference.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    codecs: Vec<Served>,
    allows_10_bit: bool,
}

/// A codec, and what serves it.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// Which.
    pub codec: Codec,
    /// What serves it, if anything can and may.
    pub by: Option<Service>,
    /// Why nothing that comes first serves it, a part for each backend; empty where the first
    /// does.
    pub why: String,
}

/// What serves a codec.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Service {
    /// By what it is encoded.
    pub backend: Backend,
    /// What that can.
    pub can: Can,
    /// It is not what was wanted.
    pub is_fallback: bool,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            Some(service) => write!(f, "{}: {}", self.codec, service.backend)?,
            None => write!(f, "{}: none", self.codec)?,
        }
        if self.why.is_empty() { Ok(()) } else { write!(f, ", because {}", self.why) }
    }
}

impl Choice {
    /// What serves on a machine that can do this.
    pub fn new(abilities: &Abilities, directives: &Directives) -> Choice {
        let serve = |codec| directives.serve(codec, |backend| abilities.of(backend, codec));
        Choice::of(directives, serve)
    }

    /// What is taken for granted of a machine that was never probed: plain H.264, by the wanted
    /// backend or by software.
    pub fn before_probe(directives: &Directives) -> Choice {
        let backend = directives.encoder.unwrap_or(Backend::Software);
        let can = Can { encode: true, ten_bit: false, invalidate: false, set_bitrate: false };
        Choice::of(directives, |codec| Served {
            codec,
            by: (codec == Codec::H264).then_some(Service { backend, can, is_fallback: false }),
            why: "encoders are not probed yet".to_owned(),
        })
    }

    /// What serves where nothing can, and why.
    pub fn none(directives: &Directives, why: &str) -> Choice {
        Choice::of(directives, |codec| Served { codec, by: None, why: why.to_owned() })
    }

    fn of(directives: &Directives, serve: impl Fn(Codec) -> Served) -> Choice {
        let codecs = directives.codecs.as_deref().unwrap_or(&PREFERENCE);
        Choice {
            codecs: codecs.iter().copied().map(serve).collect(),
            allows_10_bit: directives.allows_10_bit,
        }
    }

    /// All codecs of the configuration, in preference.
    pub fn codecs(&self) -> &[Served] {
        &self.codecs
    }

    /// What serves a codec.
    pub fn service(&self, codec: Codec) -> Option<Service> {
        self.codecs.iter().find(|served| served.codec == codec).and_then(|served| served.by)
    }

    /// Every format that can be encoded, in preference; for the answer to DESCRIBE.
    pub fn offers(&self) -> Vec<Format> {
        let mut formats = Vec::new();
        for Served { codec, by, .. } in &self.codecs {
            let Some(Service { can, .. }) = *by else {
                continue;
            };
            // The protocol has no H.264 of 10 bits.
            let has_10_bit = can.ten_bit && self.allows_10_bit && *codec != Codec::H264;
            let depths = [(can.encode, false), (has_10_bit, true)];
            let depths = depths.into_iter().filter(|(can, _)| *can);
            formats.extend(depths.map(|(_, is_10_bit)| Format {
                codec: *codec,
                is_10_bit,
                is_444: false,
            }));
        }
        formats
    }

    /// What serverinfo says of the formats. Clients do not even begin with a host that has none,
    /// so such a host says H.264, and why there is no session when one is asked for.
    pub fn codec_mode_support(&self) -> u32 {
        let bits = self.offers().iter().fold(0, |bits, format| bits | mode_bit(format));
        if bits == 0 { mode_bit(&H264) } else { bits }
    }

    /// Whether clients may tell which frames they lost, and need no IDR then.
    ///
    /// This is said once for all codecs, before one is agreed on. H.264 decides, which every client
    /// can fall back to. Where another codec is agreed on whose encoder cannot, its answer to a
    /// loss is an IDR, which ends a client's wait as well.
    pub fn invalidates(&self) -> bool {
        self.service(Codec::H264).is_some_and(|service| service.can.invalidate)
    }

    /// Why no session can be had, if none can.
    pub fn refusal(&self) -> Option<String> {
        if self.codecs.iter().any(|served| served.by.is_some()) {
            return None;
        }
        let mut whys: Vec<String> = Vec::new();
        let mut last = "";
        for served in &self.codecs {
            // The same for all where it is the plug-in that is missing.
            if served.why != last {
                whys.push(served.to_string());
                last = &served.why;
            }
        }
        Some(format!("no encoder: {}", whys.join("; ")))
    }
}

const H264: Format = Format { codec: Codec::H264, is_10_bit: false, is_444: false };

/// A format's bit of ServerCodecModeSupport.
fn mode_bit(format: &Format) -> u32 {
    match (format.codec, format.is_444, format.is_10_bit) {
        (Codec::H264, false, false) => 0x1,
        (Codec::H264, true, false) => 0x4_0000,
        // There is none.
        (Codec::H264, _, true) => 0,
        (Codec::Hevc, false, false) => 0x100,
        (Codec::Hevc, false, true) => 0x200,
        (Codec::Hevc, true, false) => 0x8_0000,
        (Codec::Hevc, true, true) => 0x10_0000,
        (Codec::Av1, false, false) => 0x1_0000,
        (Codec::Av1, false, true) => 0x2_0000,
        (Codec::Av1, true, false) => 0x20_0000,
        (Codec::Av1, true, true) => 0x40_0000,
    }
}

impl Directives {
    /// Backends in the order in which they are asked.
    fn order(&self) -> Vec<Backend> {
        let others = |wanted| Backend::ALL.into_iter().filter(move |it| *it != wanted);
        match (self.encoder, self.fallback) {
            (Some(wanted), Fallback::Refuse) => vec![wanted],
            (Some(wanted), Fallback::Warn) => {
                std::iter::once(wanted).chain(others(wanted)).collect()
            }
            (None, Fallback::Refuse) => others(Backend::Software).collect(),
            (None, Fallback::Warn) => Backend::ALL.to_vec(),
        }
    }

    fn serve<'a>(&self, codec: Codec, ability: impl Fn(Backend) -> Result<Can, &'a str>) -> Served {
        // Software serves more than H.264 only where somebody has written it down.
        let may_soften = codec == Codec::H264 || self.codecs.is_some();
        let mut whys = Vec::new();
        for backend in self.order() {
            let ability = match backend {
                Backend::Software if !may_soften => Err("only for codecs that Codecs names"),
                backend => ability(backend),
            };
            match ability {
                Ok(can) => {
                    let wanted = self.encoder;
                    let is_fallback = match wanted {
                        Some(wanted) => backend != wanted,
                        None => backend == Backend::Software,
                    };
                    let by = Some(Service { backend, can, is_fallback });
                    return Served { codec, by, why: whys.join("; ") };
                }
                Err(why) => whys.push(format!("{backend}: {why}")),
            }
        }
        if self.fallback == Fallback::Refuse {
            whys.push("EncoderFallback refuses others".to_owned());
        }
        Served { codec, by: None, why: whys.join("; ") }
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::abilities::CODECS;
    use super::super::abilities::tests::machine;
    use super::*;

    /// What a configuration without a word on encoders says.
    pub const DEFAULT: Directives =
        Directives { encoder: None, fallback: Fallback::Warn, codecs: None, allows_10_bit: true };

    fn directives(encoder: Option<Backend>, fallback: Fallback, codecs: &str) -> Directives {
        let named = |word| CODECS.into_iter().find(|codec| codec.to_string() == word);
        let codecs: Vec<Codec> = codecs.split_whitespace().filter_map(named).collect();
        let codecs = Some(codecs).filter(|codecs| !codecs.is_empty());
        Directives { encoder, fallback, codecs, allows_10_bit: true }
    }

    #[test]
    fn each_codec_is_served_by_the_first_backend_that_can_and_may() {
        use Backend::{Nvenc, Software, V4l2, Vaapi};
        use Codec::{Av1, H264, Hevc};
        use Fallback::{Refuse, Warn};

        let pc = [(Nvenc, H264), (Nvenc, Hevc), (Vaapi, H264), (Vaapi, Hevc), (Vaapi, Av1)];
        let soft = [(Software, H264), (Software, Hevc), (Software, Av1)];
        let pc: Vec<_> = pc.into_iter().chain(soft).collect();
        let (pc, soft, board) = (&pc[..], &soft[..], &[(V4l2, H264), (Software, H264)][..]);
        let table = [
            // Machine, Encoder, EncoderFallback, Codecs; what serves, with ! for a fallback.
            (pc, None, Warn, "", "hevc nvenc, av1 vaapi, h264 nvenc"),
            (pc, None, Refuse, "", "hevc nvenc, av1 vaapi, h264 nvenc"),
            (pc, None, Warn, "h264 av1", "h264 nvenc, av1 vaapi"),
            (pc, Some(Vaapi), Refuse, "", "hevc vaapi, av1 vaapi, h264 vaapi"),
            (pc, Some(Nvenc), Refuse, "", "hevc nvenc, av1 none, h264 nvenc"),
            (pc, Some(Nvenc), Warn, "", "hevc nvenc, av1 vaapi!, h264 nvenc"),
            (pc, Some(V4l2), Refuse, "h264", "h264 none"),
            (pc, Some(V4l2), Warn, "h264", "h264 nvenc!"),
            (pc, Some(Software), Refuse, "", "hevc none, av1 none, h264 software"),
            (pc, Some(Software), Refuse, "hevc", "hevc software"),
            (soft, None, Warn, "", "hevc none, av1 none, h264 software!"),
            (soft, None, Refuse, "", "hevc none, av1 none, h264 none"),
            (soft, None, Warn, "av1 h264", "av1 software!, h264 software!"),
            (soft, Some(Software), Warn, "", "hevc none, av1 none, h264 software"),
            (soft, Some(Nvenc), Warn, "h264", "h264 software!"),
            (board, None, Warn, "", "hevc none, av1 none, h264 v4l2"),
            (board, None, Warn, "hevc", "hevc none"),
            (&[], None, Warn, "", "hevc none, av1 none, h264 none"),
        ];
        for (encoders, encoder, fallback, codecs, expected) in table {
            let choice = Choice::new(&machine(encoders), &directives(encoder, fallback, codecs));

            let one = |served: &Served| match served.by {
                None => format!("{} none", served.codec),
                Some(by) => {
                    let mark = if by.is_fallback { "!" } else { "" };
                    format!("{} {}{mark}", served.codec, by.backend)
                }
            };
            let served: Vec<String> = choice.codecs().iter().map(one).collect();
            let given = format!("{encoders:?} {encoder:?} {fallback:?} {codecs}");
            assert_eq!(served.join(", "), expected, "{given}");
            let is_fallback = |it: &&Served| it.by.is_some_and(|service| service.is_fallback);
            let fallback_count = choice.codecs().iter().filter(is_fallback).count();
            assert_eq!(fallback_count, expected.matches('!').count(), "{given}");
            assert_eq!(choice.refusal().is_some(), choice.offers().is_empty(), "{given}");
        }
    }

    #[test]
    fn only_what_can_be_encoded_is_offered() {
        use Backend::{Nvenc, Software};
        use Codec::{Av1, H264, Hevc};

        let all = [(Nvenc, H264), (Nvenc, Hevc), (Nvenc, Av1)];
        let table = [
            (&all[..], true, 0x30301),
            (&all[..], false, 0x10101),
            (&all[..2], true, 0x301),
            (&all[1..2], true, 0x300),
            (&[(Software, H264)][..], true, 1),
            (&[][..], true, 1),
        ];
        for (encoders, allows_10_bit, expected) in table {
            let directives = Directives { allows_10_bit, ..DEFAULT };
            let choice = Choice::new(&machine(encoders), &directives);
            assert_eq!(choice.codec_mode_support(), expected, "{encoders:?}");
        }
        let choice = Choice::new(&machine(&all[..2]), &DEFAULT);
        let format = |codec, is_10_bit| Format { codec, is_10_bit, is_444: false };
        assert_eq!(choice.offers(), [format(Hevc, false), format(Hevc, true), H264_FORMAT]);
        assert!(choice.invalidates());
        assert!(!Choice::new(&machine(&all[1..]), &DEFAULT).invalidates());
    }

    const H264_FORMAT: Format = super::H264;

    #[test]
    fn before_a_probe_plain_h264_is_offered_and_nothing_else() {
        for (encoder, backend) in
            [(None, Backend::Software), (Some(Backend::Vaapi), Backend::Vaapi)]
        {
            let choice = Choice::before_probe(&Directives { encoder, ..DEFAULT });

            assert_eq!(choice.offers(), [H264_FORMAT]);
            assert_eq!(choice.service(Codec::H264).map(|it| it.backend), Some(backend));
            assert_eq!((choice.codec_mode_support(), choice.invalidates()), (1, false));
        }
    }

    #[test]
    fn why_a_backend_serves_is_said_in_a_line() {
        let soft = machine(&[(Backend::Software, Codec::H264)]);
        let none = Choice::none(&DEFAULT, "this host has no encoder plug-in");
        let refuse = Directives { encoder: Some(Backend::Nvenc), ..DEFAULT };
        let refuse = Directives { fallback: Fallback::Refuse, ..refuse };

        let served = Choice::new(&soft, &DEFAULT);
        let h264 = served.codecs().iter().find(|it| it.codec == Codec::H264).map(Served::to_string);
        let refused = Choice::new(&soft, &refuse).refusal().unwrap();

        let expected = "h264: software, because nvenc: no nvenc here; vaapi: no vaapi here; \
                        vulkan: no vulkan here; v4l2: no v4l2 here";
        assert_eq!(h264.as_deref(), Some(expected));
        assert_eq!(
            refused,
            "no encoder: hevc: none, because nvenc: no nvenc here; EncoderFallback refuses others"
        );
        let expected = "no encoder: hevc: none, because this host has no encoder plug-in";
        assert_eq!(none.refusal().as_deref(), Some(expected));
    }
}
