//! What directives say of sessions and their streams: the types, and text to value and back.

#![forbid(unsafe_code)]

use punktfunk_core::proto::gamestream::http::Mode;
use punktfunk_core::proto::gamestream::rtsp::announce::Codec;

use super::super::grants::Grants;
use super::error::{Complaint, visible};
use super::lexer::Word;
use super::value::{choice, number};

/// Pixels of a picture's side at most.
const SIDE_MAX: u32 = 16_384;
/// Pictures a second at most.
const REFRESH_HZ_MAX: u32 = 1000;
/// Rates that a stream may be bounded by, in kbit/s.
const RATE_KBPS: std::ops::RangeInclusive<u64> = 500..=10_000_000;
/// Units of rates, the largest first, with their bits per second.
const RATE_UNITS: [(&str, u64); 3] = [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1000)];
/// Units of sizes, the largest of each kind first, with their bytes.
const SIZE_UNITS: [(&str, u64); 6] = [
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1000),
];
/// Bytes of a socket's buffer.
const SOCKET_BUFFER_LEN: std::ops::RangeInclusive<u64> = 64 << 10..=512 << 20;
/// How large programs may draw.
const SCALE_PERCENT: std::ops::RangeInclusive<u32> = 50..=400;
/// The highest number of a processor that sched_setaffinity(2) of glibc takes.
const CPU_MAX: u16 = 1023;
/// Bytes in the name of an output at most.
const OUTPUT_LEN_MAX: usize = 64;
/// Bytes in the name of a sink at most.
const SINK_LEN_MAX: usize = 127;
/// Parity shards per hundred data shards where nobody says how many.
const PARITY_PERCENT_AUTO: u8 = 20;

/// Which processors the threads of a stream run on.
#[derive(Clone, Debug, PartialEq)]
pub enum Affinity {
    /// As the daemon thinks best.
    Auto,
    /// On these, in rising order.
    Cpus(Vec<u16>),
    /// Wherever the kernel puts them.
    Off,
}

/// Where the sound of the host is heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Audio {
    /// At the client and at the host.
    Both,
    /// At the client alone.
    Client,
    /// Not at the client: there is no sound in streams.
    Off,
}

/// Bits of a sample of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BitDepth {
    /// What the client asks for.
    Auto,
    /// 8.
    Eight,
    /// 10, where the client can.
    Ten,
}

/// Where pictures and sound come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Capture {
    /// A desktop.
    Auto,
    /// The daemon makes them.
    Test,
}

/// In what a desktop hands its pictures over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CaptureBuffers {
    /// DMA-BUFs where the encoder takes them as they are, else shared memory.
    Auto,
    /// DMA-BUFs where they can be had and read, else shared memory.
    DmaBuf,
    /// Shared memory.
    Shm,
}

/// Whose desktops sessions may have displays on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Compositor {
    /// The first that runs: sway's, then those of other compositors of wlroots.
    Auto,
    /// sway's.
    Sway,
    /// Those of compositors of wlroots that are not sway.
    Wlroots,
}

/// Which display a session sees.
#[derive(Clone, Debug, PartialEq)]
pub enum Display {
    /// `Virtual` where a desktop runs, else `Private`.
    Auto,
    /// The output of that name on the desktop that runs, as it is.
    Mirror(String),
    /// A compositor of the session's own.
    Private,
    /// An output of the session's own on the desktop that runs.
    Virtual,
}

/// What encodes pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Encoder {
    /// The best of those that work.
    Auto,
    /// NVIDIA's.
    Nvenc,
    /// The processor.
    Software,
    /// Video4Linux, on boards.
    V4l2,
    /// VA-API: Intel's and AMD's.
    Vaapi,
    /// Vulkan Video.
    Vulkan,
}

/// What follows where the encoder asked for does not work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EncoderFallback {
    /// No session.
    Refuse,
    /// The software encoder, and a warning.
    Warn,
}

/// What of a stream has to be sealed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Encryption {
    /// The control stream alone.
    Off,
    /// What the client wants, and beyond private networks all that it can.
    Preferred,
    /// Everything.
    Required,
}

/// What the gamepads of clients are like on this host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gamepad {
    /// Each as the client says that it is.
    Auto,
    /// DualShock 4.
    Ds4,
    /// Switch Pro.
    Switch,
    /// Xbox 360.
    X360,
    /// Xbox One.
    Xone,
}

/// How threads of a stream are scheduled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Priority {
    /// In real time, if that is allowed.
    Auto,
    /// As any other.
    Off,
    /// In real time, and with memory that is not swapped out.
    Realtime,
}

/// What an encoder spends its time on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quality {
    /// On both.
    Balanced,
    /// On the picture.
    Best,
    /// On being done early.
    Fastest,
}

/// What a client meets while another has a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SessionConflict {
    /// It is told no.
    Refuse,
    /// It gets a session of its own.
    Separate,
    /// It gets a session, and the other's ends.
    Takeover,
}

/// The names of [`Audio`].
pub const AUDIO: [(&str, Audio); 3] =
    [("both", Audio::Both), ("client", Audio::Client), ("off", Audio::Off)];
/// The names of [`BitDepth`].
pub const BIT_DEPTH: [(&str, BitDepth); 3] =
    [("8", BitDepth::Eight), ("10", BitDepth::Ten), ("auto", BitDepth::Auto)];
/// The names of [`Capture`].
pub const CAPTURE: [(&str, Capture); 2] = [("auto", Capture::Auto), ("test", Capture::Test)];
/// The names of [`CaptureBuffers`].
pub const CAPTURE_BUFFERS: [(&str, CaptureBuffers); 3] = [
    ("auto", CaptureBuffers::Auto),
    ("dmabuf", CaptureBuffers::DmaBuf),
    ("shm", CaptureBuffers::Shm),
];
/// The names of [`Compositor`].
pub const COMPOSITOR: [(&str, Compositor); 3] =
    [("auto", Compositor::Auto), ("sway", Compositor::Sway), ("wlroots", Compositor::Wlroots)];
/// The names of [`Encoder`].
pub const ENCODER: [(&str, Encoder); 6] = [
    ("auto", Encoder::Auto),
    ("nvenc", Encoder::Nvenc),
    ("software", Encoder::Software),
    ("v4l2", Encoder::V4l2),
    ("vaapi", Encoder::Vaapi),
    ("vulkan", Encoder::Vulkan),
];
/// The names of [`EncoderFallback`].
pub const ENCODER_FALLBACK: [(&str, EncoderFallback); 2] =
    [("refuse", EncoderFallback::Refuse), ("warn", EncoderFallback::Warn)];
/// The names of [`Encryption`].
pub const ENCRYPTION: [(&str, Encryption); 3] = [
    ("off", Encryption::Off),
    ("preferred", Encryption::Preferred),
    ("required", Encryption::Required),
];
/// What keyboards and pointers of clients are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The compositor, and the kernel where that has no way.
    Auto,
    /// The compositor.
    Compositor,
    /// The kernel.
    Uinput,
}

/// The names of [`Input`].
pub const INPUT: [(&str, Input); 3] =
    [("auto", Input::Auto), ("compositor", Input::Compositor), ("uinput", Input::Uinput)];

/// The names of [`Gamepad`].
pub const GAMEPAD: [(&str, Gamepad); 5] = [
    ("auto", Gamepad::Auto),
    ("ds4", Gamepad::Ds4),
    ("switch", Gamepad::Switch),
    ("x360", Gamepad::X360),
    ("xone", Gamepad::Xone),
];
/// The names of [`Priority`].
pub const PRIORITY: [(&str, Priority); 3] =
    [("auto", Priority::Auto), ("off", Priority::Off), ("realtime", Priority::Realtime)];
/// The names of [`Quality`].
pub const QUALITY: [(&str, Quality); 3] =
    [("balanced", Quality::Balanced), ("best", Quality::Best), ("fastest", Quality::Fastest)];
/// The names of [`SessionConflict`].
pub const SESSION_CONFLICT: [(&str, SessionConflict); 3] = [
    ("refuse", SessionConflict::Refuse),
    ("separate", SessionConflict::Separate),
    ("takeover", SessionConflict::Takeover),
];
/// The names of what is done or left.
pub const AUTO_OFF: [(&str, bool); 2] = [("auto", true), ("off", false)];

/// The names of codecs, in the order in which an error lists them.
const CODECS: [(&str, Codec); 3] =
    [("h264", Codec::H264), ("hevc", Codec::Hevc), ("av1", Codec::Av1)];

/// Codecs, the most wanted first; `auto` alone is `None`.
pub fn codecs(words: &[Word]) -> Result<Option<Vec<Codec>>, Complaint> {
    if words.len() == 1 && words[0].text == "auto" {
        return Ok(None);
    }
    let mut codecs = Vec::new();
    for word in words {
        let codec = choice(word, &CODECS).map_err(|_| Complaint {
            column: word.column,
            what: format!("unknown codec \"{}\", one of h264 hevc av1", shown(&word.text)),
        })?;
        if codecs.contains(&codec) {
            return Err(word.complain("stands here twice"));
        }
        codecs.push(codec);
    }
    Ok(Some(codecs))
}

fn shown(text: &str) -> String {
    visible(&text.chars().take(32).collect::<String>())
}

/// Grants; `none` alone stands for no one.
pub fn grants(words: &[Word]) -> Result<Grants, Complaint> {
    if let [word] = words
        && word.text == "none"
    {
        return Ok(Grants::NONE);
    }
    Grants::parse(words.iter().map(|word| word.text.as_str()))
        .map_err(|error| Complaint { column: words[error.index()].column, what: error.to_string() })
}

/// A rate in bits per second, in kbit/s: `20M`. `0` is none.
pub fn rate(word: &Word) -> Result<Option<u32>, Complaint> {
    if word.text == "0" {
        return Ok(None);
    }
    let range = "0 or a rate from 500k to 10G bits per second";
    if is_number(&word.text) {
        let what = format!("has no unit, write {range}, in k, M or G");
        return Err(word.complain(what));
    }
    with_unit(&word.text, &RATE_UNITS)
        .map(|bits| bits / 1000)
        .filter(|kbps| RATE_KBPS.contains(kbps))
        .and_then(|kbps| u32::try_from(kbps).ok())
        .map(Some)
        .ok_or_else(|| word.complain(format_args!("is not {range}, such as 20M")))
}

/// The text of [`rate`].
pub fn emit_rate(kbps: Option<u32>) -> String {
    kbps.map_or("0".into(), |kbps| emit_with_unit(u64::from(kbps) * 1000, &RATE_UNITS))
}

/// A size in bytes: `32Mi`.
pub fn size(word: &Word) -> Result<usize, Complaint> {
    let range = "a size from 64Ki to 512Mi bytes";
    if is_number(&word.text) {
        let what = format!("has no unit, write {range}, in k, M, G, Ki, Mi or Gi");
        return Err(word.complain(what));
    }
    with_unit(&word.text, &SIZE_UNITS)
        .filter(|len| SOCKET_BUFFER_LEN.contains(len))
        .and_then(|len| usize::try_from(len).ok())
        .ok_or_else(|| word.complain(format_args!("is not {range}, such as 32Mi")))
}

/// The text of [`size`].
pub fn emit_size(len: usize) -> String {
    emit_with_unit(len as u64, &SIZE_UNITS)
}

/// How large programs draw, in percent.
pub fn scale(word: &Word) -> Result<u32, Complaint> {
    let parse = || {
        let (whole, rest) = word.text.split_once('.').unwrap_or((&word.text, "0"));
        let is_right = is_number(whole) && is_number(rest) && rest.len() <= 2;
        let text = is_right.then(|| format!("{whole}{rest:0<2}"))?;
        text.parse().ok().filter(|percent| SCALE_PERCENT.contains(percent))
    };
    parse().ok_or_else(|| word.complain("is not a number from 0.5 to 4, such as 1.25"))
}

/// The text of [`scale`].
pub fn emit_scale(percent: u32) -> String {
    let text = format!("{}.{:02}", percent / 100, percent % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    count.parse::<u64>().ok()?.checked_mul(*factor)
}

/// In the first unit that needs no fraction.
fn emit_with_unit(value: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().find(|(_, factor)| value.is_multiple_of(*factor));
    let (unit, factor) = whole.expect("values are whole in the unit that they were given in");
    format!("{}{unit}", value / factor)
}

/// Width, height and whole pictures a second: `3840x2160@120`.
pub fn mode(word: &Word) -> Result<Mode, Complaint> {
    let parse = || {
        let (size, refresh) = word.text.split_once('@')?;
        let (width, height) = size.split_once('x')?;
        let side = |text| within(text, SIDE_MAX);
        let refresh_mhz = within(refresh, REFRESH_HZ_MAX)? * 1000;
        Some(Mode { width: side(width)?, height: side(height)?, refresh_mhz })
    };
    parse().ok_or_else(|| word.complain("is not a mode such as 3840x2160@120"))
}

/// A number from 1 to `max`.
fn within(text: &str, max: u32) -> Option<u32> {
    text.parse().ok().filter(|value| is_number(text) && (1..=max).contains(value))
}

/// The text of [`mode`].
pub fn emit_mode(mode: Mode) -> String {
    format!("{}x{}@{}", mode.width, mode.height, mode.refresh_mhz / 1000)
}

/// `auto`, or 1 to 16 slices.
pub fn slices(word: &Word) -> Result<Option<u8>, Complaint> {
    auto_or_number(word, 16)
}

/// The text of [`slices`].
pub fn emit_slices(count: Option<u8>) -> String {
    count.map_or("auto".into(), |count| count.to_string())
}

/// `auto`, or parity shards per hundred data shards.
pub fn parity(word: &Word) -> Result<u8, Complaint> {
    Ok(auto_or_number(word, 100)?.unwrap_or(PARITY_PERCENT_AUTO))
}

/// The text of [`parity`].
pub fn emit_parity(percent: u8) -> String {
    if percent == PARITY_PERCENT_AUTO { "auto".into() } else { percent.to_string() }
}

fn auto_or_number(word: &Word, max: u8) -> Result<Option<u8>, Complaint> {
    if word.text == "auto" {
        return Ok(None);
    }
    let what = format!("is neither auto nor a number from 1 to {max}");
    number(word, 1..=max).map(Some).map_err(|_| word.complain(what))
}

/// At most so many, `0` for as many as there are.
pub fn limit(word: &Word, max: u32) -> Result<Option<u32>, Complaint> {
    number(word, 0..=max).map(|count| Some(count).filter(|count| *count > 0))
}

/// The text of [`limit`].
pub fn emit_limit(count: Option<u32>) -> String {
    count.unwrap_or(0).to_string()
}

/// `own`, or the name of a sink of the sound server.
pub fn sink(word: &Word) -> Result<Option<String>, Complaint> {
    let text = &word.text;
    if text == "own" {
        return Ok(None);
    }
    let is_name = (1..=SINK_LEN_MAX).contains(&text.len())
        && !text.contains(|it: char| it.is_whitespace() || it.is_control());
    let what = "is no sink's name, 'pactl list short sinks' shows them";
    if is_name { Ok(Some(text.clone())) } else { Err(word.complain(what)) }
}

/// `auto`, `private`, `virtual`, or `mirror` and the name of an output.
pub fn display(words: &[Word]) -> Result<Display, Complaint> {
    const KINDS: [(&str, Display); 3] =
        [("auto", Display::Auto), ("private", Display::Private), ("virtual", Display::Virtual)];
    match words {
        [kind] if kind.text == "mirror" => {
            Err(kind.complain("is without the name of an output, such as DP-1"))
        }
        [kind] => match KINDS.into_iter().find(|(name, _)| *name == kind.text) {
            Some((_, display)) => Ok(display),
            None => Err(kind.complain("is not one of auto, mirror, private, virtual")),
        },
        [kind, name, ..] if kind.text == "mirror" => {
            let may = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
            let is_name = (1..=OUTPUT_LEN_MAX).contains(&name.text.len());
            match is_name && name.text.bytes().all(may) {
                true => Ok(Display::Mirror(name.text.clone())),
                false => Err(name.complain("is no output's name, such as DP-1")),
            }
        }
        [.., last] => Err(last.complain("is one too many, only mirror takes a name")),
        [] => unreachable!("directives have a value at least"),
    }
}

/// The text of [`display`].
pub fn emit_display(display: &Display) -> String {
    match display {
        Display::Auto => "auto".into(),
        Display::Mirror(name) => format!("mirror {name}"),
        Display::Private => "private".into(),
        Display::Virtual => "virtual".into(),
    }
}

/// `auto`, `off`, or processors: `2,4-7`.
pub fn affinity(word: &Word) -> Result<Affinity, Complaint> {
    match word.text.as_str() {
        "auto" => return Ok(Affinity::Auto),
        "off" => return Ok(Affinity::Off),
        _ => {}
    }
    let cpu = |text: &str| text.parse().ok().filter(|it: &u16| is_number(text) && *it <= CPU_MAX);
    let mut cpus: Vec<u16> = Vec::new();
    for part in word.text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (cpu(first), cpu(last)) {
            (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
            _ => {
                let what = "is not auto, off or a list of processors from 0 to 1023, such as 2,4-7";
                return Err(word.complain(what));
            }
        }
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(Affinity::Cpus(cpus))
}

/// The text of [`affinity`].
pub fn emit_affinity(affinity: &Affinity) -> String {
    let cpus = match affinity {
        Affinity::Auto => return "auto".into(),
        Affinity::Cpus(cpus) => cpus,
        Affinity::Off => return "off".into(),
    };
    let runs = cpus.chunk_by(|one, next| one + 1 == *next);
    let texts = runs.map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run[0].to_string(),
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word {
        Word { text: text.to_owned(), column: 1 }
    }

    #[test]
    fn a_rate_is_in_bits_per_second_and_has_a_unit() {
        let no = "is not 0 or a rate from 500k to 10G bits per second, such as 20M";
        let no_unit =
            "has no unit, write 0 or a rate from 500k to 10G bits per second, in k, M or G";
        let table = [
            ("0", Ok(None), "0"),
            ("20M", Ok(Some(20_000)), "20M"),
            ("1500k", Ok(Some(1500)), "1500k"),
            ("2000M", Ok(Some(2_000_000)), "2G"),
            ("20000", Err(no_unit), ""),
            ("499k", Err(no), ""),
            ("11G", Err(no), ""),
            ("1.5M", Err(no), ""),
            ("20m", Err(no), ""),
            ("20Mi", Err(no), ""),
            ("+20M", Err(no), ""),
            ("M", Err(no), ""),
            ("", Err(no), ""),
            ("18446744073709551615G", Err(no), ""),
        ];
        for (text, expected, emitted) in table {
            let found = rate(&word(text)).map_err(|it| it.what);
            assert_eq!(found, expected.map_err(|what| format!("'{text}' {what}")), "{text}");
            assert_eq!(found.map(emit_rate).unwrap_or_default(), emitted);
        }
    }

    #[test]
    fn a_size_is_in_bytes_and_has_a_unit() {
        let no = "is not a size from 64Ki to 512Mi bytes, such as 32Mi";
        let no_unit =
            "has no unit, write a size from 64Ki to 512Mi bytes, in k, M, G, Ki, Mi or Gi";
        let table = [
            ("32Mi", Ok(32 << 20), "32Mi"),
            ("1024Ki", Ok(1 << 20), "1Mi"),
            ("8M", Ok(8_000_000), "8M"),
            ("512000k", Ok(512_000_000), "500000Ki"),
            ("8388608", Err(no_unit), ""),
            ("63Ki", Err(no), ""),
            ("1Gi", Err(no), ""),
            ("8MB", Err(no), ""),
            ("8KI", Err(no), ""),
        ];
        for (text, expected, emitted) in table {
            let found = size(&word(text)).map_err(|it| it.what);
            assert_eq!(found, expected.map_err(|what| format!("'{text}' {what}")), "{text}");
            assert_eq!(found.map(emit_size).unwrap_or_default(), emitted);
        }
    }

    #[test]
    fn a_mode_has_width_height_and_refresh() {
        let table = [
            ("7680x4320@480", true),
            ("1x1@1", true),
            ("16384x16384@1000", true),
            ("16385x1@1", false),
            ("1920x1080", false),
            ("1920x1080@0", false),
            ("1920x1080@59.94", false),
            ("1920X1080@60", false),
            ("+1x1@1", false),
            ("x@", false),
        ];
        for (text, is_mode) in table {
            let found = mode(&word(text));
            assert_eq!(found.is_ok(), is_mode, "{text}");
            if let Ok(mode) = found {
                assert_eq!(emit_mode(mode), text);
            }
        }
    }

    #[test]
    fn processors_are_written_as_briefly_as_they_can_be() {
        let table = [
            ("auto", Some("auto")),
            ("off", Some("off")),
            ("0", Some("0")),
            ("2,3", Some("2-3")),
            ("7,4-5,5-6,1", Some("1,4-7")),
            ("0-1023", Some("0-1023")),
            ("1024", None),
            ("3-2", None),
            ("1,,2", None),
            ("1-", None),
            ("-1", None),
            ("+1", None),
            ("all", None),
            ("", None),
        ];
        for (text, expected) in table {
            let found = affinity(&word(text)).ok().map(|it| emit_affinity(&it));
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_sink_has_a_name_of_one_word() {
        let long = "x".repeat(128);
        for (text, is_sink) in
            [("own", true), ("alsa_output.pci-0000_00_1f.3", true), ("a b", false), (&*long, false)]
        {
            assert_eq!(sink(&word(text)).is_ok(), is_sink, "{text}");
        }
    }
}
