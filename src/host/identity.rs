//! Who this host is to clients of GameStream: a key, a certificate for it, and an id.
//!
//! They are made once and kept in the state directory. A client that has paired knows the host by
//! the certificate, byte for byte, so what is damaged or missing is never replaced in silence.
//!
//! The first start writes the id, the key and the certificate, in this order. One that is
//! interrupted leaves no client behind, and the next start makes what is missing.

#![forbid(unsafe_code)]

mod rsa;

use std::fmt;
use std::path::PathBuf;

use punktfunk_core::net::clock;
use punktfunk_core::proto::cert::{self, Certificate, PublicKey};
use punktfunk_core::proto::der::pem;
use punktfunk_core::proto::hex;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{KeyPair, RsaKeyPair};

use crate::state::{self, Directory};
use crate::trust;

/// The key, PKCS#8 in PEM.
const KEY_FILE: &str = "gamestream_key.pem";
/// Its certificate, in PEM.
const CERTIFICATE_FILE: &str = "gamestream_cert.pem";
/// The id, one line.
const HOST_ID_FILE: &str = "host_id";
/// Bytes at most of a file in PEM.
const PEM_LEN_MAX: usize = pem::TEXT_LEN_MAX;
/// Bytes of the id's file at most.
const HOST_ID_LEN_MAX: usize = 256;
/// The label of a key in PEM.
const KEY_LABEL: &str = "PRIVATE KEY";
/// The name in the certificate.
const COMMON_NAME: &str = "punktfunk";
/// Digits of the id in [`Identity::label`].
const LABEL_LEN: usize = 6;
/// Where the dashes of a UUID are.
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// The identity, whole and consistent: the certificate is for the key.
pub struct Identity {
    /// What clients know the host by.
    pub certificate: Certificate,
    /// The key that the certificate is for.
    pub key: RsaKeyPair,
    /// The same, for TLS.
    pub key_pkcs8: Vec<u8>,
    /// A UUID in upper case, with its dashes. Clients list the host under it.
    pub host_id: String,
}

/// What there was not before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Made {
    /// A key, and with it a certificate.
    pub key: bool,
    /// A certificate, perhaps for a key that was there.
    pub certificate: bool,
    /// An id.
    pub host_id: bool,
}

/// Why there is no identity.
#[derive(Debug)]
pub enum Error {
    /// The id is missing or damaged.
    HostId {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The key or the certificate is missing or damaged, or they are no pair.
    Pair {
        /// The file in question.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system gives no random numbers.
    Random,
    /// A file cannot be read or written.
    State(state::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::HostId { path, why } => write!(
                f,
                "{}: {why}: restore it from a backup, or remove it and {} to begin anew, after \
                 which every client must pair again",
                path.display(),
                trust::FILE,
            ),
            Error::Pair { path, why } => write!(
                f,
                "{}: {why}: restore {KEY_FILE} and {CERTIFICATE_FILE} from a backup, or remove \
                 both to make a new identity, after which every client must pair again",
                path.display(),
            ),
            Error::Random => f.write_str("no random numbers"),
            Error::State(error) => error.fmt(f),
        }
    }
}

impl From<state::Error> for Error {
    fn from(error: state::Error) -> Error {
        Error::State(error)
    }
}

/// What is in the state directory.
struct Files<'a> {
    directory: &'a Directory,
    key: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    host_id: Option<Vec<u8>>,
    /// Whether anybody may have paired already.
    has_clients: bool,
}

impl Identity {
    /// Reads the identity, after making one where there is none; that takes a second.
    pub fn open(directory: &Directory) -> Result<(Identity, Made), Error> {
        let files = Files::read(directory)?;
        let made = files.missing()?;
        let random = SystemRandom::new();
        let host_id = files.host_id(&random)?;
        let key_pkcs8 = files.key_pkcs8(&random)?;
        let key = RsaKeyPair::from_pkcs8(&key_pkcs8)
            .map_err(|error| files.pair(KEY_FILE, format!("no fit RSA key: {error}")))?;
        let certificate = files.certificate(&key, &random)?;
        if certificate.key() != PublicKey::Rsa(key.public_key().as_ref()) {
            return Err(files.pair(CERTIFICATE_FILE, format!("for another key than {KEY_FILE}")));
        }
        Ok((Identity { certificate, key, key_pkcs8, host_id }, made))
    }

    /// Six lower-case hexadecimal digits that tell this host from others, for its name in mDNS.
    pub fn label(&self) -> String {
        self.host_id[..LABEL_LEN].to_ascii_lowercase()
    }
}

/// The key is nobody's to see.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { certificate, host_id, .. } = self;
        write!(f, "Identity({host_id}, {certificate:?})")
    }
}

impl Files<'_> {
    fn read(directory: &Directory) -> Result<Files<'_>, state::Error> {
        Ok(Files {
            directory,
            key: directory.read(KEY_FILE, PEM_LEN_MAX)?,
            certificate: directory.read(CERTIFICATE_FILE, PEM_LEN_MAX)?,
            host_id: directory.read(HOST_ID_FILE, HOST_ID_LEN_MAX)?,
            has_clients: directory.path().join(trust::FILE).symlink_metadata().is_ok(),
        })
    }

    /// What is to be made, if that is what an interrupted start, or nobody, has left.
    fn missing(&self) -> Result<Made, Error> {
        let missing = Made {
            key: self.key.is_none(),
            certificate: self.certificate.is_none(),
            host_id: self.host_id.is_none(),
        };
        match (missing.key, missing.certificate) {
            (true, false) => Err(self.pair(KEY_FILE, "missing, its certificate is there".into())),
            (false, true) if self.has_clients => {
                Err(self.pair(CERTIFICATE_FILE, "missing, and clients know it".into()))
            }
            _ if missing.host_id && self.has_clients => {
                Err(self.host_id_error("missing, and clients know it"))
            }
            _ => Ok(missing),
        }
    }

    fn host_id(&self, random: &SystemRandom) -> Result<String, Error> {
        if let Some(text) = &self.host_id {
            return parse_host_id(text).ok_or_else(|| self.host_id_error("no UUID"));
        }
        let host_id = new_host_id(random)?;
        self.directory.write(HOST_ID_FILE, format!("{host_id}\n").as_bytes())?;
        Ok(host_id)
    }

    fn key_pkcs8(&self, random: &SystemRandom) -> Result<Vec<u8>, Error> {
        if let Some(text) = &self.key {
            return pem::parse(KEY_LABEL, text)
                .ok_or_else(|| self.pair(KEY_FILE, "no private key in PEM (PKCS#8)".into()));
        }
        if self.has_clients {
            log::warn!("identity: a new one, clients that paired before must pair again");
        }
        let key_pkcs8 = rsa::generate(random);
        self.directory.write(KEY_FILE, pem::emit(KEY_LABEL, &key_pkcs8).as_bytes())?;
        Ok(key_pkcs8)
    }

    fn certificate(&self, key: &RsaKeyPair, random: &SystemRandom) -> Result<Certificate, Error> {
        if let Some(text) = &self.certificate {
            return Certificate::parse_pem(text)
                .map_err(|error| self.pair(CERTIFICATE_FILE, error.to_string()));
        }
        let certificate = new_certificate(key, random)?;
        self.directory.write(CERTIFICATE_FILE, certificate.pem().as_bytes())?;
        Ok(certificate)
    }

    fn pair(&self, name: &str, why: String) -> Error {
        Error::Pair { path: self.directory.path().join(name), why }
    }

    fn host_id_error(&self, why: &'static str) -> Error {
        Error::HostId { path: self.directory.path().join(HOST_ID_FILE), why }
    }
}

fn new_certificate(key: &RsaKeyPair, random: &SystemRandom) -> Result<Certificate, Error> {
    let mut serial = [0; 16];
    random.fill(&mut serial).map_err(|_| Error::Random)?;
    let der = cert::self_signed(key, COMMON_NAME, serial, clock::unix_s(), random)
        .map_err(|_| Error::Random)?;
    Ok(Certificate::parse(&der).expect("what is emitted can be parsed"))
}

/// A random UUID (RFC 9562, 5.4).
fn new_host_id(random: &SystemRandom) -> Result<String, Error> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).map_err(|_| Error::Random)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = hex::emit(&bytes).to_ascii_uppercase();
    for index in DASHES {
        text.insert(index, '-');
    }
    Ok(text)
}

fn parse_host_id(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok()?.trim();
    let is_in_place = |(index, character): (usize, u8)| match DASHES.contains(&index) {
        true => character == b'-',
        false => character.is_ascii_hexdigit(),
    };
    let is_uuid = text.len() == 36 && text.bytes().enumerate().all(is_in_place);
    is_uuid.then(|| text.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::state::tests::Folder;

    macro_rules! vector {
        ($name:literal) => {
            include_str!(concat!("../../tests/vectors/certificates/", $name, ".pem"))
        };
    }

    const HOST_ID: &str = "6F1C2A54-9B1B-4B0E-9E8A-0A5B6C7D8E9F";
    const WHOLE: [(&str, &str); 3] = [
        (KEY_FILE, vector!("host.key")),
        (CERTIFICATE_FILE, vector!("host")),
        (HOST_ID_FILE, HOST_ID),
    ];
    const CLIENTS: (&str, &str) = (trust::FILE, "");

    fn directory(folder: &Folder, files: &[(&str, &str)]) -> Directory {
        let directory = Directory::open(folder.path(), true).unwrap();
        for (name, text) in files {
            directory.write(name, text.as_bytes()).unwrap();
        }
        directory
    }

    #[test]
    fn an_identity_is_made_once() {
        let folder = Folder::new();
        let directory = directory(&folder, &[]);

        let (first, made) = Identity::open(&directory).unwrap();
        let (second, made_again) = Identity::open(&directory).unwrap();

        assert_eq!(made, Made { key: true, certificate: true, host_id: true });
        assert_eq!(made_again, Made::default());
        assert_eq!(first.certificate, second.certificate);
        assert_eq!(first.key_pkcs8, second.key_pkcs8);
        assert_eq!(first.host_id, second.host_id);
        assert_eq!(first.certificate.signature().len(), 256);
    }

    #[test]
    fn two_hosts_are_told_apart() {
        let random = SystemRandom::new();

        let [a, b] = [(); 2].map(|()| new_host_id(&random).unwrap());

        assert_ne!(a, b);
        assert_eq!(parse_host_id(a.as_bytes()), Some(a.clone()));
        assert_eq!((&a[14..15], a.len()), ("4", 36));
    }

    #[test]
    fn an_identity_that_is_there_is_taken_as_it_is() {
        let folder = Folder::new();
        let directory = directory(&folder, &[&WHOLE[..], &[CLIENTS]].concat());

        let (identity, made) = Identity::open(&directory).unwrap();

        assert_eq!(made, Made::default());
        assert_eq!(identity.certificate.pem(), vector!("host"));
        assert_eq!(identity.host_id, HOST_ID);
        assert_eq!(identity.label(), "6f1c2a");
        assert!(!format!("{identity:?}").contains("key"));
    }

    #[test]
    fn an_interrupted_first_start_is_made_up_for() {
        let table: [&[(&str, &str)]; 4] =
            [&[WHOLE[2], WHOLE[0]], &[WHOLE[0]], &[WHOLE[0], WHOLE[1]], &[WHOLE[0], WHOLE[2]]];
        for files in table {
            let folder = Folder::new();
            let directory = directory(&folder, files);

            let (identity, made) = Identity::open(&directory).unwrap();

            let has = |name| files.iter().any(|(other, _)| *other == name);
            assert_eq!(pem::emit(KEY_LABEL, &identity.key_pkcs8), vector!("host.key"));
            assert_eq!(made.certificate, !has(CERTIFICATE_FILE));
            assert_eq!(made.host_id, !has(HOST_ID_FILE));
            assert_eq!(Identity::open(&directory).unwrap().1, Made::default());
        }
    }

    #[test]
    fn what_clients_know_is_never_made_anew_in_silence() {
        let [key, certificate, host_id] = WHOLE;
        let table: [(&[(&str, &str)], &str); 12] = [
            (&[key, host_id, CLIENTS], "gamestream_cert.pem: missing"),
            (&[certificate, host_id], "gamestream_key.pem: missing"),
            (&[certificate, host_id, CLIENTS], "gamestream_key.pem: missing"),
            (&[key, certificate, CLIENTS], "host_id: missing"),
            (&[key, certificate, (HOST_ID_FILE, "")], "host_id: no UUID"),
            (&[key, certificate, (HOST_ID_FILE, "\u{fffd}")], "host_id: no UUID"),
            (&[host_id, (KEY_FILE, ""), certificate], "gamestream_key.pem: no private key"),
            (&[host_id, (KEY_FILE, certificate.1), certificate], "gamestream_key.pem: no private"),
            (&[host_id, (KEY_FILE, vector!("p-256.key")), certificate], "no fit RSA key"),
            (&[host_id, key, (CERTIFICATE_FILE, "")], "gamestream_cert.pem: no certificate"),
            (&[host_id, key, (CERTIFICATE_FILE, vector!("rsa-2048"))], "for another key"),
            (&[host_id, key, (CERTIFICATE_FILE, vector!("p-256"))], "for another key"),
        ];
        for (files, part) in table {
            let folder = Folder::new();
            let directory = directory(&folder, files);

            let error = Identity::open(&directory).unwrap_err().to_string();

            assert!(error.contains(part) && error.contains("from a backup"), "{error}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), files.len(), "{part}");
            for (name, text) in files {
                assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), *text);
            }
        }
    }

    #[test]
    fn ids_are_uuids_in_either_case() {
        for (text, expected) in [
            (HOST_ID.to_lowercase(), Some(HOST_ID)),
            (format!(" {HOST_ID}\r\n"), Some(HOST_ID)),
            (HOST_ID.replace('-', ""), None),
            (HOST_ID.replace('-', "A"), None),
            (HOST_ID.replace('F', "G"), None),
            (format!("{HOST_ID}0"), None),
        ] {
            assert_eq!(parse_host_id(text.as_bytes()).as_deref(), expected, "{text}");
        }
    }
}
