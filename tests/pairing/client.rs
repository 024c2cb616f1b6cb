// A client's end of a GameStream pairing, as stock clients play it, for tests of a host's end.
//
// The module that includes it brings the names of the protocol into scope.

use aes::Aes128;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::{digest, signature};

const HOST: &str = include_str!("../vectors/certificates/host.pem");
const HOST_KEY: &str = include_str!("../vectors/certificates/host.key.pem");
const CLIENT: &str = include_str!("../vectors/certificates/rsa-2048.pem");
const CLIENT_KEY: &str = include_str!("../vectors/certificates/rsa-2048.key.pem");

const SALT: [u8; 16] = [0x5a; 16];
const CHALLENGE: [u8; 16] = [0xc1; 16];
const SECRET: [u8; 16] = [0x5e; 16];

/// The host's certificate and its key.
pub fn host() -> (Certificate, KeyPair) {
    (Certificate::parse_pem(HOST.as_bytes()).unwrap(), key(HOST_KEY))
}

/// A device that shows a PIN.
pub struct Client {
    pub unique_id: String,
    pub certificate: Certificate,
    pub pin: String,
    key: KeyPair,
    host: Option<Certificate>,
    /// The host's proof and challenge.
    response: Vec<u8>,
}

impl Client {
    pub fn new(pin: &str) -> Client {
        Client {
            unique_id: "0123456789ABCDEF".into(),
            certificate: Certificate::parse_pem(CLIENT.as_bytes()).unwrap(),
            pin: pin.into(),
            key: key(CLIENT_KEY),
            host: None,
            response: Vec::new(),
        }
    }

    pub fn get_server_cert(&self) -> PairRequest {
        PairRequest::GetServerCert {
            unique_id: self.unique_id.clone(),
            device_name: None,
            salt: Secret::new(SALT),
            certificate: self.certificate.clone(),
        }
    }

    /// Takes the answer to the first stage.
    pub fn client_challenge(&mut self, body: &str) -> PairRequest {
        let pem = field(body, "plaincert");
        self.host = Some(Certificate::parse_pem(&pem).unwrap());
        let mut challenge = CHALLENGE;
        self.cipher(&mut challenge, |cipher, block| cipher.encrypt_block(block));
        PairRequest::ClientChallenge { unique_id: self.unique_id.clone(), challenge }
    }

    /// Takes the answer to the second stage.
    pub fn server_challenge_response(&mut self, body: &str) -> PairRequest {
        let mut response = field(body, "challengeresponse");
        self.cipher(&mut response, |cipher, block| cipher.decrypt_block(block));
        let mut commitment = sha256(&[&response[32..48], self.certificate.signature(), &SECRET]);
        self.response = response;
        self.cipher(&mut commitment, |cipher, block| cipher.encrypt_block(block));
        PairRequest::ServerChallengeResponse {
            unique_id: self.unique_id.clone(),
            response: commitment,
        }
    }

    /// Takes the answer to the third stage: whether the host knows the PIN and owns its key.
    pub fn accepts(&self, body: &str) -> bool {
        let bytes = field(body, "pairingsecret");
        let (secret, signature) = bytes.split_at(16);
        let host = self.host.as_ref().unwrap();
        let proof = sha256(&[&CHALLENGE, host.signature(), secret]);
        host.verify_sha256(secret, signature) && proof == self.response[..32]
    }

    pub fn client_pairing_secret(&self) -> PairRequest {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), &SECRET, &mut signature)
            .unwrap();
        PairRequest::ClientPairingSecret {
            unique_id: self.unique_id.clone(),
            secret: Secret::new(SECRET),
            signature,
        }
    }

    fn cipher(
        &self,
        bytes: &mut [u8],
        each: impl Fn(&Aes128, &mut GenericArray<u8, aes::cipher::consts::U16>),
    ) {
        let hash = sha256(&[&SALT, self.pin.as_bytes()]);
        let cipher = Aes128::new(GenericArray::from_slice(&hash[..16]));
        for block in bytes.chunks_exact_mut(16) {
            each(&cipher, GenericArray::from_mut_slice(block));
        }
    }
}

fn key(text: &str) -> KeyPair {
    KeyPair::from_pkcs8(&pem::parse("PRIVATE KEY", text.as_bytes()).unwrap()).unwrap()
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let hash = digest::digest(&digest::SHA256, &parts.concat());
    hash.as_ref().try_into().unwrap()
}

/// The bytes in an element of a document.
fn field(body: &str, name: &str) -> Vec<u8> {
    let (_, rest) = body.split_once(&format!("<{name}>")).unwrap();
    let (digits, _) = rest.split_once('<').unwrap();
    hex::parse(digits).unwrap()
}
