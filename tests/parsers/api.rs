//! Routes and bodies of the management API. A line has method and target, the body follows.

use punktfunk_core::proto::cert::Fingerprint;

#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../../src/host/listen/mgmt/route.rs"]
mod route;

use super::grants::Grants;
use route::Command;

const FINGERPRINT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::owned(&[
        b"GET /openapi.json\n",
        b"GET /v1/status?x=1\n",
        b"PUT /v1/log-level\n{\"level\":\"info listen::mdns=trace\"}",
        b"PUT /v1/log-level\n{\"level\":\"\\u0000\\ud800\",\"level\":1e999}",
        b"POST /v1/pairings/18446744073709551616/reject\n",
        b"POST /v1/reload\n",
        b"DELETE /v1/clients/\xff\n",
    ]);
    let pin = format!("{{\"pin\":\"1234\",\"fingerprint\":\"{FINGERPRINT}\"}}");
    seeds.push(format!("POST /v1/pairings/7/pin\n{pin}").into_bytes());
    seeds.push(format!("PATCH /v1/clients/{FINGERPRINT}\n{{\"name\":\"tv\"}}").into_bytes());
    let grants = "{\"grant\":[\"view\",\"pen\"],\"revoke\":[\"audio\"]}";
    seeds.push(format!("PATCH /v1/clients/{FINGERPRINT}/grants\n{grants}").into_bytes());
    seeds.push(format!("DELETE /v1/clients/{FINGERPRINT}\n").into_bytes());
    seeds.push(format!("PUT /v1/log-level\n{}", "[{\"level\":".repeat(200)).into_bytes());
    seeds
}

pub fn check(bytes: &[u8]) {
    let line_len = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let body = bytes.get(line_len + 1..).unwrap_or_default();
    let line = String::from_utf8_lossy(&bytes[..line_len]);
    let (method, target) = line.split_once(' ').unwrap_or((&line, ""));

    match route::parse(method, target, body) {
        Ok(Command::Rename { fingerprint, .. } | Command::Unpair { fingerprint }) => {
            assert_eq!(fingerprint.to_string().parse::<Fingerprint>(), Ok(fingerprint));
        }
        Ok(Command::Grant { given, taken, .. }) => {
            assert!(!given.overlaps(taken));
            assert_eq!(Grants::parse(given.names()), Ok(given));
        }
        Ok(command @ Command::SubmitPin { .. }) => {
            assert!(format!("{command:?}").ends_with("pin: (a PIN) }"));
        }
        Ok(_) => {}
        Err(refusal) => {
            assert!([400, 404, 405].contains(&refusal.status()));
            let body: serde_json::Value = serde_json::from_str(&refusal.body()).unwrap();
            assert!(body["error"]["message"].is_string());
        }
    }
}
