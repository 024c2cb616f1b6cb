//! Every parser that meets bytes of strangers: what it is given to begin with, and what must hold
//! whatever the bytes. The mutation test and the fuzz targets go by this table.

#![allow(dead_code, reason = "each target uses its row")]

mod api;
mod certificates;
mod control;
mod enet;
mod files;
mod gamestream;
#[path = "../../src/host/grants.rs"]
mod grants;
mod http;
mod mdns;
mod native;
mod plane;
mod rtsp;

/// One parser.
pub struct Parser {
    /// That of its fuzz target as well.
    pub name: &'static str,
    /// Inputs to begin with, good and bad.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Runs it, and panics where something does not hold.
    pub check: fn(&[u8]),
    /// Mutated inputs that the suite tries, in thousands; fewer where one costs more.
    pub thousands: u64,
}

/// All of them.
pub const PARSERS: [Parser; 23] = [
    Parser { name: "api", seeds: api::seeds, check: api::check, thousands: 12 },
    Parser { name: "audio", seeds: plane::audio_seeds, check: plane::check_audio, thousands: 6 },
    Parser {
        name: "certificate",
        seeds: certificates::certificate_seeds,
        check: certificates::check_certificate,
        thousands: 10,
    },
    Parser {
        name: "clients",
        seeds: files::clients_seeds,
        check: files::check_clients,
        thousands: 6,
    },
    Parser { name: "conf", seeds: files::conf_seeds, check: files::check_conf, thousands: 6 },
    Parser { name: "control", seeds: control::seeds, check: control::check, thousands: 12 },
    Parser {
        name: "der",
        seeds: certificates::der_seeds,
        check: certificates::check_der,
        thousands: 10,
    },
    Parser {
        name: "encoders",
        seeds: files::encoders_seeds,
        check: files::check_encoders,
        thousands: 6,
    },
    Parser { name: "enet", seeds: enet::seeds, check: enet::check, thousands: 2 },
    Parser { name: "http", seeds: http::seeds, check: http::check, thousands: 12 },
    Parser {
        name: "input",
        seeds: control::input_seeds,
        check: control::check_input,
        thousands: 12,
    },
    Parser { name: "mdns", seeds: mdns::seeds, check: mdns::check, thousands: 6 },
    Parser { name: "packet", seeds: native::seeds, check: native::check, thousands: 12 },
    Parser {
        name: "pairing",
        seeds: gamestream::pairing_seeds,
        check: gamestream::check_pairing,
        thousands: 4,
    },
    Parser {
        name: "pem",
        seeds: certificates::pem_seeds,
        check: certificates::check_pem,
        thousands: 10,
    },
    Parser { name: "ping", seeds: plane::ping_seeds, check: plane::check_ping, thousands: 6 },
    Parser { name: "probe", seeds: plane::probe_seeds, check: plane::check_probe, thousands: 12 },
    Parser { name: "query", seeds: http::query_seeds, check: http::check_query, thousands: 12 },
    Parser {
        name: "request",
        seeds: gamestream::request_seeds,
        check: gamestream::check_request,
        thousands: 12,
    },
    Parser { name: "rtsp", seeds: rtsp::seeds, check: rtsp::check, thousands: 4 },
    Parser {
        name: "rtsp_sealed",
        seeds: rtsp::sealed_seeds,
        check: rtsp::check_sealed,
        thousands: 6,
    },
    Parser {
        name: "shards",
        seeds: native::shard_seeds,
        check: native::check_shards,
        thousands: 4,
    },
    Parser { name: "xml", seeds: http::query_seeds, check: http::check_xml, thousands: 6 },
];

/// Runs the parser of this name.
pub fn check(name: &str, bytes: &[u8]) {
    let parser = PARSERS.iter().find(|parser| parser.name == name);
    (parser.expect("the table has it").check)(bytes);
}

/// Literals as seeds.
fn owned(seeds: &[&[u8]]) -> Vec<Vec<u8>> {
    seeds.iter().map(|seed| seed.to_vec()).collect()
}

#[expect(clippy::disallowed_methods, reason = "an instant to count from")]
fn epoch() -> std::time::Instant {
    std::time::Instant::now()
}
