//! TLS as GameStream wants it: anyone may connect, and whoever shows a certificate proves that it
//! is theirs.
//!
//! Which client may do what is decided above, by the whole certificate. Here no path is built, no
//! name or date is looked at, and nothing is resumed: every connection proves its certificate anew.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig, ServerConnection};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};

use crate::proto::cert::{self, Certificate, PublicKey};

/// Why TLS cannot be served.
#[derive(Debug)]
pub enum Error {
    /// The certificate and the key are no pair, or no use.
    Identity(rustls::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Identity(error) => write!(f, "certificate or key not fit for TLS: {error}"),
        }
    }
}

/// What every connection of the host is made with: TLS 1.2 and 1.3, no ALPN, no early data, no
/// resumption. `key_pkcs8` is the key of `certificate`, in DER.
pub fn server_config(
    certificate: &Certificate,
    key_pkcs8: &[u8],
) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(provider::default_provider());
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key_pkcs8.to_vec()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("ring has suites of both versions")
        .with_client_cert_verifier(Arc::new(Verifier))
        .with_single_cert(chain, key)
        .map_err(Error::Identity)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The certificate that the client has proved to own. Means nothing before the handshake is over.
pub fn peer(connection: &ServerConnection) -> Option<Certificate> {
    Certificate::parse(connection.peer_certificates()?.first()?).ok()
}

/// Takes any certificate that [`Certificate::parse`] takes, if the client has its key. The key is
/// read by that as well, and not by webpki, which refuses certificates that clients do have.
#[derive(Debug)]
struct Verifier;

/// The schemes that [`algorithm`] knows.
const SCHEMES: [SignatureScheme; 8] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];

#[derive(Clone, Copy, PartialEq)]
enum Version {
    Tls12,
    Tls13,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        // Whoever is not known is told so in an answer that people can read.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        parse(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify(&parse(certificate)?, message, signed, Version::Tls12)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify(&parse(certificate)?, message, signed, Version::Tls13)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, CertificateError> {
    Certificate::parse(certificate).map_err(|error| match error {
        cert::Error::Malformed | cert::Error::Pem | cert::Error::TooLong => {
            CertificateError::BadEncoding
        }
        cert::Error::KeyKind | cert::Error::KeyLen(_) => {
            CertificateError::ApplicationVerificationFailure
        }
    })
}

/// Verifies the signature of a handshake.
fn verify(
    certificate: &Certificate,
    message: &[u8],
    signed: &DigitallySignedStruct,
    version: Version,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let key = certificate.key();
    let algorithm = algorithm(key, signed.scheme, version).ok_or(CertificateError::BadSignature)?;
    let (PublicKey::P256(key) | PublicKey::Rsa(key)) = key;
    UnparsedPublicKey::new(algorithm, key)
        .verify(message, signed.signature())
        .map_err(|_| CertificateError::BadSignature)?;
    Ok(HandshakeSignatureValid::assertion())
}

/// What a key and a scheme mean together (RFC 8446, 4.2.3): TLS 1.3 has no PKCS#1 v1.5, and ties
/// the curve to the hash, which TLS 1.2 does not.
fn algorithm(
    key: PublicKey<'_>,
    scheme: SignatureScheme,
    version: Version,
) -> Option<&'static dyn VerificationAlgorithm> {
    use SignatureScheme as Scheme;
    use Version::{Tls12, Tls13};
    let algorithm: &'static dyn VerificationAlgorithm = match (key, scheme, version) {
        (PublicKey::Rsa(_), Scheme::RSA_PKCS1_SHA256, Tls12) => {
            &signature::RSA_PKCS1_2048_8192_SHA256
        }
        (PublicKey::Rsa(_), Scheme::RSA_PKCS1_SHA384, Tls12) => {
            &signature::RSA_PKCS1_2048_8192_SHA384
        }
        (PublicKey::Rsa(_), Scheme::RSA_PKCS1_SHA512, Tls12) => {
            &signature::RSA_PKCS1_2048_8192_SHA512
        }
        (PublicKey::Rsa(_), Scheme::RSA_PSS_SHA256, _) => &signature::RSA_PSS_2048_8192_SHA256,
        (PublicKey::Rsa(_), Scheme::RSA_PSS_SHA384, _) => &signature::RSA_PSS_2048_8192_SHA384,
        (PublicKey::Rsa(_), Scheme::RSA_PSS_SHA512, _) => &signature::RSA_PSS_2048_8192_SHA512,
        (PublicKey::P256(_), Scheme::ECDSA_NISTP256_SHA256, Tls12 | Tls13) => {
            &signature::ECDSA_P256_SHA256_ASN1
        }
        (PublicKey::P256(_), Scheme::ECDSA_NISTP384_SHA384, Tls12) => {
            &signature::ECDSA_P256_SHA384_ASN1
        }
        _ => return None,
    };
    Some(algorithm)
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::EcdsaKeyPair;
    use rustls::client::ResolvesClientCert;
    use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::ServerName;
    use rustls::sign::CertifiedKey;
    use rustls::{ClientConfig, ClientConnection, HandshakeKind, SupportedProtocolVersion};

    use super::*;
    use crate::proto::der::{self, Reader, pem, tag};

    macro_rules! vector {
        ($name:literal) => {
            include_str!(concat!("../../tests/vectors/certificates/", $name, ".pem"))
        };
    }

    const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

    /// A client that shows what it is told to, and believes any host.
    #[derive(Debug)]
    struct Shown(Option<Arc<CertifiedKey>>);

    impl ResolvesClientCert for Shown {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            self.0.clone()
        }

        fn has_certs(&self) -> bool {
            self.0.is_some()
        }
    }

    #[derive(Debug)]
    struct Believer;

    impl ServerCertVerifier for Believer {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = provider::default_provider().signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = provider::default_provider().signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }

    fn pkcs8(text: &str) -> Vec<u8> {
        pem::parse("PRIVATE KEY", text.as_bytes()).unwrap()
    }

    fn der_of(text: &str) -> Vec<u8> {
        pem::parse("CERTIFICATE", text.as_bytes()).unwrap()
    }

    fn shown(certificates: &[&[u8]], key_pkcs8: &[u8]) -> Shown {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key_pkcs8.to_vec()));
        let key = provider::sign::any_supported_type(&key).unwrap();
        let chain = certificates.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        Shown(Some(Arc::new(CertifiedKey::new(chain, key))))
    }

    fn host() -> Arc<ServerConfig> {
        let certificate = Certificate::parse_pem(vector!("host").as_bytes()).unwrap();
        server_config(&certificate, &pkcs8(vector!("host.key"))).unwrap()
    }

    fn client(shown: Shown, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Believer))
            .with_client_cert_resolver(Arc::new(shown));
        Arc::new(config)
    }

    /// The host's end once the handshake is over, or its error.
    fn connect(
        host: &Arc<ServerConfig>,
        client: &Arc<ClientConfig>,
    ) -> Result<ServerConnection, rustls::Error> {
        let name = ServerName::try_from("host").unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut host = ServerConnection::new(Arc::clone(host)).unwrap();
        for _ in 0..8 {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            let mut wire = &wire[..];
            while !wire.is_empty() {
                host.read_tls(&mut wire).unwrap();
                host.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while host.wants_write() {
                host.write_tls(&mut wire).unwrap();
            }
            let mut wire = &wire[..];
            while !wire.is_empty() {
                client.read_tls(&mut wire).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        assert!(!host.is_handshaking());
        Ok(host)
    }

    /// The same certificate without version and extensions, which makes it one of version 1.
    fn without_version(der: &[u8]) -> Vec<u8> {
        let mut certificate = Reader::new(der).sequence().unwrap();
        let mut tbs = certificate.sequence().unwrap();
        tbs.expect(tag::CONTEXT_0).unwrap();
        let fields: Vec<&[u8]> = (0..6).map(|_| tbs.read().unwrap().whole).collect();
        let [algorithm, signature] = [(); 2].map(|()| certificate.read().unwrap().whole);
        der::seq(&[&der::seq(&fields), algorithm, signature])
    }

    #[test]
    fn whoever_proves_a_certificate_is_known_by_it() {
        let host = host();
        let table = [
            (der_of(vector!("rsa-2048")), vector!("rsa-2048.key")),
            (der_of(vector!("p-256")), vector!("p-256.key")),
            (der_of(vector!("x509-v1")), vector!("x509-v1.key")),
            (without_version(&der_of(vector!("p-256"))), vector!("p-256.key")),
            (der_of(vector!("expired")), vector!("expired.key")),
            (der_of(vector!("sha1")), vector!("sha1.key")),
            (der_of(vector!("serial-0")), vector!("serial-0.key")),
        ];
        for (index, (der, key)) in table.iter().enumerate() {
            for version in VERSIONS {
                let connection =
                    connect(&host, &client(shown(&[der], &pkcs8(key)), version)).unwrap();

                let peer = peer(&connection).unwrap();
                assert_eq!(peer.der(), der, "row {index}, {version:?}");
                assert_eq!(connection.protocol_version(), Some(version.version));
            }
        }
    }

    #[test]
    fn nobody_is_known_by_a_certificate_without_its_key() {
        let host = host();
        let random = SystemRandom::new();
        let p_256 = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let other_p_256 = EcdsaKeyPair::generate_pkcs8(p_256, &random).unwrap().as_ref().to_vec();
        let (rsa, other_rsa) = (der_of(vector!("rsa-2048")), pkcs8(vector!("x509-v1.key")));
        let table = [
            (rsa.clone(), other_rsa.clone()),
            (rsa.clone(), other_p_256.clone()),
            (without_version(&rsa), other_rsa.clone()),
            (without_version(&rsa), other_p_256.clone()),
            (der_of(vector!("x509-v1")), pkcs8(vector!("rsa-2048.key"))),
            (der_of(vector!("p-256")), other_p_256.clone()),
            (der_of(vector!("p-256")), other_rsa.clone()),
            (without_version(&der_of(vector!("p-256"))), other_p_256),
            (without_version(&der_of(vector!("p-256"))), other_rsa),
        ];
        for (index, (der, key)) in table.iter().enumerate() {
            for version in VERSIONS {
                let result = connect(&host, &client(shown(&[der], key), version));

                let error = result.expect_err("the key is another's");
                let is_named = matches!(error, rustls::Error::InvalidCertificate(_));
                assert!(is_named, "row {index}, {version:?}: {error}");
            }
        }
    }

    #[test]
    fn whoever_shows_no_certificate_gets_a_connection_and_is_nobody() {
        for version in VERSIONS {
            let connection = connect(&host(), &client(Shown(None), version)).unwrap();

            assert_eq!(peer(&connection), None);
        }
    }

    #[test]
    fn certificates_that_cannot_pair_end_the_handshake() {
        let rsa = der_of(vector!("rsa-2048"));
        let table = [
            (der_of(vector!("rsa-1024")), CertificateError::ApplicationVerificationFailure),
            (der_of(vector!("p-384")), CertificateError::ApplicationVerificationFailure),
            (der_of(vector!("ed25519")), CertificateError::ApplicationVerificationFailure),
            (rsa[..rsa.len() - 1].to_vec(), CertificateError::BadEncoding),
            (Vec::new(), CertificateError::BadEncoding),
        ];
        for (der, expected) in table {
            for version in VERSIONS {
                let shown = shown(&[&der], &pkcs8(vector!("rsa-2048.key")));

                let error = connect(&host(), &client(shown, version)).expect_err("refused");

                assert_eq!(error, rustls::Error::InvalidCertificate(expected.clone()));
            }
        }
    }

    #[test]
    fn what_comes_behind_the_first_certificate_counts_for_nothing() {
        let (first, second) = (der_of(vector!("rsa-2048")), der_of(vector!("host")));
        for version in VERSIONS {
            let shown =
                shown(&[&first, &second, b"no certificate"], &pkcs8(vector!("rsa-2048.key")));

            let connection = connect(&host(), &client(shown, version)).unwrap();

            assert_eq!(peer(&connection).unwrap().der(), first);
        }
    }

    #[test]
    fn every_connection_proves_its_certificate_anew() {
        for version in VERSIONS {
            let (host, der) = (host(), der_of(vector!("rsa-2048")));
            let client = client(shown(&[&der], &pkcs8(vector!("rsa-2048.key"))), version);

            connect(&host, &client).unwrap();
            let second = connect(&host, &client).unwrap();

            assert_eq!(second.handshake_kind(), Some(HandshakeKind::Full), "{version:?}");
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let certificate = Certificate::parse_pem(vector!("host").as_bytes()).unwrap();

        let error = server_config(&certificate, &pkcs8(vector!("rsa-2048.key"))).unwrap_err();

        assert!(error.to_string().starts_with("certificate or key not fit for TLS: "), "{error}");
    }

    #[test]
    fn a_scheme_alone_does_not_choose_the_algorithm() {
        use SignatureScheme as Scheme;
        let (rsa, p_256) = (PublicKey::Rsa(&[]), PublicKey::P256(&[]));
        let table = [
            (rsa, Scheme::RSA_PKCS1_SHA256, [true, false]),
            (rsa, Scheme::RSA_PKCS1_SHA384, [true, false]),
            (rsa, Scheme::RSA_PKCS1_SHA512, [true, false]),
            (rsa, Scheme::RSA_PSS_SHA256, [true, true]),
            (rsa, Scheme::RSA_PSS_SHA384, [true, true]),
            (rsa, Scheme::RSA_PSS_SHA512, [true, true]),
            (p_256, Scheme::ECDSA_NISTP256_SHA256, [true, true]),
            (p_256, Scheme::ECDSA_NISTP384_SHA384, [true, false]),
            (rsa, Scheme::RSA_PKCS1_SHA1, [false, false]),
            (rsa, Scheme::ECDSA_NISTP256_SHA256, [false, false]),
            (p_256, Scheme::RSA_PSS_SHA256, [false, false]),
            (p_256, Scheme::RSA_PKCS1_SHA256, [false, false]),
            (p_256, Scheme::ECDSA_NISTP521_SHA512, [false, false]),
            (p_256, Scheme::ED25519, [false, false]),
        ];
        for (key, scheme, expected) in table {
            let versions = [Version::Tls12, Version::Tls13];

            let has = versions.map(|version| algorithm(key, scheme, version).is_some());

            assert_eq!(has, expected, "{key:?}, {scheme:?}");
        }
    }
}
