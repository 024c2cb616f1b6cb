//! What the host offers: the body of its answer to DESCRIBE.
//!
//! Clients look for substrings, so a line for a codec is there exactly when the codec is.

#![forbid(unsafe_code)]

use std::fmt::{self, Write as _};

use super::announce::{Codec, Encryption, Format};

/// What this host can do and wants, for one session.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Every format that it encodes. Plain H.264 is what clients fall back to.
    pub formats: Vec<Format>,
    /// The encoder can do without reference frames that the client has lost (RFI).
    pub invalidates: bool,
    /// Pen and touch are taken, and not only as a mouse.
    pub takes_touch: bool,
    /// Touchpads and motion sensors of gamepads are taken.
    pub takes_motion: bool,
    /// What can be sealed.
    pub can_seal: Encryption,
    /// What is to be sealed even if the user did not ask for it.
    pub wants_sealed: Encryption,
    /// What is sealed, or there is no session.
    pub must_seal: Encryption,
    /// The layout of surround sound that the client brought to /launch, if it did.
    pub layout: Option<Layout>,
}

/// How Opus carries surround sound: in `stream_count` streams, of which the first `coupled_count`
/// are stereo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// 6 or 8, and as much as both other counts together.
    pub channel_count: u8,
    /// At least `coupled_count`.
    pub stream_count: u8,
    /// Streams of two channels.
    pub coupled_count: u8,
    /// Where each channel is found in the streams; `channel_count` entries count.
    pub mapping: [u8; 8],
}

/// Layouts of 2, 6 and 8 channels, normal quality before high. Clients take the first of a count
/// as one in which the fourth channel is last, and turn it back.
const LAYOUTS: [&str; 6] =
    ["21101", "21101", "642012453", "660012345", "85301245673", "88001234567"];

impl Offer {
    /// The body.
    pub fn emit(&self) -> String {
        let features = u32::from(self.takes_touch) | u32::from(self.takes_motion) << 1;
        let has = |codec| self.formats.iter().any(|format| format.codec == codec);
        let mut text = format!(
            "a=x-ss-general.featureFlags:{features}\n\
             a=x-ss-general.encryptionSupported:{}\n\
             a=x-ss-general.encryptionRequested:{}\n",
            self.can_seal.bits(),
            self.wants_sealed.bits(),
        );
        if self.invalidates {
            text.push_str("a=x-nv-video[0].refPicInvalidation:1\n");
        }
        if has(Codec::Hevc) {
            // How the parameter sets of every HEVC stream begin, in base64.
            text.push_str("sprop-parameter-sets=AAAAAU\n");
        }
        if has(Codec::Av1) {
            text.push_str("a=rtpmap:98 AV1/90000\n");
        }
        // One of the client's own is both its normal and its high quality.
        for layout in self.layout.iter().flat_map(|layout| [layout; 2]) {
            let _ = writeln!(text, "a=fmtp:97 surround-params={layout}");
        }
        for layout in LAYOUTS {
            let _ = writeln!(text, "a=fmtp:97 surround-params={layout}");
        }
        text
    }
}

impl Layout {
    /// Takes digits: the three counts, and then the mapping.
    pub fn parse(text: &str) -> Option<Layout> {
        let digit = |byte: u8| byte.is_ascii_digit().then(|| byte - b'0');
        let digits: Vec<u8> = text.bytes().take(12).map(digit).collect::<Option<_>>()?;
        let [channel_count, stream_count, coupled_count, channels @ ..] = &digits[..] else {
            return None;
        };
        let is_layout = [6, 8].contains(channel_count)
            && stream_count + coupled_count == *channel_count
            && coupled_count <= stream_count
            && channels.len() == usize::from(*channel_count)
            && channels.iter().all(|channel| channel < channel_count);
        let mut mapping = [0; 8];
        mapping.get_mut(..channels.len())?.copy_from_slice(channels);
        is_layout.then_some(Layout {
            channel_count: *channel_count,
            stream_count: *stream_count,
            coupled_count: *coupled_count,
            mapping,
        })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.channel_count, self.stream_count, self.coupled_count)?;
        let channels = self.mapping.iter().take(self.channel_count.into());
        channels.into_iter().try_for_each(|channel| write!(f, "{channel}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer() -> Offer {
        let format = |codec| Format { codec, is_10_bit: false, is_444: false };
        Offer {
            formats: vec![format(Codec::H264), format(Codec::Hevc), format(Codec::Av1)],
            invalidates: true,
            takes_touch: true,
            takes_motion: true,
            can_seal: Encryption::ALL,
            wants_sealed: Encryption::CONTROL,
            must_seal: Encryption::CONTROL,
            layout: None,
        }
    }

    #[test]
    fn everything_is_offered_as_clients_read_it() {
        assert_eq!(
            offer().emit(),
            "a=x-ss-general.featureFlags:3\n\
             a=x-ss-general.encryptionSupported:7\n\
             a=x-ss-general.encryptionRequested:1\n\
             a=x-nv-video[0].refPicInvalidation:1\n\
             sprop-parameter-sets=AAAAAU\n\
             a=rtpmap:98 AV1/90000\n\
             a=fmtp:97 surround-params=21101\n\
             a=fmtp:97 surround-params=21101\n\
             a=fmtp:97 surround-params=642012453\n\
             a=fmtp:97 surround-params=660012345\n\
             a=fmtp:97 surround-params=85301245673\n\
             a=fmtp:97 surround-params=88001234567\n"
        );
    }

    #[test]
    fn what_is_not_there_is_not_named() {
        let mut offer = offer();
        offer.formats.truncate(1);
        offer.invalidates = false;
        offer.takes_touch = false;

        let text = offer.emit();

        for word in ["AV1", "sprop", "refPicInvalidation"] {
            assert!(!text.contains(word), "{word}");
        }
        assert!(text.starts_with("a=x-ss-general.featureFlags:2\n"));
    }

    #[test]
    fn a_layout_of_the_client_stands_first_and_twice() {
        let mut offer = offer();
        offer.layout = Layout::parse("642014235");

        let text = offer.emit();

        let first = text.find("surround-params").unwrap();
        let line = "surround-params=642014235\n";
        assert!(text[first..].starts_with(&format!("{line}a=fmtp:97 {line}a=fmtp:97 surround")));
    }

    #[test]
    fn layouts_are_what_opus_can_carry() {
        let table = [
            ("642014235", true),
            ("660012345", true),
            ("88001234567", true),
            ("633012345", true),
            ("", false),
            ("64201423", false),
            ("6420142350", false),
            ("642014236", false),
            ("652014235", false),
            ("624014235", false),
            ("21101", false),
            ("853012345670", false),
            ("64201423x", false),
            ("642 14235", false),
            ("64201423\u{663}", false),
        ];
        for (text, expected) in table {
            let layout = Layout::parse(text).map(|layout| layout.to_string());
            assert_eq!(layout.as_deref(), expected.then_some(text), "{text}");
        }
    }
}
