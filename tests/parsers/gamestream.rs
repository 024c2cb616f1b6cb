//! Requests of GameStream clients, and the stages of a pairing in whatever order they come.

use std::sync::OnceLock;
use std::time::Duration;

use punktfunk_core::proto::cert::Certificate;
use punktfunk_core::proto::der::pem;
use punktfunk_core::proto::gamestream::http::Request;
use punktfunk_core::proto::gamestream::pairing::{Exchange, HostKeys, PairRequest, Pin};
use punktfunk_core::proto::hex;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;

const CLIENT: &str = include_str!("../vectors/certificates/rsa-2048.pem");
const OTHER: &str = include_str!("../vectors/certificates/p-256.pem");
const HOST: &str = include_str!("../vectors/certificates/host.pem");
const HOST_KEY: &str = include_str!("../vectors/certificates/host.key.pem");
const RIKEY: &str = "000102030405060708090a0b0c0d0e0f";
const WINDOW: Duration = Duration::from_secs(120);

fn first(pem: &str) -> String {
    let certificate = hex::emit(pem.as_bytes());
    format!(
        "/pair?uniqueid=0123456789ABCDEF&uuid=7d&devicename=roth&updateState=1&\
         phrase=getservercert&salt={RIKEY}&clientcert={certificate}"
    )
}

fn secret(signature_digits: usize) -> String {
    format!("{RIKEY}{}", "5a".repeat(signature_digits / 2))
}

pub fn request_seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "/serverinfo?uniqueid=0123456789ABCDEF&uuid=77".to_owned(),
        "/applist?".to_owned(),
        "/cancel?x".to_owned(),
        "/appasset?appid=7&AssetType=2&AssetIdx=0".to_owned(),
        "/appasset?appid=../../../etc/passwd".to_owned(),
        "/unpair?uniqueid=a%0d%0aSet-Cookie:%20x".to_owned(),
        format!(
            "/launch?appid=1&mode=1920x1080x59.94&rikey={RIKEY}&rikeyid=-1413811421&&corever=1"
        ),
        format!("/resume?mode=16384x16384x999999&rikey={RIKEY}&rikeyid=-2147483648"),
        format!("/pair?uniqueid=7&clientpairingsecret={}&devicename=%41%0a%c2%85", secret(512)),
        format!("/pair?uniqueid=7&clientchallenge={RIKEY}"),
        format!("/pair?uniqueid=7&serverchallengeresp={RIKEY}{RIKEY}"),
        "/pair?uniqueid=7&phrase=pairchallenge".to_owned(),
        first(CLIENT),
    ];
    seeds.map(String::into_bytes).to_vec()
}

pub fn check_request(bytes: &[u8]) {
    let Ok(target) = std::str::from_utf8(bytes) else {
        return;
    };
    let (keys, mode) = match Request::parse(target) {
        Ok(Request::AppAsset { app }) => return assert!((1..=i32::MAX as u32).contains(&app)),
        Ok(Request::Launch(launch)) => {
            assert!((1..=i32::MAX as u32).contains(&launch.app));
            (launch.keys, launch.mode)
        }
        Ok(Request::Resume(resume)) => (resume.keys, resume.mode),
        Ok(Request::Pair(stage)) => return check_stage(&stage),
        Ok(Request::Unpair { unique_id }) => return check_unique_id(&unique_id),
        Ok(_) => return,
        Err(error) => {
            assert!([400, 404].contains(&error.status()));
            return assert!(!error.to_string().contains(char::is_control));
        }
    };
    assert!(!format!("{keys:?}").contains(RIKEY));
    if let Some(mode) = mode {
        assert!([mode.width, mode.height].iter().all(|side| (1..=16_384).contains(side)));
        assert!((1..=999_999).contains(&mode.refresh_mhz));
    }
}

fn check_unique_id(unique_id: &str) {
    assert!((1..=64).contains(&unique_id.len()));
}

fn check_stage(stage: &PairRequest) {
    match stage {
        PairRequest::GetServerCert { unique_id, device_name, .. } => {
            check_unique_id(unique_id);
            if let Some(name) = device_name {
                assert!((1..=63).contains(&name.chars().count()));
                assert!(name.trim() == name && !name.contains(char::is_control), "{name:?}");
            }
        }
        PairRequest::ClientPairingSecret { unique_id, signature, .. } => {
            check_unique_id(unique_id);
            assert!((1..=1024).contains(&signature.len()));
        }
        PairRequest::ClientChallenge { unique_id, .. }
        | PairRequest::ServerChallengeResponse { unique_id, .. } => check_unique_id(unique_id),
        PairRequest::PairChallenge => {}
    }
}

/// Lines: targets of requests, and four digits where the administrator gives a PIN.
pub fn pairing_seeds() -> Vec<Vec<u8>> {
    let challenge = format!("/pair?uniqueid=0123456789ABCDEF&clientchallenge={RIKEY}");
    let response = format!("/pair?uniqueid=0123456789ABCDEF&serverchallengeresp={RIKEY}{RIKEY}");
    let proof = format!("/pair?uniqueid=0123456789ABCDEF&clientpairingsecret={}", secret(512));
    let all = [&first(CLIENT), "4711", &challenge, &response, &proof];
    let seeds = [
        all.join("\n"),
        [&first(OTHER), "0000", &challenge, &response, &proof].join("\n"),
        [&first(CLIENT), "4711", &response, &challenge].join("\n"),
        [&first(CLIENT), "4711", &challenge, &challenge, &response].join("\n"),
        [&first(CLIENT), &challenge, "4711", &challenge].join("\n"),
        [&first(CLIENT), "4711", "4711", &first(OTHER), &challenge].join("\n"),
        [&first(CLIENT), "4711", "/pair?uniqueid=7&phrase=pairchallenge", &challenge].join("\n"),
    ];
    seeds.map(String::into_bytes).to_vec()
}

fn host() -> &'static (Certificate, KeyPair) {
    static HOST_KEYS: OnceLock<(Certificate, KeyPair)> = OnceLock::new();
    HOST_KEYS.get_or_init(|| {
        let key = pem::parse("PRIVATE KEY", HOST_KEY.as_bytes()).unwrap();
        (Certificate::parse_pem(HOST.as_bytes()).unwrap(), KeyPair::from_pkcs8(&key).unwrap())
    })
}

pub fn check_pairing(bytes: &[u8]) {
    let now = super::epoch();
    let (certificate, key) = host();
    let keys = HostKeys { certificate, key };
    let random = SystemRandom::new();
    let mut exchange: Option<Exchange> = None;
    let (mut is_over, mut stage_count) = (false, 0);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    // More lines than stages come to nothing new.
    for line in text.lines().take(8) {
        let pin = Pin::parse(line);
        let stage = match Request::parse(line) {
            Ok(Request::Pair(stage)) => Some(stage),
            _ => None,
        };
        match (&mut exchange, pin, stage) {
            (None, None, Some(stage)) => exchange = Exchange::begin(&stage, now, WINDOW).ok(),
            (Some(exchange), Some(pin), None) => {
                let given = exchange.handle_pin(&pin, certificate, now);
                assert!(given.is_err() || stage_count == 0, "a PIN is given once");
                assert!(given.is_err() || !is_over);
                is_over |= given.is_err();
                stage_count += usize::from(given.is_ok());
            }
            (Some(exchange), None, Some(stage)) => {
                let reply = exchange.handle_request(&stage, &keys, &random, now);
                assert!(reply.is_err() || !is_over, "nothing follows an error");
                let Ok(reply) = reply else {
                    is_over = true;
                    continue;
                };
                stage_count += 1;
                // Nobody who knows neither the PIN nor the host's challenge gets this far.
                assert!(reply.paired.is_none());
                is_over |= stage_count == 4;
                assert_eq!(reply.is_refused, is_over);
            }
            _ => {}
        }
    }
    assert!(stage_count <= 4);
}
