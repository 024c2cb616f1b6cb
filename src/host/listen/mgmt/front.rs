//! The reactor's side of the management API: who may ask, and what is passed on to the engine.
//!
//! The engine speaks HTTP but must not meet a stranger: it sees requests that were read, bounded
//! and checked here, each rebuilt from its parts on a connection of its own.

#![forbid(unsafe_code)]

use std::net::IpAddr;

use punktfunk_core::proto::http::{self, Limits, Request};
use ring::digest;

use super::super::table::Plane;
use super::route::{Code, Refusal};

/// What the listeners of the API take.
pub const LIMITS: Limits =
    Limits { head_len_max: 16 * 1024, body_len_max: 64 * 1024, accepts_1_0: false };

/// What TCP callers must prove to know. Only its hash is kept.
#[derive(Debug)]
pub struct Token {
    hash: [u8; 32],
}

impl Token {
    /// The token that a file holds, its white space apart.
    pub fn new(text: &str) -> Token {
        Token { hash: hash(text.trim()) }
    }

    fn is(&self, text: &str) -> bool {
        // Hashes of strings that differ anywhere differ everywhere, so the time that a comparison
        // takes tells nothing about the token.
        self.hash == hash(text)
    }
}

fn hash(text: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 is 32 bytes")
}

/// Whether a request may go on to the engine. On the Unix socket its mode has decided already. On
/// TCP the caller shows the token, names this machine by a loopback name (a page of another site
/// that had its name point here would name that), and is no other site's page.
pub fn authorise(
    plane: Plane,
    request: &Request<'_>,
    token: Option<&Token>,
) -> Result<(), Refusal> {
    if plane == Plane::Control {
        return Ok(());
    }
    if !request.value("host").is_some_and(is_loopback_name) {
        let message = "the Host header must name the loopback address";
        return Err(Refusal::new(Code::Forbidden, message));
    }
    if request.values("origin").next().is_some() {
        return Err(Refusal::new(Code::Forbidden, "other sites' pages may not call this"));
    }
    match (token, request.bearer()) {
        (Some(token), Some(text)) if token.is(text) => Ok(()),
        _ => Err(Refusal::new(Code::Unauthorized, "a bearer token is needed")),
    }
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ip, _)) => ip,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The request as the engine gets it.
pub fn rebuild(request: &Request<'_>) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", request.method, request.target);
    for name in ["Accept", "Content-Type"] {
        if let Some(value) = request.value(name) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", request.body.len()));
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(request.body);
    bytes
}

/// An answer that the engine had no part in.
pub fn refuse(refusal: &Refusal) -> Vec<u8> {
    let headers: &[&str] =
        if refusal.status() == 401 { &["WWW-Authenticate: Bearer"] } else { &[] };
    http::respond(refusal.status(), "application/json", headers, refusal.body().as_bytes())
}

/// The answer to what is no request.
pub fn bad_request(error: http::Error) -> Vec<u8> {
    let refusal = Refusal::new(Code::BadRequest, &error.to_string());
    http::respond(error.status(), "application/json", &[], refusal.body().as_bytes())
}

#[cfg(test)]
mod tests {
    use punktfunk_core::proto::http::Scanner;

    use super::*;

    fn judge(plane: Plane, headers: &str) -> Option<u16> {
        let bytes = format!("GET /v1/status HTTP/1.1\r\n{headers}\r\n\r\n");
        let request = Scanner::default().handle_input(bytes.as_bytes(), &LIMITS).unwrap().unwrap();
        let token = Token::new("secret\n");
        authorise(plane, &request, Some(&token)).err().map(|refusal| refusal.status())
    }

    #[test]
    fn over_tcp_only_the_token_from_a_local_caller_opens() {
        let table = [
            (Plane::Control, "Host: x", None),
            (Plane::Api, "Host: 127.0.0.1:47990\r\nAuthorization: Bearer secret", None),
            (Plane::Api, "Host: [::1]:47990\r\nAuthorization: Bearer secret", None),
            (Plane::Api, "Host: localhost\r\nAuthorization: Bearer secret", None),
            (Plane::Api, "Host: localhost", Some(401)),
            (Plane::Api, "Host: localhost\r\nAuthorization: Bearer secret2", Some(401)),
            (Plane::Api, "Host: localhost\r\nAuthorization: Basic secret", Some(401)),
            (Plane::Api, "Host: evil.example\r\nAuthorization: Bearer secret", Some(403)),
            (Plane::Api, "Host: localhost.evil\r\nAuthorization: Bearer secret", Some(403)),
            (
                Plane::Api,
                "Host: localhost\r\nOrigin: http://x\r\nAuthorization: Bearer secret",
                Some(403),
            ),
        ];
        for (plane, headers, status) in table {
            assert_eq!(judge(plane, headers), status, "{headers:?}");
        }
    }

    #[test]
    fn the_engine_sees_only_what_it_needs() {
        let bytes = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                      Cookie: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}";
        let request = Scanner::default().handle_input(bytes, &LIMITS).unwrap().unwrap();

        let rebuilt = String::from_utf8(rebuild(&request)).unwrap();

        assert_eq!(
            rebuilt,
            "POST /v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: 2\r\nConnection: close\r\n\r\n{}"
        );
    }
}
