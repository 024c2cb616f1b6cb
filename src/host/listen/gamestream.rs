//! GameStream over HTTP and HTTPS: which request is answered where, and with what.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::time::Instant;

use punktfunk_core::net::clock;
use punktfunk_core::proto::cert::Certificate;
use punktfunk_core::proto::gamestream::http::{self as document, Error, Request, ServerInfo};
use punktfunk_core::proto::gamestream::pairing::{HostKeys, PairRequest};
use punktfunk_core::proto::gamestream::rtsp::announce::Codec;
use punktfunk_core::proto::http::{self, Limits};

use super::table::{Key, Plane};
use crate::conf::Pairing;
use crate::daemon::{Daemon, Effect, Waiter};
use crate::display::Told;
use crate::hooks;

/// What either listener takes. A client certificate makes a request line of some 2 kB.
pub const LIMITS: Limits = Limits { head_len_max: 16 * 1024, body_len_max: 0, accepts_1_0: true };

/// Pixels of the largest HEVC picture, as the hosts say that clients know.
const LUMA_PIXELS_HEVC_MAX: u32 = 1_869_449_984;

/// What is there without TLS.
const HTTP_PATHS: [&str; 3] = ["/pair", "/serverinfo", "/unpair"];

/// Who asks, and where.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The connection, for answers that come later.
    pub connection: Key,
    /// [`Plane::Http`] or [`Plane::Https`].
    pub plane: Plane,
    /// The client's address.
    pub peer: IpAddr,
    /// The address that was asked.
    pub local: IpAddr,
    /// The hardware address of the interface that was asked, for waking this machine.
    pub mac: Option<[u8; 6]>,
    /// What TLS has proved.
    pub certificate: Option<Certificate>,
}

/// An XML document as an HTTP answer. Errors of the protocol travel with HTTP status 200: clients
/// show the message of those and hide the others behind "network error".
pub fn xml(status: u16, document: &str) -> Vec<u8> {
    http::respond(status, "application/xml", &[], document.as_bytes())
}

/// The answer to what is no request.
pub fn bad_request(error: http::Error) -> Vec<u8> {
    let status = error.status();
    xml(status, &document::refusal(status, &error.to_string(), None))
}

impl Daemon {
    /// Takes a request; the answer comes as an effect, at once or later.
    pub fn handle_gamestream(&mut self, asker: &Asker, request: &http::Request<'_>, now: Instant) {
        log::debug!("{} from {}: {} {}", asker.plane, asker.peer, request.method, request.path());
        if request.method != "GET" {
            let body = document::refusal(405, "GET is the only method here", None);
            let allow = ["Allow: GET"];
            let bytes = http::respond(405, "application/xml", &allow, body.as_bytes());
            return self.push(Effect::Answer(asker.connection, bytes));
        }
        let answer = match asker.plane {
            Plane::Https => self.answer_https(asker, request, now),
            _ => self.answer_http(asker, request, now),
        };
        if let Some(bytes) = answer {
            self.push(Effect::Answer(asker.connection, bytes));
        }
    }

    fn answer_http(
        &mut self,
        asker: &Asker,
        request: &http::Request<'_>,
        now: Instant,
    ) -> Option<Vec<u8>> {
        match Request::parse(request.target) {
            Ok(Request::ServerInfo) => Some(xml(200, &self.server_info(asker, false))),
            // The last stage belongs to HTTPS; here it is one out of order.
            Ok(Request::Pair(pair)) => self.answer_pair(asker, &pair, now),
            Ok(Request::Unpair { unique_id }) => {
                // Anyone can send this: it ends an attempt from the same address, nothing else.
                if let Some(ended) = self.pairings.abort(asker.peer, &unique_id, now) {
                    self.on_pairing_ended(ended, now);
                }
                Some(xml(200, &document::refusal(200, "", None)))
            }
            Err(error) if HTTP_PATHS.contains(&request.path()) => {
                Some(self.refuse(request, asker, error, now))
            }
            Ok(_) | Err(_) => Some(not_found()),
        }
    }

    fn answer_https(
        &mut self,
        asker: &Asker,
        request: &http::Request<'_>,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let is_paired =
            asker.certificate.as_ref().is_some_and(|it| self.ledger.trust().client(it).is_some());
        if !is_paired {
            return Some(xml(200, &document::unauthorised(request.path())));
        }
        let parsed = match Request::parse(request.target) {
            Ok(parsed) => parsed,
            Err(Error::NotFound) => return Some(not_found()),
            Err(error) => return Some(self.refuse(request, asker, error, now)),
        };
        Some(match parsed {
            Request::AppAsset { app } => {
                match self.apps.visible(app).and_then(|it| it.image.clone()) {
                    Some(path) => {
                        self.push(Effect::ReadImage(asker.connection, path));
                        return None;
                    }
                    None => not_found(),
                }
            }
            Request::AppList => xml(200, &document::app_list(&self.apps.entries())),
            Request::Cancel => self.answer_cancel(asker, now),
            Request::Launch(launch) => self.answer_launch(asker, launch, now),
            Request::Pair(PairRequest::PairChallenge) => xml(200, &document::paired(true, None)),
            Request::Pair(_) => {
                let message = "Pairing begins over HTTP";
                xml(200, &document::refusal(400, message, Some(("paired", "0"))))
            }
            Request::Resume(resume) => self.answer_resume(asker, resume, now),
            Request::ServerInfo => xml(200, &self.server_info(asker, true)),
            // Certificates are taken off by the administrator alone.
            Request::Unpair { .. } => xml(200, &document::refusal(200, "", None)),
        })
    }

    fn answer_pair(&mut self, asker: &Asker, pair: &PairRequest, now: Instant) -> Option<Vec<u8>> {
        if let PairRequest::GetServerCert { .. } = pair {
            return self.begin_pairing(asker, pair, now);
        }
        let host = HostKeys { certificate: &self.identity.certificate, key: &self.identity.key };
        match self.pairings.handle_request(pair, asker.peer, &host, &self.random, now) {
            Ok(step) => match step.reply.paired {
                None => {
                    if step.reply.is_refused {
                        self.counters.pairings_failed += 1;
                        log::warn!("pairing {}: from {}: ended, wrong PIN", step.id, asker.peer);
                    }
                    Some(xml(200, &step.reply.body))
                }
                Some(certificate) => {
                    let named = self
                        .pairings
                        .entries()
                        .find(|(entry, _)| entry.id == step.id)
                        .and_then(|(entry, _)| entry.device_name.clone());
                    let name =
                        named.map_or_else(|| format!("moonlight-{}", asker.peer), String::from);
                    let waiter = Waiter::Pairing(step.id, asker.connection, step.reply.body);
                    self.store_client(certificate, name, waiter, clock::unix_s(), now);
                    None
                }
            },
            Err((error, ended)) => {
                if let Some(ended) = ended {
                    self.on_pairing_ended(ended, now);
                }
                Some(pairing_refused(&error.to_string()))
            }
        }
    }

    fn begin_pairing(
        &mut self,
        asker: &Asker,
        pair: &PairRequest,
        now: Instant,
    ) -> Option<Vec<u8>> {
        if self.conf.pairing == Pairing::Off {
            return Some(pairing_refused("This host takes no new clients"));
        }
        let (window, limit) = (self.conf.pairing_window, self.attempt_limit());
        let begun = self.pairings.begin(pair, asker.peer, asker.connection, now, window, limit);
        match begun {
            Ok(entry) => {
                let level = self.pairing_lines.level(log::Level::Info, now);
                log::log!(
                    level,
                    "pairing {}: {} asks to pair, certificate {}; answer within {} s with \
                     'punktfunkctl pair pin {}'",
                    entry.id,
                    entry.address,
                    entry.fingerprint,
                    window.as_secs(),
                    entry.id,
                );
                let told = Told {
                    client_name: entry.device_name.as_deref().unwrap_or_default().to_owned(),
                    client_address: Some(entry.address),
                    ..Told::default()
                };
                let event = hooks::Event::PairRequest(entry.id);
                self.push(Effect::Hook(event, Box::new(told)));
                None
            }
            Err((refusal, ended)) => {
                if let Some(ended) = ended {
                    self.on_pairing_ended(ended, now);
                }
                log::debug!("pairing: {} refused: {refusal}", asker.peer);
                Some(pairing_refused(&refusal.to_string()))
            }
        }
    }

    /// The answer to a request with a bad query. One that belongs to a pairing ends it.
    fn refuse(
        &mut self,
        request: &http::Request<'_>,
        asker: &Asker,
        error: Error,
        now: Instant,
    ) -> Vec<u8> {
        let extra = match request.path() {
            "/launch" => Some(("gamesession", "0")),
            "/pair" => Some(("paired", "0")),
            "/resume" => Some(("resume", "0")),
            _ => None,
        };
        if request.path() == "/pair" && asker.plane == Plane::Http {
            let failure = crate::pairing::Failure::Malformed;
            if let Some(ended) = self.pairings.erase_at(asker.peer, failure, now) {
                self.on_pairing_ended(ended, now);
            }
        }
        xml(200, &document::refusal(error.status(), &error.to_string(), extra))
    }

    fn server_info(&self, asker: &Asker, is_paired: bool) -> String {
        let port = self.conf.gamestream_port;
        let choice = self.choice();
        let has_hevc = choice.service(Codec::Hevc).is_some();
        document::server_info(&ServerInfo {
            host_name: self.conf.host_name.clone(),
            host_id: self.identity.host_id.clone(),
            http_port: port,
            https_port: port - 5,
            mac: asker.mac.filter(|_| is_paired),
            local_ip: asker.local,
            codec_mode_support: choice.codec_mode_support(),
            luma_pixels_hevc_max: if has_hevc { LUMA_PIXELS_HEVC_MAX } else { 0 },
            pair_status: is_paired,
            current_game: self.app_seen_by(asker.certificate.as_ref().filter(|_| is_paired)),
        })
    }
}

pub fn not_found() -> Vec<u8> {
    xml(404, &document::refusal(404, "Not found", None))
}

fn pairing_refused(message: &str) -> Vec<u8> {
    xml(200, &document::refusal(400, message, Some(("paired", "0"))))
}
