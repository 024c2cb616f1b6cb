//! What is asked of the management API, and how it is told no. `openapi.json` describes the same.

#![forbid(unsafe_code)]

use punktfunk_core::proto::cert::Fingerprint;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Grants;

/// What the API is asked for.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// What can be launched.
    Apps,
    /// Paired clients.
    Clients,
    /// The description of this API.
    Document,
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
    ("GET", "/v1/log-level", |_| Ok(Command::LogLevel)),
    ("PUT", "/v1/log-level", |ask| {
        let LogLevel { level } = ask.json()?;
        Ok(Command::SetLogLevel { level })
    }),
    ("GET", "/v1/pairings", |_| Ok(Command::Pairings)),
    ("POST", "/v1/pairings/{id}/pin", |ask| {
        let SubmitPin { fingerprint, pin } = ask.json()?;
        Ok(Command::SubmitPin { id: ask.id()?, fingerprint: parse_fingerprint(&fingerprint)?, pin })
    }),
    ("POST", "/v1/pairings/{id}/reject", |ask| Ok(Command::Reject { id: ask.id()? })),
    ("POST", "/v1/reload", |_| Ok(Command::Reload)),
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

    fn id(&self) -> Result<u64, Refusal> {
        let is_number = self.parameter.bytes().all(|byte| byte.is_ascii_digit());
        let id = if is_number { self.parameter.parse().ok() } else { None };
        id.ok_or_else(|| Refusal::bad_request("a pairing is named by its number"))
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
