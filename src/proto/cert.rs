//! X.509 certificates as GameStream uses them: a name that its owner can prove.
//!
//! What counts is the whole of the bytes and the key in them. Version, serial number, names,
//! dates, extensions and who signed mean nothing here: clients are small devices with wrong clocks
//! that sign for themselves. Read as RFC 5280 section 4.1 has it, by [`der`].

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::sync::Arc;

use ring::digest;
use ring::rand::SecureRandom;
use ring::signature::{self, KeyPair, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm};

use super::der::{self, Reader, pem, tag};
use super::hex;

/// Bytes of a certificate at most.
pub const DER_LEN_MAX: usize = 16 * 1024;
/// Bits of an RSA key, both ends included.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;
/// The label of a certificate in PEM.
const LABEL: &str = "CERTIFICATE";
/// From making to end of a certificate of our own: 20 years with their five leap days.
const VALIDITY_S: u64 = 7305 * 86_400;

/// Contents of OBJECT IDENTIFIERs.
mod oid {
    // 2.5.4.3
    pub(super) const COMMON_NAME: &[u8] = &[0x55, 4, 3];
    // 1.2.840.10045.2.1
    pub(super) const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    // 1.2.840.10045.3.1.7
    pub(super) const P_256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    // 1.2.840.113549.1.1.1
    pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    // 1.2.840.113549.1.1.11
    pub(super) const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
}

/// A certificate with a key of a kind that can pair. Clones share their bytes.
#[derive(Clone)]
pub struct Certificate {
    der: Arc<[u8]>,
    fingerprint: Fingerprint,
    key_kind: KeyKind,
    /// Where in `der` the public key is, as [`PublicKey`] has it.
    key: Range<usize>,
    signature: Range<usize>,
}

/// The key of a certificate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PublicKey<'a> {
    /// ECDSA on the curve P-256: the point, uncompressed, 65 bytes.
    P256(&'a [u8]),
    /// An `RSAPublicKey` in DER (RFC 8017, A.1.1), 2048 to 8192 bits.
    Rsa(&'a [u8]),
}

#[derive(Clone, Copy)]
enum KeyKind {
    P256,
    Rsa,
}

/// SHA-256 of a certificate's DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint([u8; 32]);

/// Why a certificate was refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// A key that is neither RSA nor on the curve P-256.
    KeyKind,
    /// An RSA key with so many bits.
    KeyLen(usize),
    /// Not a certificate in DER, or more than one.
    Malformed,
    /// Not one block of PEM with the label CERTIFICATE.
    Pem,
    /// More bytes than any certificate of a client has.
    TooLong,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::KeyKind => f.write_str("a key that is neither RSA nor P-256"),
            Error::KeyLen(bits) => {
                let (min, max) = (RSA_BITS.start(), RSA_BITS.end());
                write!(f, "an RSA key of {bits} bits, {min} to {max} are supported")
            }
            Error::Malformed => f.write_str("no X.509 certificate in DER"),
            Error::Pem => f.write_str("no certificate in PEM"),
            Error::TooLong => write!(f, "a certificate of more than {DER_LEN_MAX} bytes"),
        }
    }
}

/// The parts of a certificate that count, borrowed from it.
struct Parts<'a> {
    spki: Reader<'a>,
    signature: &'a [u8],
}

impl Certificate {
    /// Reads one certificate that fills `der`.
    pub fn parse(der: &[u8]) -> Result<Certificate, Error> {
        if der.len() > DER_LEN_MAX {
            return Err(Error::TooLong);
        }
        let parts = Parts::read(der).ok_or(Error::Malformed)?;
        let (key_kind, key) = match read_key(parts.spki)? {
            PublicKey::P256(point) => (KeyKind::P256, point),
            PublicKey::Rsa(key) => (KeyKind::Rsa, key),
        };
        Ok(Certificate {
            fingerprint: Fingerprint::of(der),
            key_kind,
            key: range_of(key, der),
            signature: range_of(parts.signature, der),
            der: der.into(),
        })
    }

    /// Reads one block of PEM, with any line ends and nothing but white space around it.
    pub fn parse_pem(text: &[u8]) -> Result<Certificate, Error> {
        Certificate::parse(&pem::parse(LABEL, text).ok_or(Error::Pem)?)
    }

    /// The whole certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The whole certificate as text: lines of 64 characters, each ended by LF.
    pub fn pem(&self) -> String {
        pem::emit(LABEL, &self.der)
    }

    /// What people compare.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The signature that its issuer made, 256 bytes when that has an RSA-2048 key. Nobody checks
    /// it; GameStream uses it as a number that belongs to this certificate.
    pub fn signature(&self) -> &[u8] {
        &self.der[self.signature.clone()]
    }

    /// The key of its owner.
    pub fn key(&self) -> PublicKey<'_> {
        let key = &self.der[self.key.clone()];
        match self.key_kind {
            KeyKind::P256 => PublicKey::P256(key),
            KeyKind::Rsa => PublicKey::Rsa(key),
        }
    }

    /// Whether its owner signed the message: RSA PKCS#1 v1.5 or ECDSA (in DER), over SHA-256.
    pub fn verify_sha256(&self, message: &[u8], signature: &[u8]) -> bool {
        let (algorithm, key): (&dyn VerificationAlgorithm, _) = match self.key() {
            PublicKey::P256(point) => (&signature::ECDSA_P256_SHA256_ASN1, point),
            PublicKey::Rsa(key) => (&signature::RSA_PKCS1_2048_8192_SHA256, key),
        };
        UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Certificate) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint)
    }
}

impl<'a> Parts<'a> {
    /// `Certificate = SEQUENCE { tbs, algorithm, BIT STRING signature }`, `tbs = SEQUENCE {
    /// [0] version?, serial, algorithm, issuer, validity, subject, spki, ... }`.
    fn read(der: &'a [u8]) -> Option<Parts<'a>> {
        let mut file = Reader::new(der);
        let mut certificate = file.sequence()?;
        file.end()?;
        let mut tbs = certificate.sequence()?;
        certificate.sequence()?;
        let signature = certificate.bit_string().filter(|bytes| !bytes.is_empty())?;
        certificate.end()?;

        let _version = tbs.expect(tag::CONTEXT_0);
        tbs.expect(tag::INTEGER)?;
        for _algorithm_issuer_validity_subject in 0..4 {
            tbs.sequence()?;
        }
        let spki = tbs.sequence()?;
        Some(Parts { spki, signature })
    }
}

/// `SubjectPublicKeyInfo = SEQUENCE { SEQUENCE { OID, parameters }, BIT STRING key }`.
fn read_key(mut spki: Reader<'_>) -> Result<PublicKey<'_>, Error> {
    let mut read = || {
        let mut algorithm = spki.sequence()?;
        let key = spki.bit_string()?;
        spki.end()?;
        Some((algorithm.expect(tag::OID)?, algorithm, key))
    };
    let (oid, mut parameters, key) = read().ok_or(Error::Malformed)?;
    if oid == oid::RSA {
        let bits = rsa_bits(key).ok_or(Error::Malformed)?;
        return if RSA_BITS.contains(&bits) {
            Ok(PublicKey::Rsa(key))
        } else {
            Err(Error::KeyLen(bits))
        };
    }
    let is_p256 = oid == oid::EC_PUBLIC_KEY && parameters.expect(tag::OID) == Some(oid::P_256);
    match key {
        [4, point @ ..] if is_p256 && point.len() == 64 => Ok(PublicKey::P256(key)),
        _ => Err(Error::KeyKind),
    }
}

/// The bits of the modulus of `RSAPublicKey = SEQUENCE { modulus, exponent }`.
fn rsa_bits(key: &[u8]) -> Option<usize> {
    let mut file = Reader::new(key);
    let mut key = file.sequence()?;
    file.end()?;
    let modulus = key.positive()?;
    key.positive()?;
    key.end()?;
    Some(modulus.len() * 8 - modulus.first()?.leading_zeros() as usize)
}

/// Where in `whole` a part of it is.
fn range_of(part: &[u8], whole: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

impl Fingerprint {
    fn of(der: &[u8]) -> Fingerprint {
        let digest = digest::digest(&digest::SHA256, der);
        Fingerprint(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// The hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 lower-case hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::emit(&self.0))
    }
}

/// Text that is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotFingerprint;

impl fmt::Display for NotFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fingerprint has 64 hexadecimal digits")
    }
}

/// Digits of either case, with or without a colon between two bytes.
impl FromStr for Fingerprint {
    type Err = NotFingerprint;

    fn from_str(text: &str) -> Result<Fingerprint, NotFingerprint> {
        let is_place = |(index, _): &(usize, u8)| index % 3 == 2;
        let has_colons = text.len() == 32 * 3 - 1
            && text.bytes().enumerate().filter(is_place).all(|(_, character)| character == b':');
        let digits = if has_colons { &text.replace(':', "") } else { text };
        hex::parse_array(digits).map(Fingerprint).ok_or(NotFingerprint)
    }
}

/// Makes an X.509 version 3 certificate without extensions, signed by its own key with SHA-256, in
/// DER. It is valid for 20 years from `unix_s` on.
///
/// `serial` should be random; its two top bits are set so that the number is positive and long.
/// `common_name` is at most 64 characters (RFC 5280, A.1). Errs when there are no random numbers.
pub fn self_signed(
    key: &RsaKeyPair,
    common_name: &str,
    mut serial: [u8; 16],
    unix_s: u64,
    random: &dyn SecureRandom,
) -> Result<Vec<u8>, ring::error::Unspecified> {
    serial[0] = serial[0] & 0x7f | 0x40;
    let starts_s = unix_s.min(der::TIME_S_MAX - VALIDITY_S);
    let algorithm = der::seq(&[&der::tlv(tag::OID, oid::RSA_SHA256), &der::tlv(tag::NULL, &[])]);
    let name = name(common_name);
    let tbs = der::seq(&[
        &der::tlv(tag::CONTEXT_0, &der::int(&[2])),
        &der::int(&serial),
        &algorithm,
        &name,
        &der::seq(&[&der::time(starts_s), &der::time(starts_s + VALIDITY_S)]),
        &name,
        &der::seq(&[
            &der::seq(&[&der::tlv(tag::OID, oid::RSA), &der::tlv(tag::NULL, &[])]),
            &der::bit_string(key.public_key().as_ref()),
        ]),
    ]);
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&signature::RSA_PKCS1_SHA256, random, &tbs, &mut signature)?;
    Ok(der::seq(&[&tbs, &algorithm, &der::bit_string(&signature)]))
}

/// `Name = SEQUENCE { SET { SEQUENCE { OID, UTF8String } } }`.
fn name(common_name: &str) -> Vec<u8> {
    let value = der::tlv(tag::UTF8_STRING, common_name.as_bytes());
    let attribute = der::seq(&[&der::tlv(tag::OID, oid::COMMON_NAME), &value]);
    der::seq(&[&der::tlv(tag::SET, &attribute)])
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::EcdsaKeyPair;

    use super::*;

    macro_rules! vector {
        ($name:literal) => {
            include_str!(concat!("../../tests/vectors/certificates/", $name, ".pem"))
        };
    }

    const RSA: &str = vector!("rsa-2048");
    const P_256: &str = vector!("p-256");

    fn rsa_key() -> RsaKeyPair {
        let pkcs8 = pem::parse("PRIVATE KEY", vector!("rsa-2048.key").as_bytes()).unwrap();
        RsaKeyPair::from_pkcs8(&pkcs8).unwrap()
    }

    fn parse(text: &str) -> Result<Certificate, Error> {
        Certificate::parse_pem(text.as_bytes())
    }

    /// A certificate with this SubjectPublicKeyInfo, signed by nobody.
    fn with_key(spki: &[u8]) -> Vec<u8> {
        let empty = der::seq(&[]);
        let tbs = der::seq(&[&der::int(&[1]), &empty, &empty, &empty, &empty, spki]);
        der::seq(&[&tbs, &empty, &der::bit_string(&[1])])
    }

    fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
        let key = der::seq(&[&der::int(modulus), &der::int(exponent)]);
        der::seq(&[&der::seq(&[&der::tlv(tag::OID, oid::RSA)]), &der::bit_string(&key)])
    }

    fn p256_spki(curve: &[u8], point: &[u8]) -> Vec<u8> {
        let algorithm = [der::tlv(tag::OID, oid::EC_PUBLIC_KEY), der::tlv(tag::OID, curve)];
        der::seq(&[&der::seq(&[&algorithm[0], &algorithm[1]]), &der::bit_string(point)])
    }

    #[test]
    fn odd_certificates_are_as_good_as_others() {
        let odd = [
            RSA,
            P_256,
            vector!("x509-v1"),
            vector!("expired"),
            vector!("sha1"),
            vector!("serial-0"),
            vector!("host"),
        ];
        for text in odd {
            let certificate = parse(text).unwrap();

            assert_eq!(certificate.pem(), text);
            assert_eq!(Certificate::parse(certificate.der()).as_ref(), Ok(&certificate));
        }
    }

    #[test]
    fn keys_that_are_weak_or_of_another_kind_are_refused() {
        let point = [&[4][..], &[7; 64]].concat();
        let curve = &oid::P_256[..7];
        let odd = |len| [&vec![0xff; len][..], &[1]].concat();
        let table = [
            (parse(vector!("rsa-1024")), Err(Error::KeyLen(1024))),
            (parse(vector!("p-384")), Err(Error::KeyKind)),
            (parse(vector!("ed25519")), Err(Error::KeyKind)),
            (Certificate::parse(&with_key(&rsa_spki(&odd(255), &[3]))), Ok(())),
            (Certificate::parse(&with_key(&rsa_spki(&odd(1023), &[3]))), Ok(())),
            (Certificate::parse(&with_key(&rsa_spki(&odd(254), &[3]))), Err(Error::KeyLen(2040))),
            (Certificate::parse(&with_key(&rsa_spki(&odd(1024), &[3]))), Err(Error::KeyLen(8200))),
            (
                Certificate::parse(&with_key(&rsa_spki(&[0x7f; 256], &[3]))),
                Err(Error::KeyLen(2047)),
            ),
            (Certificate::parse(&with_key(&rsa_spki(&[], &[3]))), Err(Error::Malformed)),
            (Certificate::parse(&with_key(&rsa_spki(&odd(255), &[]))), Err(Error::Malformed)),
            (Certificate::parse(&with_key(&p256_spki(oid::P_256, &point))), Ok(())),
            (Certificate::parse(&with_key(&p256_spki(curve, &point))), Err(Error::KeyKind)),
            (
                Certificate::parse(&with_key(&p256_spki(oid::P_256, &point[..33]))),
                Err(Error::KeyKind),
            ),
            (Certificate::parse(&with_key(&p256_spki(oid::P_256, &[7; 65]))), Err(Error::KeyKind)),
        ];
        for (index, (result, expected)) in table.into_iter().enumerate() {
            assert_eq!(result.map(|_| ()), expected, "row {index}");
        }
    }

    #[test]
    fn bytes_around_a_certificate_are_refused() {
        let der = parse(RSA).unwrap().der().to_vec();

        assert_eq!(Certificate::parse(&[&der[..], &[0]].concat()), Err(Error::Malformed));
        assert_eq!(Certificate::parse(&[&der[..], &der].concat()), Err(Error::Malformed));
        assert_eq!(Certificate::parse(&vec![0x30; DER_LEN_MAX + 1]), Err(Error::TooLong));
        assert_eq!(parse(&[RSA, P_256].concat()), Err(Error::Pem));
        assert_eq!(parse(&format!("x{RSA}")), Err(Error::Pem));
        assert_eq!(parse(""), Err(Error::Pem));
    }

    #[test]
    fn no_damaged_certificate_panics_or_passes_for_the_whole() {
        for text in [RSA, P_256, vector!("x509-v1")] {
            let whole = parse(text).unwrap();
            let der = whole.der();
            for len in 0..der.len() {
                assert_eq!(Certificate::parse(&der[..len]), Err(Error::Malformed), "{len}");
            }
            for index in 0..der.len() {
                let flips = (0..8).map(|bit| der[index] ^ 1 << bit);
                for byte in flips.chain([0, 0x7f, 0x80, 0xff]).filter(|byte| *byte != der[index]) {
                    let mut damaged = der.to_vec();
                    damaged[index] = byte;

                    let Ok(certificate) = Certificate::parse(&damaged) else { continue };

                    certificate.verify_sha256(b"message", certificate.signature());
                    assert_ne!(certificate, whole);
                    assert_ne!(certificate.fingerprint(), whole.fingerprint());
                }
            }
        }
    }

    #[test]
    fn the_signature_is_what_the_issuer_made() {
        let rsa = parse(RSA).unwrap();
        let tbs = Reader::new(rsa.der()).sequence().unwrap().read().unwrap().whole;

        assert_eq!(rsa.signature().len(), 256);
        assert_eq!(rsa.signature(), &rsa.der()[rsa.der().len() - 256..]);
        assert!(rsa.verify_sha256(tbs, rsa.signature()));
        let p_256 = parse(P_256).unwrap();
        let tbs = Reader::new(p_256.der()).sequence().unwrap().read().unwrap().whole;
        assert!(p_256.verify_sha256(tbs, p_256.signature()));
    }

    #[test]
    fn only_the_owner_of_the_key_can_sign() {
        let random = SystemRandom::new();
        let (rsa, p_256) = (parse(RSA).unwrap(), parse(P_256).unwrap());
        let mut by_rsa = vec![0; 256];
        rsa_key().sign(&signature::RSA_PKCS1_SHA256, &random, b"message", &mut by_rsa).unwrap();
        let pkcs8 = pem::parse("PRIVATE KEY", vector!("p-256.key").as_bytes()).unwrap();
        let algorithm = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).unwrap();
        let by_p_256 = key.sign(&random, b"message").unwrap();
        let other = parse(vector!("host")).unwrap();

        assert!(rsa.verify_sha256(b"message", &by_rsa));
        assert!(p_256.verify_sha256(b"message", by_p_256.as_ref()));
        for (certificate, message, signature) in [
            (&rsa, &b"massage"[..], &by_rsa[..]),
            (&rsa, b"message", &by_rsa[1..]),
            (&rsa, b"message", &[]),
            (&rsa, b"message", by_p_256.as_ref()),
            (&other, b"message", &by_rsa),
            (&p_256, b"massage", by_p_256.as_ref()),
            (&p_256, b"message", &by_rsa),
            (&p_256, b"message", &[]),
        ] {
            assert!(!certificate.verify_sha256(message, signature), "{message:?} {signature:?}");
        }
    }

    #[test]
    fn a_fingerprint_is_the_one_that_openssl_shows() {
        let fingerprint = parse(RSA).unwrap().fingerprint();
        let shown = "E6:76:1D:7B:B2:A9:E4:99:C3:30:99:44:B6:81:B2:38:\
                     B4:FD:F4:92:A7:FC:56:0B:BD:61:53:12:AC:F5:77:1E";

        assert_eq!(shown.parse(), Ok(fingerprint));
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        assert_eq!(fingerprint.to_string(), shown.replace(':', "").to_lowercase());
        assert_eq!(fingerprint.as_bytes()[0], 0xe6);
        let text = fingerprint.to_string();
        let spread = text.replacen(&text[1..3], ":", 1);
        for wrong in ["", ":", &text[1..], &format!("{text}0"), &shown.replace(':', " "), &spread] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(NotFingerprint), "{wrong}");
        }
    }

    #[test]
    fn a_certificate_of_our_own_is_signed_by_its_key_and_lasts_20_years() {
        let key = rsa_key();
        let serial = [0xff; 16];

        let der =
            self_signed(&key, "punktfunk", serial, 1_795_601_863, &SystemRandom::new()).unwrap();
        let certificate = Certificate::parse(&der).unwrap();

        let tbs = Reader::new(&der).sequence().unwrap().read().unwrap();
        assert!(certificate.verify_sha256(tbs.whole, certificate.signature()));
        assert_eq!(certificate.key(), PublicKey::Rsa(key.public_key().as_ref()));
        let mut fields = Reader::new(tbs.content);
        assert_eq!(fields.expect(tag::CONTEXT_0), Some(&[2, 1, 2][..]));
        assert_eq!(fields.positive().unwrap()[..2], [0x7f, 0xff]);
        let validity = der::seq(&[&der::time(1_795_601_863), &der::time(2_426_753_863)]);
        assert!(der.windows(validity.len()).any(|window| window == validity));
    }

    #[test]
    fn a_clock_far_off_makes_a_certificate_all_the_same() {
        for unix_s in [0, u64::MAX] {
            let der = self_signed(&rsa_key(), "punktfunk", [0; 16], unix_s, &SystemRandom::new())
                .unwrap();

            assert_eq!(Certificate::parse(&der).map(|_| ()), Ok(()));
        }
    }
}
