//! What is asked of the management API, and how it is told no. `openapi.json` describes the same.

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;
use std::str::FromStr;

use punktfunk_core::proto::cert::Fingerprint;
use punktfunk_core::proto::input::{self, GamepadIndex, Sensor};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Grants;

/// Rates that pictures may be encoded at.
const BITRATE_KBPS: RangeInclusive<u32> = 500..=10_000_000;

/// What the API is asked for.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// What can be launched.
    Apps,
    /// Paired clients.
    Clients,
    /// What is well with the machine, and what is to be done where it is not.
    Doctor,
    /// The description of this API.
    Document,
    /// What can be encoded, and by what.
    Encoders,
    /// An app is over, and the session that looks at it.
    EndRun {
        /// The run's number.
        id: u32,
    },
    /// A session is over.
    EndSession {
        /// The session's number.
        id: u32,
    },
    /// Something for a gamepad of a session's client to do.
    Feedback {
        /// The session's number.
        id: u32,
        /// Which gamepad.
        gamepad: GamepadIndex,
        /// What.
        feedback: input::Feedback,
    },
    /// Other grants for a client.
    Grant {
        /// The client.
        fingerprint: Fingerprint,
        /// What it may do from now on.
        given: Grants,
        /// What it may not; nothing of what it is given.
        taken: Grants,
    },
    /// What is logged.
    LogLevel,
    /// Pairings under way, and the last ones that are over.
    Pairings,
    /// What can be encoded is to be found out anew.
    ProbeEncoders,
    /// No trust for the device of a pairing under way.
    Reject {
        /// The pairing's number.
        id: u64,
    },
    /// The configuration is to be read again.
    Reload,
    /// Another name for a client.
    Rename {
        /// The client.
        fingerprint: Fingerprint,
        /// What to call it.
        name: String,
    },
    /// A session's next picture is to be an IDR frame.
    RequestIdr {
        /// The session's number.
        id: u32,
    },
    /// Apps that run, whether or not somebody looks at them.
    Runs,
    /// One session.
    Session {
        /// Its number.
        id: u32,
    },
    /// Everyone who is here.
    Sessions,
    /// A session's pictures are to be encoded at another rate.
    SetBitrate {
        /// The session's number.
        id: u32,
        /// The rate.
        kbps: u32,
    },
    /// What is to be logged until the configuration is read again.
    SetLogLevel {
        /// In the syntax of LogLevel in punktfunk.conf(5).
        level: String,
    },
    /// The host at a glance.
    Status,
    /// The PIN that a waiting device shows.
    SubmitPin {
        /// The pairing's number.
        id: u64,
        /// The certificate that the administrator was shown with that number.
        fingerprint: Fingerprint,
        /// Four digits.
        pin: Pin,
    },
    /// A client is not to be known any more.
    Unpair {
        /// The client.
        fingerprint: Fingerprint,
    },
    /// Which program this is.
    Version,
}

/// A PIN, which no log line and no message ever shows.
#[derive(Deserialize, PartialEq)]
#[serde(transparent)]
pub struct Pin(pub String);

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(a PIN)")
    }
}

/// What comes of a command: JSON, or a refusal.
pub type Answer = Result<Report, Refusal>;

/// The body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Report(pub Value);

/// Why something was not done, for programs and for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    code: Code,
    /// For people.
    pub message: String,
    /// One line per thing that is wrong, where there are several.
    details: Vec<String>,
}

/// Why something was not done, for programs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Code {
    /// The request is not what the description of the API says.
    BadRequest,
    /// The daemon has too much to do.
    Busy,
    /// The new configuration has errors.
    ConfInvalid,
    /// It does not go together with how things are.
    Conflict,
    /// The caller may not ask from there.
    Forbidden,
    /// The path has other methods.
    MethodNotAllowed,
    /// No answer was made in time.
    NoAnswer,
    /// There is no such thing.
    NotFound,
    /// The change could not be stored.
    NotStored,
    /// The token is missing or wrong.
    Unauthorized,
}

impl Code {
    /// The word in the body of the answer, and the status of HTTP.
    fn word_and_status(self) -> (&'static str, u16) {
        match self {
            Code::BadRequest => ("bad_request", 400),
            Code::Busy => ("busy", 503),
            Code::ConfInvalid => ("configuration_invalid", 422),
            Code::Conflict => ("conflict", 409),
            Code::Forbidden => ("forbidden", 403),
            Code::MethodNotAllowed => ("method_not_allowed", 405),
            Code::NoAnswer => ("no_answer", 504),
            Code::NotFound => ("not_found", 404),
            Code::NotStored => ("not_stored", 500),
            Code::Unauthorized => ("unauthorized", 401),
        }
    }
}

impl Refusal {
    /// A refusal in one sentence.
    pub fn new(code: Code, message: &str) -> Refusal {
        Refusal { code, message: message.to_owned(), details: Vec::new() }
    }

    /// One that lists several things.
    pub fn with_details(code: Code, message: &str, details: Vec<String>) -> Refusal {
        Refusal { code, message: message.to_owned(), details }
    }

    /// The request is not what it should be.
    pub fn bad_request(message: &str) -> Refusal {
        Refusal::new(Code::BadRequest, message)
    }

    /// There is too much to do at the moment.
    pub fn busy() -> Refusal {
        Refusal::new(Code::Busy, "too many requests wait already, try again")
    }

    /// There was no answer in time.
    pub fn no_answer() -> Refusal {
        Refusal::new(Code::NoAnswer, "the daemon did not answer in time")
    }

    /// The status of HTTP.
    pub fn status(&self) -> u16 {
        self.code.word_and_status().1
    }

    /// The body of the answer.
    pub fn body(&self) -> String {
        let (word, _) = self.code.word_and_status();
        let mut error = json!({ "code": word, "message": self.message });
        if !self.details.is_empty() {
            error["details"] = json!(self.details);
        }
        json!({ "error": error }).to_string()
    }
}

/// What a route takes from a request.
struct Ask<'a> {
    /// The segment of the path that the pattern has in braces.
    parameter: &'a str,
    body: &'a [u8],
}

/// One line of the table: method, pattern of the path, meaning.
type Route = (&'static str, &'static str, fn(&Ask<'_>) -> Result<Command, Refusal>);

/// Every route there is. At most one segment of a path is a parameter.
const ROUTES: &[Route] = &[
    ("GET", "/openapi.json", |_| Ok(Command::Document)),
    ("GET", "/v1/apps", |_| Ok(Command::Apps)),
    ("GET", "/v1/clients", |_| Ok(Command::Clients)),
    ("PATCH", "/v1/clients/{fingerprint}", |ask| {
        let Rename { name } = ask.json()?;
        Ok(Command::Rename { fingerprint: ask.fingerprint()?, name })
    }),
    ("DELETE", "/v1/clients/{fingerprint}", |ask| {
        Ok(Command::Unpair { fingerprint: ask.fingerprint()? })
    }),
    ("PATCH", "/v1/clients/{fingerprint}/grants", |ask| {
        let Grant { grant, revoke } = ask.json()?;
        if grant.overlaps(revoke) {
            return Err(Refusal::bad_request("what is granted cannot be revoked as well"));
        }
        Ok(Command::Grant { fingerprint: ask.fingerprint()?, given: grant, taken: revoke })
    }),
    ("GET", "/v1/doctor", |_| Ok(Command::Doctor)),
    ("GET", "/v1/encoders", |_| Ok(Command::Encoders)),
    ("POST", "/v1/encoders/probe", |_| Ok(Command::ProbeEncoders)),
    ("GET", "/v1/log-level", |_| Ok(Command::LogLevel)),
    ("PUT", "/v1/log-level", |ask| {
        let LogLevel { level } = ask.json()?;
        Ok(Command::SetLogLevel { level })
    }),
    ("GET", "/v1/pairings", |_| Ok(Command::Pairings)),
    ("POST", "/v1/pairings/{id}/pin", |ask| {
        let SubmitPin { fingerprint, pin } = ask.json()?;
        let fingerprint = parse_fingerprint(&fingerprint)?;
        Ok(Command::SubmitPin { id: ask.id("pairing")?, fingerprint, pin })
    }),
    ("POST", "/v1/pairings/{id}/reject", |ask| Ok(Command::Reject { id: ask.id("pairing")? })),
    ("POST", "/v1/reload", |_| Ok(Command::Reload)),
    ("GET", "/v1/runs", |_| Ok(Command::Runs)),
    ("DELETE", "/v1/runs/{id}", |ask| Ok(Command::EndRun { id: ask.id("run")? })),
    ("GET", "/v1/sessions", |_| Ok(Command::Sessions)),
    ("GET", "/v1/sessions/{id}", |ask| Ok(Command::Session { id: ask.session()? })),
    ("PATCH", "/v1/sessions/{id}", |ask| {
        let SetBitrate { bitrate_kbps: kbps } = ask.json()?;
        if !BITRATE_KBPS.contains(&kbps) {
            let (min, max) = (BITRATE_KBPS.start(), BITRATE_KBPS.end());
            return Err(Refusal::bad_request(&format!("bitrate_kbps is from {min} to {max}")));
        }
        Ok(Command::SetBitrate { id: ask.session()?, kbps })
    }),
    ("DELETE", "/v1/sessions/{id}", |ask| Ok(Command::EndSession { id: ask.session()? })),
    ("POST", "/v1/sessions/{id}/feedback", |ask| {
        let wanted: Feedback = ask.json()?;
        let gamepad = GamepadIndex::new(wanted.gamepad)
            .ok_or_else(|| Refusal::bad_request("gamepads are numbered from 0 to 15"))?;
        Ok(Command::Feedback { id: ask.session()?, gamepad, feedback: wanted.feedback()? })
    }),
    ("POST", "/v1/sessions/{id}/idr", |ask| Ok(Command::RequestIdr { id: ask.session()? })),
    ("GET", "/v1/status", |_| Ok(Command::Status)),
    ("GET", "/v1/version", |_| Ok(Command::Version)),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    #[serde(default)]
    grant: Grants,
    #[serde(default)]
    revoke: Grants,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogLevel {
    level: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitPin {
    fingerprint: String,
    pin: Pin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetBitrate {
    bitrate_kbps: u32,
}

/// One of these is to be there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Feedback {
    gamepad: u16,
    led: Option<Led>,
    motion_rate: Option<MotionRate>,
    rumble: Option<Rumble>,
    rumble_triggers: Option<RumbleTriggers>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Led {
    red: u8,
    green: u8,
    blue: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MotionRate {
    sensor: SensorName,
    rate_hz: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SensorName {
    Accelerometer,
    Gyroscope,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rumble {
    low: u16,
    high: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RumbleTriggers {
    left: u16,
    right: u16,
}

impl Feedback {
    fn feedback(self) -> Result<input::Feedback, Refusal> {
        let Feedback { gamepad: _, led, motion_rate, rumble, rumble_triggers } = self;
        let wanted = [
            led.map(|Led { red, green, blue }| input::Feedback::Led { red, green, blue }),
            motion_rate.map(|MotionRate { sensor, rate_hz }| {
                let sensor = match sensor {
                    SensorName::Accelerometer => Sensor::Accelerometer,
                    SensorName::Gyroscope => Sensor::Gyroscope,
                };
                input::Feedback::MotionRate { sensor, rate_hz }
            }),
            rumble.map(|Rumble { low, high }| input::Feedback::Rumble {
                low_frequency: low,
                high_frequency: high,
            }),
            rumble_triggers.map(|RumbleTriggers { left, right }| input::Feedback::RumbleTriggers {
                left,
                right,
            }),
        ];
        let mut wanted = wanted.into_iter().flatten();
        match (wanted.next(), wanted.next()) {
            (Some(feedback), None) => Ok(feedback),
            _ => Err(Refusal::bad_request(
                "one of led, motion_rate, rumble and rumble_triggers is to be given",
            )),
        }
    }
}

impl Ask<'_> {
    fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        // serde takes the fields of a structure from an array as well.
        if self.body.trim_ascii_start().first() != Some(&b'{') {
            return Err(Refusal::bad_request("body: not a JSON object"));
        }
        // serde_json says what it wanted and where, never what a string held.
        serde_json::from_slice(self.body)
            .map_err(|error| Refusal::bad_request(&format!("body: {error}")))
    }

    fn fingerprint(&self) -> Result<Fingerprint, Refusal> {
        parse_fingerprint(self.parameter)
    }

    fn id<T: FromStr>(&self, what: &str) -> Result<T, Refusal> {
        let is_number = self.parameter.bytes().all(|byte| byte.is_ascii_digit());
        let id = if is_number { self.parameter.parse().ok() } else { None };
        id.ok_or_else(|| Refusal::bad_request(&format!("a {what} is named by its number")))
    }

    fn session(&self) -> Result<u32, Refusal> {
        self.id("session")
    }
}

fn parse_fingerprint(text: &str) -> Result<Fingerprint, Refusal> {
    text.parse().map_err(|_| Refusal::bad_request("a fingerprint is 64 hexadecimal digits"))
}

/// What a request asks for. Queries have no meaning and are passed over.
pub fn parse(method: &str, target: &str, body: &[u8]) -> Result<Command, Refusal> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let mut is_path = false;
    for (route_method, pattern, meaning) in ROUTES {
        if let Some(parameter) = match_path(pattern, path) {
            is_path = true;
            if *route_method == method {
                return meaning(&Ask { parameter, body });
            }
        }
    }
    Err(match is_path {
        true => Refusal::new(Code::MethodNotAllowed, "this path has other methods"),
        false => Refusal::new(Code::NotFound, "no such path"),
    })
}

/// The parameter of a path that fits the pattern, empty where it has none.
fn match_path<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let (mut parameter, mut segments) = ("", path.split('/'));
    for wanted in pattern.split('/') {
        let segment = segments.next()?;
        if wanted.starts_with('{') {
            parameter = segment;
        } else if wanted != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(parameter)
}

/// The description of the API (OpenAPI 3.1).
pub fn document() -> Value {
    serde_json::from_str(include_str!("openapi.json")).expect("a test parses it")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let document = document();

        let mut described: Vec<(String, String)> = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            described.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
        }
        let mut routed: Vec<(String, String)> = ROUTES
            .iter()
            .map(|(method, pattern, _)| ((*method).to_owned(), (*pattern).to_owned()))
            .collect();

        described.sort();
        routed.sort();
        assert_eq!(described, routed);
    }

    #[test]
    fn the_description_names_every_error_code() {
        let codes = [
            Code::BadRequest,
            Code::Busy,
            Code::ConfInvalid,
            Code::Conflict,
            Code::Forbidden,
            Code::MethodNotAllowed,
            Code::NoAnswer,
            Code::NotFound,
            Code::NotStored,
            Code::Unauthorized,
        ];

        let document = document();
        let described = &document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]
            ["code"]["enum"];

        let words: Vec<&str> = codes.iter().map(|code| code.word_and_status().0).collect();
        assert_eq!(*described, json!(words));
    }

    #[test]
    fn requests_mean_what_the_description_says() {
        let fingerprint: Fingerprint = FINGERPRINT.parse().unwrap();
        let client = format!("/v1/clients/{FINGERPRINT}");
        let pin = format!("{{\"pin\":\"1234\",\"fingerprint\":\"{FINGERPRINT}\"}}");
        let rename = Command::Rename { fingerprint, name: "tv".into() };
        let grants = format!("{client}/grants");
        let parse_grants = |names: &[&str]| Grants::parse(names.iter().copied()).unwrap();
        let grant = |given: &[&str], taken: &[&str]| Command::Grant {
            fingerprint,
            given: parse_grants(given),
            taken: parse_grants(taken),
        };
        let both = "{\"grant\":[\"pen\"],\"revoke\":[\"view\",\"audio\"]}";
        let submit = Command::SubmitPin { id: 7, fingerprint, pin: Pin("1234".into()) };
        let table = [
            ("GET", "/v1/status", "", Ok(Command::Status)),
            ("GET", "/v1/status?x=1", "", Ok(Command::Status)),
            ("POST", "/v1/reload", "", Ok(Command::Reload)),
            ("PATCH", &client, "{\"name\":\"tv\"}", Ok(rename)),
            ("PATCH", &grants, both, Ok(grant(&["pen"], &["audio", "view"]))),
            ("PATCH", &grants, "{\"grant\":[\"pen\"]}", Ok(grant(&["pen"], &[]))),
            ("PATCH", &grants, "{\"grant\":[\"root\"]}", Err(400)),
            ("PATCH", &grants, "{\"grant\":[\"pen\",\"pen\"]}", Err(400)),
            ("PATCH", &grants, "{\"grant\":[\"pen\"],\"revoke\":[\"pen\"]}", Err(400)),
            ("PATCH", &grants, "{\"grant\":\"pen\"}", Err(400)),
            ("PATCH", "/v1/clients/0011/grants", "{}", Err(400)),
            ("DELETE", &client, "", Ok(Command::Unpair { fingerprint })),
            ("POST", "/v1/pairings/7/pin", &pin, Ok(submit)),
            ("POST", "/v1/pairings/7/reject", "", Ok(Command::Reject { id: 7 })),
            ("POST", "/v1/pairings/+7/reject", "", Err(400)),
            ("POST", "/v1/pairings//reject", "", Err(400)),
            ("GET", "/v1/sessions", "", Ok(Command::Sessions)),
            ("GET", "/v1/sessions/3", "", Ok(Command::Session { id: 3 })),
            ("GET", "/v1/sessions/-3", "", Err(400)),
            ("GET", "/v1/sessions/4294967296", "", Err(400)),
            ("DELETE", "/v1/sessions/3", "", Ok(Command::EndSession { id: 3 })),
            ("GET", "/v1/runs", "", Ok(Command::Runs)),
            ("GET", "/v1/runs/3", "", Err(405)),
            ("DELETE", "/v1/runs/3", "", Ok(Command::EndRun { id: 3 })),
            ("DELETE", "/v1/runs/+3", "", Err(400)),
            ("POST", "/v1/sessions/3/idr", "", Ok(Command::RequestIdr { id: 3 })),
            ("GET", "/v1/doctor", "", Ok(Command::Doctor)),
            ("GET", "/v1/encoders", "", Ok(Command::Encoders)),
            ("POST", "/v1/encoders/probe", "", Ok(Command::ProbeEncoders)),
            ("POST", "/v1/pairings/7/pin", "{\"pin\":\"1234\"}", Err(400)),
            ("POST", "/v1/pairings/7/pin", "{\"pin\":1234}", Err(400)),
            ("PATCH", &client, "{\"name\":\"tv\",\"more\":1}", Err(400)),
            ("PATCH", &client, "[\"tv\"]", Err(400)),
            ("PATCH", &client, "", Err(400)),
            ("DELETE", "/v1/clients/0011", "", Err(400)),
            ("GET", "/v1/reload", "", Err(405)),
            ("get", "/v1/status", "", Err(405)),
            ("GET", "/v1/status/", "", Err(404)),
            ("GET", "/v2/status", "", Err(404)),
            ("GET", "", "", Err(404)),
        ];
        for (method, target, body, expected) in table {
            let parsed = parse(method, target, body.as_bytes());
            assert_eq!(parsed.map_err(|refusal| refusal.status()), expected, "{method} {target}");
        }
    }

    #[test]
    fn a_rate_is_one_that_pictures_may_have() {
        let table = [
            ("{\"bitrate_kbps\":500}", Some(500)),
            ("{\"bitrate_kbps\":10000000}", Some(10_000_000)),
            ("{\"bitrate_kbps\":499}", None),
            ("{\"bitrate_kbps\":10000001}", None),
            ("{\"bitrate_kbps\":4294967296}", None),
            ("{\"bitrate_kbps\":-1}", None),
            ("{\"bitrate_kbps\":1e3}", None),
            ("{\"bitrate_kbps\":\"20M\"}", None),
            ("{}", None),
        ];
        for (body, kbps) in table {
            let parsed = parse("PATCH", "/v1/sessions/3", body.as_bytes());

            let expected = kbps.map(|kbps| Command::SetBitrate { id: 3, kbps }).ok_or(400);
            assert_eq!(parsed.map_err(|refusal| refusal.status()), expected, "{body}");
        }
    }

    #[test]
    fn feedback_is_one_thing_for_one_gamepad() {
        use input::Feedback::{Led, MotionRate, Rumble, RumbleTriggers};
        let rumble = Rumble { low_frequency: 65535, high_frequency: 0 };
        let gyroscope = MotionRate { sensor: Sensor::Gyroscope, rate_hz: 100 };
        let table = [
            ("0,\"rumble\":{\"low\":65535,\"high\":0}", Some((0, rumble))),
            (
                "15,\"led\":{\"red\":1,\"green\":2,\"blue\":255}",
                Some((15, Led { red: 1, green: 2, blue: 255 })),
            ),
            (
                "1,\"rumble_triggers\":{\"left\":1,\"right\":2}",
                Some((1, RumbleTriggers { left: 1, right: 2 })),
            ),
            ("1,\"motion_rate\":{\"sensor\":\"gyroscope\",\"rate_hz\":100}", Some((1, gyroscope))),
            ("16,\"rumble\":{\"low\":1,\"high\":0}", None),
            ("-1,\"rumble\":{\"low\":1,\"high\":0}", None),
            ("0,\"rumble\":{\"low\":65536,\"high\":0}", None),
            ("0,\"rumble\":{\"low\":1}", None),
            ("0,\"rumble\":{\"low\":1,\"high\":0,\"more\":0}", None),
            ("0,\"led\":{\"red\":256,\"green\":2,\"blue\":255}", None),
            ("0,\"motion_rate\":{\"sensor\":\"nose\",\"rate_hz\":100}", None),
            ("0,\"rumble\":null", None),
            ("0", None),
            (
                "0,\"rumble\":{\"low\":1,\"high\":0},\"rumble_triggers\":{\"left\":1,\"right\":2}",
                None,
            ),
        ];
        for (rest, expected) in table {
            let body = format!("{{\"gamepad\":{rest}}}");

            let parsed = parse("POST", "/v1/sessions/3/feedback", body.as_bytes());

            let expected = expected.map(|(gamepad, feedback)| Command::Feedback {
                id: 3,
                gamepad: GamepadIndex::new(gamepad).unwrap(),
                feedback,
            });
            assert_eq!(parsed.map_err(|it| it.status()), expected.ok_or(400), "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let body = "[".repeat(60_000);

        let refusal = parse("PUT", "/v1/log-level", body.as_bytes()).unwrap_err();

        assert_eq!(refusal.status(), 400);
    }

    #[test]
    fn a_pin_is_never_shown() {
        let body = format!("{{\"pin\":\"1234\",\"fingerprint\":\"{FINGERPRINT}\"}}");

        let command = parse("POST", "/v1/pairings/7/pin", body.as_bytes()).unwrap();

        assert!(!format!("{command:?}").contains("1234"));
    }
}
