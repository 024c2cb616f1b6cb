//! What GameStream clients ask for over HTTP and HTTPS: the target of a GET.
//!
//! Every parameter that means something to this host is checked here, the rest is ignored. Which
//! request is answered where, and to whom, is the host's.

#![forbid(unsafe_code)]

mod document;

use std::fmt;

pub use document::{
    AppEntry, ServerInfo, SessionUrl, app_ids, app_list, cancelled, launched, paired, refusal,
    resumed, server_info, unauthorised,
};

use super::pairing::PairRequest;
use super::rtsp::describe::Layout;
use super::secret::Secret;
use crate::proto::cert::{self, Certificate};
use crate::proto::hex;
use crate::proto::query::{self, Query};

/// What every Moonlight calls the device that it runs on.
const DEVICE_NAME_OF_ALL: &str = "roth";
/// Characters of a device's name that are kept.
const DEVICE_NAME_LEN_MAX: usize = 63;
/// Bytes of a client's id for itself; clients send 16 digits.
const UNIQUE_ID_LEN_MAX: usize = 64;
/// Digits of a certificate in PEM; those of clients have some two thousand.
const CERTIFICATE_DIGITS_MAX: usize = 8192;
/// Digits of a pairing secret: 16 bytes and a signature by at most 8192 bits of RSA.
const SECRET_DIGITS_MAX: usize = 2 * (16 + 1024);
/// Width and height of a mode at most.
const MODE_SIDE_MAX: u32 = 16_384;
/// Refresh of a mode at most, in millihertz. Whole numbers from 1000 are meant as millihertz.
const MODE_REFRESH_MHZ_MAX: u32 = 999_999;
/// Ids of apps are positive in 32 bits with a sign.
const APP_ID_MAX: u32 = i32::MAX as u32;

/// What a client asks for.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// The box art of an app.
    AppAsset {
        /// Its id.
        app: u32,
    },
    /// What can be launched.
    AppList,
    /// End what runs.
    Cancel,
    /// Start an app.
    Launch(Launch),
    /// One stage of a pairing.
    Pair(PairRequest),
    /// Go on with the app that runs.
    Resume(Resume),
    /// What this host is and does.
    ServerInfo,
    /// Forget a pairing.
    Unpair {
        /// What the client calls itself; many share one.
        unique_id: String,
    },
}

/// The start of an app.
#[derive(Debug, PartialEq)]
pub struct Launch {
    /// The id of the app.
    pub app: u32,
    /// The keys of the session.
    pub keys: SessionKeys,
    /// The mode wanted. Without one, that of ANNOUNCE holds.
    pub mode: Option<Mode>,
    /// How the session is to be beyond that.
    pub wishes: Wishes,
}

/// The return to an app that runs.
#[derive(Debug, PartialEq)]
pub struct Resume {
    /// The keys of the session from now on.
    pub keys: SessionKeys,
    /// The mode wanted. Without one, that of ANNOUNCE holds.
    pub mode: Option<Mode>,
    /// How the session is to be beyond that.
    pub wishes: Wishes,
}

/// What a client can and wants, as far as it comes with the launch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wishes {
    /// It understands `rtspenc://`, so that is what it is to be answered with.
    pub seals_rtsp: bool,
    /// Sound is to be heard at the host as well; `None` leaves it to the host.
    pub plays_on_host: Option<bool>,
    /// A layout of surround sound in place of the usual ones.
    pub layout: Option<Layout>,
    /// It shows a high dynamic range.
    pub is_hdr: bool,
    /// Games are to be set up as suits it.
    pub optimises: bool,
    /// The gamepads that it has, a bit each.
    pub gamepads: u32,
    /// Channels of sound; ANNOUNCE says so anew.
    pub channel_count: Option<u32>,
}

/// What a client chose to encrypt its session with.
#[derive(Debug, PartialEq)]
pub struct SessionKeys {
    /// The AES-128 key for everything.
    pub rikey: Secret<16>,
    /// Where the nonces of sound begin. Sent with a sign, meant as bits.
    pub rikeyid: u32,
}

/// Width, height and refresh of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mode {
    /// 1 to 16384 pixels.
    pub width: u32,
    /// 1 to 16384 pixels.
    pub height: u32,
    /// 1 to 999999; 59940 is 59.94 Hz.
    pub refresh_mhz: u32,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// The parameter of this name has a value that it cannot have.
    Bad(&'static str),
    /// The certificate cannot be used.
    Certificate(cert::Error),
    /// The parameter of this name is missing.
    Missing(&'static str),
    /// There is nothing at this path.
    NotFound,
    /// The query cannot be read.
    Query(query::Error),
    /// Of the parameters that make a stage of pairing, none or several are there.
    Stage,
}

impl Error {
    /// The status in the document that answers it.
    pub fn status(&self) -> u16 {
        match self {
            Error::NotFound => 404,
            _ => 400,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Bad(name) => write!(f, "bad parameter {name}"),
            Error::Certificate(error) => write!(f, "bad parameter clientcert: {error}"),
            Error::Missing(name) => write!(f, "missing parameter {name}"),
            Error::NotFound => f.write_str("not found"),
            Error::Query(error) => error.fmt(f),
            Error::Stage => f.write_str("not one stage of pairing"),
        }
    }
}

impl Request {
    /// Takes path and query of a GET.
    pub fn parse(target: &str) -> Result<Request, Error> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parse: fn(&Parameters<'_>) -> Result<Request, Error> = match path {
            "/appasset" => |query| Ok(Request::AppAsset { app: query.app()? }),
            "/applist" => |_| Ok(Request::AppList),
            "/cancel" => |_| Ok(Request::Cancel),
            "/launch" => |query| query.launch().map(Request::Launch),
            "/pair" => |query| query.pair().map(Request::Pair),
            "/resume" => |query| query.resume().map(Request::Resume),
            "/serverinfo" => |_| Ok(Request::ServerInfo),
            "/unpair" => |query| Ok(Request::Unpair { unique_id: query.unique_id()? }),
            _ => return Err(Error::NotFound),
        };
        parse(&Parameters(Query::parse(query).map_err(Error::Query)?))
    }
}

/// The query of a request, as the table of each path reads it.
struct Parameters<'a>(Query<'a>);

impl Parameters<'_> {
    fn launch(&self) -> Result<Launch, Error> {
        Ok(Launch {
            app: self.app()?,
            keys: self.session_keys()?,
            mode: self.mode()?,
            wishes: self.wishes()?,
        })
    }

    fn resume(&self) -> Result<Resume, Error> {
        Ok(Resume { keys: self.session_keys()?, mode: self.mode()?, wishes: self.wishes()? })
    }

    /// One stage of a pairing. The second to fourth have no name but that of what they bring.
    fn pair(&self) -> Result<PairRequest, Error> {
        const STAGES: [&str; 4] =
            ["phrase", "clientchallenge", "serverchallengeresp", "clientpairingsecret"];
        let unique_id = self.unique_id()?;
        let mut stages = STAGES.iter().filter(|name| self.0.value(name).is_some());
        let (Some(stage), None) = (stages.next(), stages.next()) else {
            return Err(Error::Stage);
        };
        match *stage {
            "phrase" => match self.required("phrase")? {
                "getservercert" => Ok(PairRequest::GetServerCert {
                    unique_id,
                    device_name: self.device_name(),
                    salt: Secret::new(self.bytes("salt")?),
                    certificate: self.certificate()?,
                }),
                "pairchallenge" => Ok(PairRequest::PairChallenge),
                _ => Err(Error::Bad("phrase")),
            },
            "clientchallenge" => {
                let challenge = self.bytes("clientchallenge")?;
                Ok(PairRequest::ClientChallenge { unique_id, challenge })
            }
            "serverchallengeresp" => {
                let response = self.bytes("serverchallengeresp")?;
                Ok(PairRequest::ServerChallengeResponse { unique_id, response })
            }
            name => {
                let bytes = self.all_bytes(name, SECRET_DIGITS_MAX)?;
                let (secret, signature) = bytes.split_first_chunk().ok_or(Error::Bad(name))?;
                if signature.is_empty() {
                    return Err(Error::Bad(name));
                }
                let (secret, signature) = (Secret::new(*secret), signature.to_vec());
                Ok(PairRequest::ClientPairingSecret { unique_id, secret, signature })
            }
        }
    }

    fn required(&self, name: &'static str) -> Result<&str, Error> {
        self.0.value(name).ok_or(Error::Missing(name))
    }

    fn app(&self) -> Result<u32, Error> {
        let app = decimal(self.required("appid")?).filter(|app| (1..=APP_ID_MAX).contains(app));
        app.ok_or(Error::Bad("appid"))
    }

    fn unique_id(&self) -> Result<String, Error> {
        let unique_id = self.required("uniqueid")?;
        let is_id = !unique_id.is_empty() && unique_id.len() <= UNIQUE_ID_LEN_MAX;
        if is_id { Ok(unique_id.to_owned()) } else { Err(Error::Bad("uniqueid")) }
    }

    /// What the device calls itself, as far as it is fit to be shown anywhere.
    fn device_name(&self) -> Option<String> {
        let is_shown = |character: &char| {
            character.is_alphanumeric() || character.is_ascii_graphic() || *character == ' '
        };
        let name = self.0.value("devicename").filter(|name| *name != DEVICE_NAME_OF_ALL)?;
        let name: String = name.chars().filter(is_shown).take(DEVICE_NAME_LEN_MAX).collect();
        let name = name.trim();
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn certificate(&self) -> Result<Certificate, Error> {
        let pem = self.all_bytes("clientcert", CERTIFICATE_DIGITS_MAX)?;
        Certificate::parse_pem(&pem).map_err(Error::Certificate)
    }

    fn session_keys(&self) -> Result<SessionKeys, Error> {
        let rikey = Secret::new(self.bytes("rikey")?);
        let rikeyid = key_id(self.required("rikeyid")?).ok_or(Error::Bad("rikeyid"))?;
        Ok(SessionKeys { rikey, rikeyid })
    }

    fn mode(&self) -> Result<Option<Mode>, Error> {
        let parse = |text| Mode::parse(text).ok_or(Error::Bad("mode"));
        self.0.value("mode").map(parse).transpose()
    }

    /// A layout that cannot be is as good as none: the client has the usual ones to choose from.
    fn wishes(&self) -> Result<Wishes, Error> {
        let number = |name| {
            let parse = |text| decimal(text).ok_or(Error::Bad(name));
            self.0.value(name).map(parse).transpose()
        };
        let hint = |name| self.0.value(name).and_then(decimal);
        Ok(Wishes {
            seals_rtsp: number("corever")?.is_some_and(|version| version >= 1),
            plays_on_host: number("localAudioPlayMode")?.map(|mode| mode != 0),
            layout: self.0.value("surroundParams").and_then(Layout::parse),
            // What follows is passed on to programs and no more, so what is no number is none.
            is_hdr: hint("hdrMode").is_some_and(|mode| mode != 0),
            optimises: hint("sops").is_some_and(|wish| wish != 0),
            gamepads: hint("gcmap").unwrap_or(0),
            // The mask of the speakers stands above.
            channel_count: hint("surroundAudioInfo").map(|info| info & 0xffff),
        })
    }

    fn bytes<const N: usize>(&self, name: &'static str) -> Result<[u8; N], Error> {
        hex::parse_array(self.required(name)?).ok_or(Error::Bad(name))
    }

    /// At least one byte.
    fn all_bytes(&self, name: &'static str, digits_max: usize) -> Result<Vec<u8>, Error> {
        let text = self.required(name)?;
        if text.is_empty() || text.len() > digits_max {
            return Err(Error::Bad(name));
        }
        hex::parse(text).ok_or(Error::Bad(name))
    }
}

impl Mode {
    /// Takes `WIDTHxHEIGHTxREFRESH`, the refresh in hertz with up to three decimals, or from 1000
    /// on in millihertz.
    fn parse(text: &str) -> Option<Mode> {
        let mut parts = text.split('x');
        let (width, height) = (decimal(parts.next()?)?, decimal(parts.next()?)?);
        let (refresh, None) = (parts.next()?, parts.next()) else {
            return None;
        };
        let refresh_mhz = match refresh.split_once('.') {
            Some((whole, decimals)) if decimals.len() <= 3 => {
                let thousandths = decimal(decimals)? * 10_u32.pow(3 - decimals.len() as u32);
                decimal(whole)?.checked_mul(1000)?.checked_add(thousandths)?
            }
            Some(_) => return None,
            None => match decimal(refresh)? {
                hertz @ 0..1000 => hertz * 1000,
                millihertz => millihertz,
            },
        };
        let is_side = |side| (1..=MODE_SIDE_MAX).contains(&side);
        let is_refresh = (1..=MODE_REFRESH_MHZ_MAX).contains(&refresh_mhz);
        (is_side(width) && is_side(height) && is_refresh).then_some(Mode {
            width,
            height,
            refresh_mhz,
        })
    }
}

/// Digits only, at least one, at most what 32 bits hold.
pub(super) fn decimal(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// The bits of a number of 32 bits, with or without a sign.
fn key_id(text: &str) -> Option<u32> {
    match text.strip_prefix('-') {
        Some(digits) => {
            let magnitude = decimal(digits)?;
            (magnitude <= 1 << 31).then(|| magnitude.wrapping_neg())
        }
        None => decimal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = include_str!("../../../tests/vectors/certificates/rsa-2048.pem");
    const RIKEY: &str = "000102030405060708090a0b0c0d0e0f";

    fn certificate() -> Certificate {
        Certificate::parse_pem(PEM.as_bytes()).unwrap()
    }

    #[test]
    fn the_paths_are_known_and_no_other() {
        let unique_id = "0123456789ABCDEF".to_owned();
        let table = [
            ("/serverinfo", Ok(Request::ServerInfo)),
            ("/serverinfo?uniqueid=0123456789ABCDEF&uuid=77", Ok(Request::ServerInfo)),
            ("/applist?", Ok(Request::AppList)),
            ("/cancel?x", Ok(Request::Cancel)),
            ("/appasset?appid=7&AssetType=2&AssetIdx=0", Ok(Request::AppAsset { app: 7 })),
            ("/unpair?uniqueid=0123456789ABCDEF", Ok(Request::Unpair { unique_id })),
            ("/unpair", Err(Error::Missing("uniqueid"))),
            ("/unpair?uniqueid=", Err(Error::Bad("uniqueid"))),
            ("/appasset", Err(Error::Missing("appid"))),
            ("/applist?a=%", Err(Error::Query(query::Error::Escape))),
            ("/", Err(Error::NotFound)),
            ("/ServerInfo", Err(Error::NotFound)),
            ("/serverinfo/", Err(Error::NotFound)),
            ("/%73erverinfo", Err(Error::NotFound)),
            ("//serverinfo", Err(Error::NotFound)),
            ("", Err(Error::NotFound)),
        ];
        for (target, request) in table {
            assert_eq!(Request::parse(target), request, "{target}");
        }
    }

    #[test]
    fn a_launch_of_the_stock_client_is_understood() {
        let target = format!(
            "/launch?uniqueid=0123456789ABCDEF&uuid=0a&appid=881448767&mode=1280x720x60\
             &additionalStates=1&sops=1&rikey={RIKEY}&rikeyid=-1413811421&localAudioPlayMode=0\
             &surroundAudioInfo=196610&remoteControllersBitmap=0&gcmap=0&gcpersist=0&&corever=1"
        );

        let Ok(Request::Launch(launch)) = Request::parse(&target) else {
            panic!("no launch");
        };

        assert_eq!(launch.app, 881_448_767);
        assert_eq!(launch.keys.rikey, Secret::new(std::array::from_fn(|index| index as u8)));
        assert_eq!(launch.keys.rikeyid as i32, -1_413_811_421);
        let mode = Mode { width: 1280, height: 720, refresh_mhz: 60_000 };
        assert_eq!(launch.mode, Some(mode));
        let wishes = launch.wishes;
        assert!(wishes.optimises && !wishes.is_hdr && wishes.plays_on_host == Some(false));
        assert_eq!((wishes.gamepads, wishes.channel_count), (0, Some(2)));
    }

    #[test]
    fn what_is_only_passed_on_is_no_reason_to_refuse() {
        let keys = format!("rikey={RIKEY}&rikeyid=1");
        let table = [
            ("&hdrMode=1&gcmap=5&sops=0&surroundAudioInfo=4128774", (true, false, 5, Some(6))),
            ("&hdrMode=yes&gcmap=-1&sops=&surroundAudioInfo=x", (false, false, 0, None)),
        ];
        for (text, expected) in table {
            let Ok(Request::Resume(Resume { wishes, .. })) =
                Request::parse(&format!("/resume?{keys}{text}"))
            else {
                panic!("no resume");
            };
            let found = (wishes.is_hdr, wishes.optimises, wishes.gamepads, wishes.channel_count);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_a_session_cannot_begin_without_is_named() {
        let keys = format!("rikey={RIKEY}&rikeyid=1");
        let table = [
            ("/launch?appid=1", "", Error::Missing("rikey")),
            ("/launch?appid=1&rikeyid=1&rikey=", "", Error::Bad("rikey")),
            ("/launch?appid=1&rikeyid=1&rikey=00", "", Error::Bad("rikey")),
            ("/launch?appid=1&rikey=", RIKEY, Error::Missing("rikeyid")),
            ("/launch?appid=1&rikeyid=&rikey=", RIKEY, Error::Bad("rikeyid")),
            ("/launch?", &keys, Error::Missing("appid")),
            ("/launch?appid=0&", &keys, Error::Bad("appid")),
            ("/launch?appid=-1&", &keys, Error::Bad("appid")),
            ("/launch?appid=2147483648&", &keys, Error::Bad("appid")),
            ("/launch?appid=1&mode=&", &keys, Error::Bad("mode")),
            ("/resume?", "", Error::Missing("rikey")),
            ("/resume?mode=1x1&", &keys, Error::Bad("mode")),
        ];
        for (target, rest, error) in table {
            assert_eq!(Request::parse(&format!("{target}{rest}")), Err(error), "{target}");
        }
        let resume = Request::parse(&format!("/resume?{keys}"));
        assert!(matches!(resume, Ok(Request::Resume(Resume { mode: None, .. }))));
    }

    #[test]
    fn wishes_are_optional_and_numbers() {
        let keys = format!("rikey={RIKEY}&rikeyid=1");
        let wishes =
            |seals_rtsp, plays_on_host, has_layout| Some((seals_rtsp, plays_on_host, has_layout));
        let table = [
            ("", wishes(false, None, false)),
            ("&&corever=1", wishes(true, None, false)),
            ("&corever=0&localAudioPlayMode=0", wishes(false, Some(false), false)),
            ("&localAudioPlayMode=1&surroundParams=642014235", wishes(false, Some(true), true)),
            ("&surroundParams=99", wishes(false, None, false)),
            ("&corever=one", None),
            ("&localAudioPlayMode=-1", None),
        ];
        for (text, expected) in table {
            let parsed = Request::parse(&format!("/resume?{keys}{text}"));

            let wishes = match parsed {
                Ok(Request::Resume(resume)) => Some(resume.wishes),
                Err(Error::Bad(_)) => None,
                other => panic!("{other:?}"),
            };
            let brief = wishes.map(|it| (it.seals_rtsp, it.plays_on_host, it.layout.is_some()));
            assert_eq!(brief, expected, "{text}");
        }
    }

    #[test]
    fn a_mode_is_width_height_and_refresh() {
        let table = [
            ("1920x1080x60", Some((1920, 1080, 60_000))),
            ("1x1x1", Some((1, 1, 1000))),
            ("16384x16384x999", Some((16_384, 16_384, 999_000))),
            ("1920x1080x59.94", Some((1920, 1080, 59_940))),
            ("1920x1080x59.9", Some((1920, 1080, 59_900))),
            ("1920x1080x119.880", Some((1920, 1080, 119_880))),
            ("1920x1080x59940", Some((1920, 1080, 59_940))),
            ("1920x1080x1000", Some((1920, 1080, 1000))),
            ("1920x1080x0", None),
            ("1920x1080x0.0", None),
            ("1920x1080x1000000", None),
            ("1920x1080x1000.0", None),
            ("1920x1080x4294967.9", None),
            ("1920x1080x59.9400", None),
            ("1920x1080x59.", None),
            ("1920x1080x.5", None),
            ("1920x1080x5.9.4", None),
            ("1920x1080", None),
            ("1920x1080x60x1", None),
            ("0x1080x60", None),
            ("1920x16385x60", None),
            ("-1920x1080x60", None),
            ("+1920x1080x60", None),
            ("1920X1080X60", None),
            ("1920x99999999999x60", None),
            ("xx", None),
            ("", None),
        ];
        for (text, mode) in table {
            let mode = mode.map(|(width, height, refresh_mhz)| Mode { width, height, refresh_mhz });
            assert_eq!(Mode::parse(text), mode, "{text}");
        }
    }

    #[test]
    fn a_key_id_is_32_bits_with_or_without_a_sign() {
        let table = [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1", Some(1)),
            ("-1", Some(0xffff_ffff)),
            ("-2147483648", Some(0x8000_0000)),
            ("4294967295", Some(0xffff_ffff)),
            ("-2147483649", None),
            ("4294967296", None),
            ("--1", None),
            ("+1", None),
            ("1.0", None),
            ("", None),
        ];
        for (text, bits) in table {
            assert_eq!(key_id(text), bits, "{text}");
        }
    }

    #[test]
    fn the_stages_of_pairing_are_told_apart() {
        let clientcert = hex::emit(PEM.as_bytes());
        let first = format!("phrase=getservercert&salt={RIKEY}&clientcert={clientcert}");
        let (challenge, response) = (RIKEY.to_owned(), RIKEY.repeat(2));
        let secret = format!("{RIKEY}ffee");
        let unique_id = "7".to_owned();
        let salt: [u8; 16] = std::array::from_fn(|index| index as u8);
        let stage_one = |device_name: Option<&str>| PairRequest::GetServerCert {
            unique_id: "7".into(),
            device_name: device_name.map(Into::into),
            salt: Secret::new(salt),
            certificate: certificate(),
        };
        let table = [
            (first.clone(), stage_one(None)),
            (format!("devicename=roth&updateState=1&{first}"), stage_one(None)),
            (format!("devicename=%0a&{first}"), stage_one(None)),
            (
                format!("devicename=J%C3%B6s%20TV%1b%E2%80%AE&{first}"),
                stage_one(Some("J\u{f6}s TV")),
            ),
            (
                format!("clientchallenge={challenge}"),
                PairRequest::ClientChallenge { unique_id: unique_id.clone(), challenge: salt },
            ),
            (
                format!("serverchallengeresp={response}"),
                PairRequest::ServerChallengeResponse {
                    unique_id: unique_id.clone(),
                    response: [salt, salt].concat().try_into().unwrap(),
                },
            ),
            (
                format!("clientpairingsecret={secret}"),
                PairRequest::ClientPairingSecret {
                    unique_id,
                    secret: Secret::new(salt),
                    signature: vec![0xff, 0xee],
                },
            ),
            ("phrase=pairchallenge".into(), PairRequest::PairChallenge),
        ];
        for (query, stage) in table {
            let parsed = Request::parse(&format!("/pair?uniqueid=7&{query}"));
            assert_eq!(parsed, Ok(Request::Pair(stage)), "{query}");
        }
    }

    #[test]
    fn what_is_no_stage_of_pairing_is_refused_with_a_reason() {
        let clientcert = hex::emit(PEM.as_bytes());
        let der = hex::emit(certificate().der());
        let long = "0".repeat(CERTIFICATE_DIGITS_MAX + 2);
        let long_secret = "0".repeat(SECRET_DIGITS_MAX + 2);
        let first = format!("uniqueid=7&phrase=getservercert&salt={RIKEY}&clientcert=");
        let long_id = format!("uniqueid={}&phrase=pairchallenge", "7".repeat(65));
        let table = [
            ("phrase=pairchallenge", "", Error::Missing("uniqueid")),
            (&long_id, "", Error::Bad("uniqueid")),
            ("uniqueid=7", "", Error::Stage),
            ("uniqueid=7&phrase=pairchallenge&clientchallenge=", RIKEY, Error::Stage),
            ("uniqueid=7&phrase=other", "", Error::Bad("phrase")),
            ("uniqueid=7&phrase=getservercert", "", Error::Missing("salt")),
            ("uniqueid=7&phrase=getservercert&salt=00", "", Error::Bad("salt")),
            ("uniqueid=7&phrase=getservercert&salt=", RIKEY, Error::Missing("clientcert")),
            (&first, "", Error::Bad("clientcert")),
            (&first, "0", Error::Bad("clientcert")),
            (&first, &long, Error::Bad("clientcert")),
            (&first, &der, Error::Certificate(cert::Error::Pem)),
            (&first, &clientcert[..400], Error::Certificate(cert::Error::Pem)),
            ("uniqueid=7&clientchallenge=", "", Error::Bad("clientchallenge")),
            ("uniqueid=7&clientchallenge=00", RIKEY, Error::Bad("clientchallenge")),
            ("uniqueid=7&clientchallenge=g0", &RIKEY[2..], Error::Bad("clientchallenge")),
            ("uniqueid=7&serverchallengeresp=", RIKEY, Error::Bad("serverchallengeresp")),
            ("uniqueid=7&clientpairingsecret=", RIKEY, Error::Bad("clientpairingsecret")),
            ("uniqueid=7&clientpairingsecret=", &RIKEY[2..], Error::Bad("clientpairingsecret")),
            ("uniqueid=7&clientpairingsecret=", &long_secret, Error::Bad("clientpairingsecret")),
        ];
        for (query, rest, error) in table {
            let parsed = Request::parse(&format!("/pair?{query}{rest}"));
            assert_eq!(parsed, Err(error), "{query:.60}{rest:.40}");
        }
    }

    #[test]
    fn an_error_has_a_status_and_names_its_parameter() {
        let table = [
            (Error::NotFound, 404, "not found"),
            (Error::Missing("rikey"), 400, "missing parameter rikey"),
            (Error::Bad("mode"), 400, "bad parameter mode"),
            (Error::Query(query::Error::TooLong), 400, "query too long"),
        ];
        for (error, status, text) in table {
            assert_eq!((error.status(), &*error.to_string()), (status, text));
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let request = Request::parse(&format!("/launch?appid=1&rikey={RIKEY}&rikeyid=5"));

        let shown = format!("{request:?}");

        assert!(shown.contains("rikey: Secret"), "{shown}");
        assert!(!shown.contains("14, 15") && !shown.contains("0e0f"), "{shown}");
    }
}
