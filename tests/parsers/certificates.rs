//! DER, PEM and certificates.

use punktfunk_core::proto::cert::{Certificate, DER_LEN_MAX, Fingerprint, PublicKey};
use punktfunk_core::proto::der::{self, Reader, pem};

const PEM: [&str; 10] = [
    include_str!("../vectors/certificates/rsa-2048.pem"),
    include_str!("../vectors/certificates/p-256.pem"),
    include_str!("../vectors/certificates/x509-v1.pem"),
    include_str!("../vectors/certificates/expired.pem"),
    include_str!("../vectors/certificates/sha1.pem"),
    include_str!("../vectors/certificates/serial-0.pem"),
    include_str!("../vectors/certificates/rsa-1024.pem"),
    include_str!("../vectors/certificates/p-384.pem"),
    include_str!("../vectors/certificates/ed25519.pem"),
    include_str!("../vectors/certificates/host.pem"),
];
const KEY: &str = include_str!("../vectors/certificates/host.key.pem");
const LABELS: [&str; 2] = ["CERTIFICATE", "PRIVATE KEY"];
/// How deep elements within elements are followed.
const DEPTH_MAX: usize = 32;

pub fn pem_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = PEM.iter().map(|text| text.as_bytes().to_vec()).collect();
    seeds.push(KEY.as_bytes().to_vec());
    seeds.push(b"-----BEGIN CERTIFICATE-----AA==-----END CERTIFICATE-----".to_vec());
    seeds
        .push(b"\r\n-----BEGIN CERTIFICATE-----\r\nAAA=\r\n-----END CERTIFICATE-----\r\n".to_vec());
    seeds
}

pub fn check_pem(bytes: &[u8]) {
    for label in LABELS {
        let Some(content) = pem::parse(label, bytes) else {
            continue;
        };
        assert!(!content.is_empty() && content.len() < bytes.len());
        let emitted = pem::emit(label, &content);
        if emitted.len() <= pem::TEXT_LEN_MAX {
            assert_eq!(pem::parse(label, emitted.as_bytes()), Some(content));
        }
    }
}

pub fn der_seeds() -> Vec<Vec<u8>> {
    let der = |text: &&str| pem::parse("CERTIFICATE", text.as_bytes()).unwrap();
    let mut seeds: Vec<Vec<u8>> = PEM.iter().map(der).collect();
    seeds.extend(super::owned(&[
        b"\x30\x80\x02\x01\x05\x00\x00",
        b"\x02\x02\x00\x80\x03\x02\x00\xff\x1f\x81\x01\x00",
        b"\x30\x82\xff\xff",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x81\x7f",
    ]));
    seeds.push([0x30, 0x80].repeat(64));
    seeds
}

pub fn check_der(bytes: &[u8]) {
    walk(bytes, 0);
    let mut reader = Reader::new(bytes);
    let before = reader;
    // What was not expected stays where it is.
    if reader.expect(0x42).is_none() {
        assert_eq!({ reader }.read(), { before }.read());
    }
    let _ = { before }.positive().map(|digits| assert_ne!(digits.first(), Some(&0)));
    let _ = { before }.bit_string();
    assert_eq!(before.end().is_some(), bytes.is_empty());
}

fn walk(bytes: &[u8], depth: usize) {
    let (mut reader, mut read_len) = (Reader::new(bytes), 0);
    while let Some(element) = reader.read() {
        read_len += element.whole.len();
        assert_eq!(der::tlv(element.tag, element.content), element.whole);
        if depth < DEPTH_MAX {
            walk(element.content, depth + 1);
        }
    }
    assert!(read_len <= bytes.len());
}

pub fn certificate_seeds() -> Vec<Vec<u8>> {
    [pem_seeds(), der_seeds()].concat()
}

pub fn check_certificate(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::parse(bytes) {
        assert_eq!(certificate.der(), bytes);
        check_one(&certificate);
    }
    if let Ok(certificate) = Certificate::parse_pem(bytes) {
        check_one(&certificate);
    }
}

fn check_one(certificate: &Certificate) {
    assert!(certificate.der().len() <= DER_LEN_MAX && !certificate.signature().is_empty());
    assert_eq!(Certificate::parse_pem(certificate.pem().as_bytes()).as_ref(), Ok(certificate));
    let fingerprint = certificate.fingerprint();
    assert_eq!(fingerprint.to_string().parse::<Fingerprint>(), Ok(fingerprint));
    match certificate.key() {
        PublicKey::P256(point) => assert_eq!(point.len(), 65),
        PublicKey::Rsa(key) => assert!(key.len() >= 256),
    }
    assert!(!certificate.verify_sha256(b"", certificate.signature()));
}
