//! Paired clients: the one list of whom the host knows, and the file it is kept in.
//!
//! A client is its certificate, byte for byte; names are for people. The list in memory is what
//! holds. A new client counts only once the file that names it is on the disk; a client that is
//! taken off is unknown from that moment on, whatever the disk says.

#![forbid(unsafe_code)]

use std::fmt;

use punktfunk_core::proto::cert::{Certificate, Fingerprint};
use serde::{Deserialize, Serialize};

use super::grants::Grants;

/// The file in the state directory.
pub const FILE: &str = "clients.json";
/// Bytes of that file at most.
pub const FILE_LEN_MAX: usize = 4 * 1024 * 1024;
/// Clients at most; each takes some 2 kB.
pub const CLIENT_COUNT_MAX: usize = 256;
/// Bytes of a client's name at most.
pub const NAME_LEN_MAX: usize = 63;
/// The version of the file that this program writes, and the only one it reads.
const FILE_VERSION: u32 = 1;

/// A paired client.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// Who it is.
    pub certificate: Certificate,
    /// What people call it. One line, unique in the list.
    pub name: String,
    /// What it may do.
    pub grants: Grants,
    /// When it was paired.
    pub paired_unix_s: u64,
}

/// All paired clients, in the order they were paired.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trust {
    clients: Vec<Client>,
}

/// Why the list cannot be read or changed.
#[derive(Debug, PartialEq)]
pub enum Error {
    /// The file holds something else; the words say what.
    File(String),
    /// The list holds as many clients as it may.
    Full,
    /// Empty, too long, or with control characters.
    Name,
    /// Another client has that name.
    NameTaken,
    /// No client has that certificate.
    Unknown,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::File(what) => write!(f, "{FILE}: {what}"),
            Error::Full => {
                write!(f, "{CLIENT_COUNT_MAX} clients are paired, the most there can be")
            }
            Error::Name => write!(f, "a name is one line of 1 to {NAME_LEN_MAX} bytes"),
            Error::NameTaken => f.write_str("another client has that name"),
            Error::Unknown => f.write_str("no such client"),
        }
    }
}

/// What files of every version have.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    clients: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    protocol: Protocol,
    paired_unix_s: u64,
    /// None in files that were written before there were grants.
    #[serde(default)]
    grants: Option<Grants>,
    certificate: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    Gamestream,
}

impl Trust {
    /// Reads the file. Clients without a list of grants have those of `default_grants`.
    pub fn parse(bytes: &[u8], default_grants: Grants) -> Result<Trust, Error> {
        let no_json = |error: serde_json::Error| Error::File(error.to_string());
        let Versioned { version } = serde_json::from_slice(bytes).map_err(no_json)?;
        if version != FILE_VERSION {
            let message = format!("version {version}, this program reads {FILE_VERSION}");
            return Err(Error::File(message));
        }
        let file: File = serde_json::from_slice(bytes).map_err(no_json)?;
        let mut trust = Trust::default();
        for entry in file.clients {
            let certificate = Certificate::parse_pem(entry.certificate.as_bytes())
                .map_err(|error| Error::File(format!("client {:?}: {error}", entry.name)))?;
            let (name, paired_unix_s) = (entry.name, entry.paired_unix_s);
            let grants = entry.grants.unwrap_or(default_grants);
            let shown = name.clone();
            trust = trust
                .with(Client { certificate, name, grants, paired_unix_s })
                .map_err(|error| Error::File(format!("client {shown:?}: {error}")))?;
        }
        Ok(trust)
    }

    /// Writes the file. `parse(emit(x), _) == x`.
    pub fn emit(&self) -> Vec<u8> {
        let entry = |client: &Client| Entry {
            name: client.name.clone(),
            protocol: Protocol::Gamestream,
            paired_unix_s: client.paired_unix_s,
            grants: Some(client.grants),
            certificate: client.certificate.pem(),
        };
        let clients = self.clients.iter().map(entry).collect();
        let file = File { version: FILE_VERSION, clients };
        let mut bytes = serde_json::to_vec_pretty(&file).expect("strings and integers only");
        bytes.push(b'\n');
        bytes
    }

    /// The list with one client more. One with the same certificate is replaced.
    pub fn with(&self, client: Client) -> Result<Trust, Error> {
        check_name(&client.name)?;
        let mut clients = self.clients.clone();
        clients.retain(|other| other.certificate != client.certificate);
        if clients.len() >= CLIENT_COUNT_MAX {
            return Err(Error::Full);
        }
        if clients.iter().any(|other| other.name == client.name) {
            return Err(Error::NameTaken);
        }
        clients.push(client);
        Ok(Trust { clients })
    }

    /// The list without a client.
    pub fn without(&self, fingerprint: Fingerprint) -> Result<Trust, Error> {
        let mut clients = self.clients.clone();
        clients.retain(|client| client.certificate.fingerprint() != fingerprint);
        if clients.len() == self.clients.len() {
            return Err(Error::Unknown);
        }
        Ok(Trust { clients })
    }

    /// The list with another name for one of its clients.
    pub fn renamed(&self, fingerprint: Fingerprint, name: &str) -> Result<Trust, Error> {
        check_name(name)?;
        let mut clients = self.clients.clone();
        let is_it = |client: &Client| client.certificate.fingerprint() == fingerprint;
        if clients.iter().any(|client| client.name == name && !is_it(client)) {
            return Err(Error::NameTaken);
        }
        let client = clients.iter_mut().find(|client| is_it(client)).ok_or(Error::Unknown)?;
        client.name = name.to_owned();
        Ok(Trust { clients })
    }

    /// The list with one of its clients allowed all that is `given` and nothing that is `taken`.
    pub fn granted(
        &self,
        fingerprint: Fingerprint,
        given: Grants,
        taken: Grants,
    ) -> Result<Trust, Error> {
        let mut clients = self.clients.clone();
        let is_it = |client: &&mut Client| client.certificate.fingerprint() == fingerprint;
        let client = clients.iter_mut().find(is_it).ok_or(Error::Unknown)?;
        client.grants = client.grants.with(given).without(taken);
        Ok(Trust { clients })
    }

    /// All clients.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// The client that has exactly this certificate.
    pub fn client(&self, certificate: &Certificate) -> Option<&Client> {
        self.clients.iter().find(|client| client.certificate == *certificate)
    }

    /// A name that is free and begins with `wish`, made fit to be one.
    pub fn free_name(&self, wish: &str) -> String {
        let mut base: String = wish.chars().filter(|character| !character.is_control()).collect();
        // Room for a number behind it.
        let len = base.floor_char_boundary(NAME_LEN_MAX - 5);
        base.truncate(len);
        let base = match base.trim() {
            "" => "client",
            name => name,
        };
        let is_free = |name: &String| self.clients.iter().all(|client| client.name != *name);
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        std::iter::once(base.to_owned())
            .chain(numbered)
            .find(is_free)
            .expect("the list is finite and the numbers are not")
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let is_name = !name.trim().is_empty()
        && name.len() <= NAME_LEN_MAX
        && !name.chars().any(char::is_control);
    if is_name { Ok(()) } else { Err(Error::Name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: [&str; 2] = [
        include_str!("../../tests/vectors/certificates/rsa-2048.pem"),
        include_str!("../../tests/vectors/certificates/p-256.pem"),
    ];

    fn client(index: usize, name: &str) -> Client {
        let certificate = Certificate::parse_pem(PEM[index].as_bytes()).unwrap();
        let grants = grants("view audio");
        Client { certificate, name: name.into(), grants, paired_unix_s: 7 }
    }

    fn grants(names: &str) -> Grants {
        Grants::parse(names.split_whitespace()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let trust = Trust::default().with(client(0, "tv")).unwrap();
        let trust = trust.with(client(1, "phone \"7\"")).unwrap();

        assert_eq!(Trust::parse(&trust.emit(), Grants::NONE), Ok(trust));
    }

    #[test]
    fn a_client_without_a_list_of_grants_has_those_of_the_configuration() {
        let trust = Trust::default().with(client(0, "tv")).unwrap();
        let text = String::from_utf8(trust.emit()).unwrap();
        let (before, rest) = text.split_once("      \"grants\": [").unwrap();
        let (_, after) = rest.split_once("],\n").unwrap();

        let trust = Trust::parse(format!("{before}{after}").as_bytes(), grants("pen")).unwrap();

        assert_eq!(trust.clients()[0].grants, grants("pen"));
    }

    #[test]
    fn grants_are_given_and_taken() {
        let trust = Trust::default().with(client(0, "tv")).unwrap();
        let fingerprint = client(0, "").certificate.fingerprint();

        let changed = trust.granted(fingerprint, grants("audio pen"), grants("view")).unwrap();

        assert_eq!(changed.clients()[0].grants, grants("audio pen"));
        let nobody = client(1, "").certificate.fingerprint();
        assert_eq!(changed.granted(nobody, Grants::NONE, Grants::NONE), Err(Error::Unknown));
    }

    #[test]
    fn a_client_is_known_by_its_whole_certificate() {
        let trust = Trust::default().with(client(0, "tv")).unwrap();

        assert_eq!(trust.client(&client(0, "").certificate).map(|it| &*it.name), Some("tv"));
        assert_eq!(trust.client(&client(1, "").certificate), None);
    }

    #[test]
    fn pairing_again_replaces_and_unpairing_forgets() {
        let trust = Trust::default().with(client(0, "tv")).unwrap();
        let fingerprint = client(0, "").certificate.fingerprint();

        let again = trust.with(client(0, "tv")).unwrap();
        let gone = again.without(fingerprint).unwrap();

        assert_eq!(again.clients().len(), 1);
        assert_eq!(gone, Trust::default());
        assert_eq!(gone.without(fingerprint), Err(Error::Unknown));
    }

    #[test]
    fn names_are_one_line_and_unique() {
        let trust = Trust::default().with(client(0, "tv")).unwrap();
        let fingerprint = client(0, "").certificate.fingerprint();
        let long = "x".repeat(64);

        for name in ["", " ", "a\nb", "\u{1b}[2J", &long] {
            assert_eq!(trust.renamed(fingerprint, name), Err(Error::Name), "{name:?}");
        }
        assert_eq!(trust.with(client(1, "tv")), Err(Error::NameTaken));
        assert_eq!(trust.free_name("tv"), "tv-2");
        assert_eq!(trust.free_name("\n"), "client");
        assert!(trust.free_name(&"ü".repeat(64)).len() <= NAME_LEN_MAX);
    }

    #[test]
    fn a_file_that_is_not_ours_is_refused_in_words() {
        let table: [(&[u8], &str); 8] = [
            (b"", "EOF"),
            (b"{\"version\":2,\"clients\":[]}", "version 2"),
            (b"{\"version\":1,\"clients\":[],\"more\":1}", "unknown field"),
            (b"\xff", "expected value"),
            (
                b"{\"version\":1,\"clients\":[{\"name\":\"a\",\"protocol\":\"gamestream\",\
                  \"paired_unix_s\":1,\"certificate\":\"\"}]}",
                "client \"a\"",
            ),
            (
                b"{\"version\":1,\"clients\":[{\"name\":\"a\",\"protocol\":\"gamestream\",\
                  \"paired_unix_s\":1,\"grants\":[\"root\"],\"certificate\":\"\"}]}",
                "unknown grant \"root\"",
            ),
            (
                b"{\"version\":1,\"clients\":[{\"name\":\"a\",\"protocol\":\"gamestream\",\
                  \"paired_unix_s\":1,\"grants\":[\"pen\",\"pen\"],\"certificate\":\"\"}]}",
                "twice",
            ),
            (
                b"{\"version\":1,\"clients\":[{\"name\":\"a\",\"protocol\":\"gamestream\",\
                  \"paired_unix_s\":1,\"grants\":255,\"certificate\":\"\"}]}",
                "invalid type",
            ),
        ];
        for (bytes, part) in table {
            let error = Trust::parse(bytes, Grants::NONE).unwrap_err().to_string();
            assert!(error.starts_with("clients.json: ") && error.contains(part), "{error}");
        }
    }
}
