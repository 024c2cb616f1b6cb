//! What each backend can do with each codec on this machine, and the file that remembers it.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use punktfunk_core::proto::gamestream::rtsp::announce::Codec;
use serde::{Deserialize, Serialize};

/// The file in the state directory.
pub const FILE: &str = "encoders.json";
/// Bytes of that file at most, and of what a probe answers.
pub const FILE_LEN_MAX: usize = 64 * 1024;
/// Bytes of a reason, or of the plug-in's version, at most.
pub const WHY_LEN_MAX: usize = 512;
/// The version of the file that this program writes, and the only one it reads.
const FILE_VERSION: u32 = 1;

/// All codecs, in the order of the table.
pub const CODECS: [Codec; 3] = [Codec::H264, Codec::Hevc, Codec::Av1];

/// By what pictures are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// NVIDIA's encoders.
    Nvenc,
    /// VA-API.
    Vaapi,
    /// Vulkan Video.
    Vulkan,
    /// V4L2, as small boards have it.
    V4l2,
    /// The processor.
    Software,
}

/// What an encoder can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Can {
    /// 8 bits a sample.
    pub encode: bool,
    /// 10 bits a sample.
    pub ten_bit: bool,
    /// Heal the loss of a frame without an IDR.
    pub invalidate: bool,
    /// Change its bitrate without beginning anew.
    pub set_bitrate: bool,
}

/// What a backend can do with a codec, or why it cannot: one line.
pub type Ability = Result<Can, String>;
/// What a backend can do, in the order of [`CODECS`].
pub type Row = [Ability; CODECS.len()];

/// What this machine can encode.
#[derive(Clone, Debug, PartialEq)]
pub struct Abilities {
    plugin: String,
    /// In the order of [`Backend::ALL`].
    rows: [Row; Backend::ALL.len()],
}

/// Why bytes are no abilities.
#[derive(Debug, PartialEq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    plugin: String,
    backends: Backends,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Backends {
    nvenc: Codecs,
    vaapi: Codecs,
    vulkan: Codecs,
    v4l2: Codecs,
    software: Codecs,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Codecs {
    h264: Entry,
    hevc: Entry,
    av1: Entry,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Can(Vec<Flag>),
    WhyNot(String),
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Flag {
    #[serde(rename = "encode")]
    Encode,
    #[serde(rename = "10-bit")]
    TenBit,
    #[serde(rename = "invalidate")]
    Invalidate,
    #[serde(rename = "set-bitrate")]
    SetBitrate,
}

impl Backend {
    /// All of them: what frees the processor most comes first.
    pub const ALL: [Backend; 5] =
        [Backend::Nvenc, Backend::Vaapi, Backend::Vulkan, Backend::V4l2, Backend::Software];

    /// Whether it takes DMA-BUFs as they are. None does: all of them are given planes.
    pub fn imports(self) -> bool {
        false
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Backend::Nvenc => "nvenc",
            Backend::Vaapi => "vaapi",
            Backend::Vulkan => "vulkan",
            Backend::V4l2 => "v4l2",
            Backend::Software => "software",
        })
    }
}

impl FromStr for Backend {
    type Err = ();

    fn from_str(text: &str) -> Result<Backend, ()> {
        Backend::ALL.into_iter().find(|backend| backend.to_string() == text).ok_or(())
    }
}

impl fmt::Display for Can {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.words().collect();
        f.write_str(&words.join(" "))
    }
}

impl Can {
    /// One word for each thing.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        let words = [
            (self.encode, "8-bit"),
            (self.ten_bit, "10-bit"),
            (self.invalidate, "invalidate"),
            (self.set_bitrate, "set-bitrate"),
        ];
        words.into_iter().filter(|(can, _)| *can).map(|(_, word)| word)
    }
}

impl Abilities {
    /// `plugin` is the version of what was probed, `rows` what each backend can do, in the order
    /// of [`Backend::ALL`].
    pub fn new(plugin: String, rows: [Row; Backend::ALL.len()]) -> Abilities {
        Abilities { plugin, rows }
    }

    /// The version of the plug-in that they are of.
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// What a backend can do with a codec.
    pub fn of(&self, backend: Backend, codec: Codec) -> Result<Can, &str> {
        let row = &self.rows[backend.index()];
        let ability = match codec {
            Codec::H264 => &row[0],
            Codec::Hevc => &row[1],
            Codec::Av1 => &row[2],
        };
        ability.as_ref().copied().map_err(String::as_str)
    }

    /// Reads the file.
    pub fn parse(bytes: &[u8]) -> Result<Abilities, Error> {
        let Versioned { version } = serde_json::from_slice(bytes).map_err(no_json)?;
        if version != FILE_VERSION {
            return Err(Error(format!("version {version}, this program reads {FILE_VERSION}")));
        }
        let file: File = serde_json::from_slice(bytes).map_err(no_json)?;
        check_line(&file.plugin)?;
        let Backends { nvenc, vaapi, vulkan, v4l2, software } = file.backends;
        let rows =
            [row_of(nvenc)?, row_of(vaapi)?, row_of(vulkan)?, row_of(v4l2)?, row_of(software)?];
        Ok(Abilities { plugin: file.plugin, rows })
    }

    /// Writes the file. `parse(emit(x)) == x`.
    pub fn emit(&self) -> Vec<u8> {
        let [nvenc, vaapi, vulkan, v4l2, software] = self.rows.each_ref().map(codecs_of);
        let backends = Backends { nvenc, vaapi, vulkan, v4l2, software };
        let file = File { version: FILE_VERSION, plugin: self.plugin.clone(), backends };
        let mut bytes = serde_json::to_vec_pretty(&file).expect("strings and integers only");
        bytes.push(b'\n');
        bytes
    }
}

/// Reads what one backend can do.
pub fn parse_row(bytes: &[u8]) -> Result<Row, Error> {
    row_of(serde_json::from_slice(bytes).map_err(no_json)?)
}

/// Writes what one backend can do, in one line.
pub fn emit_row(row: &Row) -> String {
    serde_json::to_string(&codecs_of(row)).expect("strings only")
}

fn row_of(codecs: Codecs) -> Result<Row, Error> {
    Ok([ability_of(codecs.h264)?, ability_of(codecs.hevc)?, ability_of(codecs.av1)?])
}

fn codecs_of(row: &Row) -> Codecs {
    let [h264, hevc, av1] = row.each_ref().map(entry_of);
    Codecs { h264, hevc, av1 }
}

fn ability_of(entry: Entry) -> Result<Ability, Error> {
    let flags = match entry {
        Entry::Can(flags) => flags,
        Entry::WhyNot(why) => return check_line(&why).map(|()| Err(why)),
    };
    let has = |flag| flags.contains(&flag);
    let can = Can {
        encode: has(Flag::Encode),
        ten_bit: has(Flag::TenBit),
        invalidate: has(Flag::Invalidate),
        set_bitrate: has(Flag::SetBitrate),
    };
    if !can.encode && !can.ten_bit {
        return Err(Error("an encoder that encodes nothing".to_owned()));
    }
    Ok(Ok(can))
}

fn entry_of(ability: &Ability) -> Entry {
    let can = match ability {
        Ok(can) => can,
        Err(why) => return Entry::WhyNot(why.clone()),
    };
    let flags = [
        (can.encode, Flag::Encode),
        (can.ten_bit, Flag::TenBit),
        (can.invalidate, Flag::Invalidate),
        (can.set_bitrate, Flag::SetBitrate),
    ];
    Entry::Can(flags.into_iter().filter(|(can, _)| *can).map(|(_, flag)| flag).collect())
}

fn no_json(error: serde_json::Error) -> Error {
    Error(error.to_string())
}

fn check_line(text: &str) -> Result<(), Error> {
    let is_line = !text.is_empty() && text.len() <= WHY_LEN_MAX && !text.contains(char::is_control);
    if is_line { Ok(()) } else { Err(Error("a text that is not one short line".to_owned())) }
}

/// What a driver or a library says, made fit for a log, a file and a page: never empty, one line,
/// [`WHY_LEN_MAX`] bytes at most.
pub fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|w| !w.is_empty())
    {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line.truncate(line.floor_char_boundary(WHY_LEN_MAX));
    if line.is_empty() { "no reason given".to_owned() } else { line }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// All that an encoder can.
    pub const ALL: Can = Can { encode: true, ten_bit: true, invalidate: true, set_bitrate: true };

    /// A machine on which these can all, and no others.
    pub fn machine(encoders: &[(Backend, Codec)]) -> Abilities {
        let row = |backend: Backend| {
            CODECS.map(|codec| match encoders.contains(&(backend, codec)) {
                true => Ok(ALL),
                false => Err(format!("no {backend} here")),
            })
        };
        Abilities::new("stub 1".to_owned(), Backend::ALL.map(row))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let abilities = machine(&[(Backend::Nvenc, Codec::H264), (Backend::Software, Codec::Av1)]);

        assert_eq!(Abilities::parse(&abilities.emit()), Ok(abilities.clone()));
        for row in &abilities.rows {
            assert_eq!(parse_row(emit_row(row).as_bytes()).as_ref(), Ok(row));
        }
        assert_eq!(abilities.of(Backend::Nvenc, Codec::H264), Ok(ALL));
        assert_eq!(abilities.of(Backend::Nvenc, Codec::Av1), Err("no nvenc here"));
    }

    #[test]
    fn a_file_that_is_not_ours_is_refused_in_words() {
        let good = String::from_utf8(machine(&[(Backend::Vaapi, Codec::Hevc)]).emit()).unwrap();
        let long = format!("no {}", "x".repeat(WHY_LEN_MAX));
        let table = [
            (String::new(), "EOF"),
            ("\u{0}".to_owned(), "expected value"),
            ("[1]".to_owned(), "expected struct"),
            ("[".repeat(10_000), "invalid type"),
            (good.replace("\"version\": 1", "\"version\": 2"), "version 2"),
            (good.replace("\"vaapi\"", "\"vaapj\""), "unknown field"),
            (good.replace("\"version\": 1", "\"version\": 1, \"more\": 1"), "unknown field"),
            (good.replace("\"version\": 1", "\"version\": 1, \"plugin\": \"\""), "duplicate"),
            (good.replace("\"stub 1\"", "\"\""), "one short line"),
            (good.replace("no vulkan here", "\\u001b[2J"), "one short line"),
            (good.replace("no vulkan here", &long), "one short line"),
            (good.replace("\"encode\",", "\"decode\","), "unknown variant"),
            (good.replace("\"why_not\": \"no nvenc here\"", "\"can\": []"), "encodes nothing"),
            (good.replace("\"encode\",", "").replace("\"10-bit\",", ""), "encodes nothing"),
            (good[..good.len() / 2].to_owned(), "EOF"),
        ];
        for (text, part) in table {
            let error = Abilities::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn whatever_a_driver_says_becomes_one_short_line() {
        let long = "ü".repeat(WHY_LEN_MAX);
        let table: [(&[u8], &str); 4] = [
            (b"", "no reason given"),
            (b"\n\t \x1b", "no reason given"),
            (b"a\r\n  b\x00c", "a b c"),
            (b"\xff", "\u{fffd}"),
        ];
        for (bytes, expected) in table {
            assert_eq!(one_line(bytes), expected);
        }
        assert!(one_line(long.as_bytes()).len() <= WHY_LEN_MAX);
    }
}
