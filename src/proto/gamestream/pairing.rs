//! Pairing of GameStream by PIN: the host's end of one exchange.
//!
//! Four requests, in one order. The first brings the client's certificate and waits for the PIN
//! that the client shows; with it both ends prove in turn that they know the PIN and own their
//! certificate. What the host gives away with the third lets a client find the PIN by trying, so
//! any error ends the exchange, no stage is taken twice, and each exchange wants a PIN of its own.
//! A fifth request, over HTTPS, asks whether it worked; it belongs to no exchange.

#![forbid(unsafe_code)]

use std::fmt;
use std::mem;
use std::time::{Duration, Instant};

use aes::Aes128;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use ring::digest;
use ring::rand::SecureRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;

use super::http::paired;
use super::secret::Secret;
use crate::proto::cert::Certificate;
use crate::proto::hex;

/// How long the client may take to its next stage.
const STAGE_TIME: Duration = Duration::from_secs(15);

/// One stage, as the client sends it.
#[derive(Debug, PartialEq)]
pub enum PairRequest {
    /// The first: the host's certificate, once the PIN is given.
    GetServerCert {
        /// What the client calls itself; many share one.
        unique_id: String,
        /// What the device is called, when that is not the constant of every Moonlight.
        device_name: Option<String>,
        /// What the PIN is hashed with.
        salt: Secret<16>,
        /// Who is to be trusted.
        certificate: Certificate,
    },
    /// The second: prove that you know the PIN.
    ClientChallenge {
        /// As in the first.
        unique_id: String,
        /// Encrypted under the key made of the PIN.
        challenge: [u8; 16],
    },
    /// The third: the client's commitment to its proof, for the host's secret.
    ServerChallengeResponse {
        /// As in the first.
        unique_id: String,
        /// Encrypted under the key made of the PIN.
        response: [u8; 32],
    },
    /// The fourth: the client's secret, which makes its proof complete.
    ClientPairingSecret {
        /// As in the first.
        unique_id: String,
        /// What the commitment was made with.
        secret: Secret<16>,
        /// Over the secret, by the key of the certificate.
        signature: Vec<u8>,
    },
    /// The fifth: is this certificate trusted?
    PairChallenge,
}

/// Four digits.
#[derive(Debug, PartialEq)]
pub struct Pin(Secret<4>);

/// What the host proves itself with.
#[derive(Clone, Copy, Debug)]
pub struct HostKeys<'a> {
    /// Its certificate.
    pub certificate: &'a Certificate,
    /// The key of that certificate.
    pub key: &'a KeyPair,
}

/// The answer to a stage.
#[derive(Debug)]
pub struct Reply {
    /// The document to send.
    pub body: String,
    /// After the last stage: whom to trust, before the document is sent.
    pub paired: Option<Certificate>,
    /// After the last stage: the proof does not hold. The document says no more than that.
    pub is_refused: bool,
}

/// Why an exchange is not begun, or has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// The host has no random numbers, or its key does not sign.
    Host,
    /// There is no exchange that the stage could belong to.
    NotUnderWay,
    /// The client calls itself otherwise than in the first stage.
    OtherUniqueId,
    /// Another stage was due.
    OutOfOrder,
    /// What was due came too late.
    TimedOut,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Host => "host unable to sign",
            Error::NotUnderWay => "no pairing under way",
            Error::OtherUniqueId => "uniqueid is not that of the pairing under way",
            Error::OutOfOrder => "stage of pairing out of order",
            Error::TimedOut => "pairing took too long",
        })
    }
}

/// One client on its way to trust. After an error it takes nothing more.
#[derive(Debug)]
pub struct Exchange {
    unique_id: String,
    certificate: Certificate,
    step: Step,
    deadline: Instant,
}

/// What is due, with what it takes: the key that salt and PIN make, the host's own secret and
/// challenge, and the proof that the client has committed itself to.
#[derive(Debug)]
enum Step {
    Pin { salt: Secret<16> },
    ClientChallenge { key: Secret<16> },
    ServerChallengeResponse { key: Secret<16>, secret: Secret<16>, challenge: Secret<16> },
    ClientPairingSecret { challenge: Secret<16>, proof: Secret<32> },
    Over,
}

impl Pin {
    /// Takes four ASCII digits and nothing else.
    pub fn parse(text: &str) -> Option<Pin> {
        let digits: [u8; 4] = text.as_bytes().try_into().ok()?;
        digits.iter().all(u8::is_ascii_digit).then(|| Pin(Secret::new(digits)))
    }
}

impl Exchange {
    /// Begins with a first stage. `window` is how long the PIN may take.
    pub fn begin(request: &PairRequest, now: Instant, window: Duration) -> Result<Exchange, Error> {
        let PairRequest::GetServerCert { unique_id, salt, certificate, .. } = request else {
            return Err(Error::OutOfOrder);
        };
        Ok(Exchange {
            unique_id: unique_id.clone(),
            certificate: certificate.clone(),
            step: Step::Pin { salt: Secret::new(*salt.bytes()) },
            deadline: now + window,
        })
    }

    /// Takes the PIN. Returns the document that answers the first stage.
    pub fn handle_pin(
        &mut self,
        pin: &Pin,
        host: &Certificate,
        now: Instant,
    ) -> Result<String, Error> {
        let Step::Pin { salt } = mem::replace(&mut self.step, Step::Over) else {
            return Err(Error::OutOfOrder);
        };
        if self.deadline <= now {
            return Err(Error::TimedOut);
        }
        self.step = Step::ClientChallenge { key: key(&salt, pin) };
        self.deadline = now + STAGE_TIME;
        Ok(paired(true, Some(("plaincert", &hex::emit(host.pem().as_bytes())))))
    }

    /// Takes a stage after the first.
    pub fn handle_request(
        &mut self,
        request: &PairRequest,
        host: &HostKeys<'_>,
        random: &dyn SecureRandom,
        now: Instant,
    ) -> Result<Reply, Error> {
        let step = mem::replace(&mut self.step, Step::Over);
        if self.deadline <= now {
            return Err(Error::TimedOut);
        }
        if request.unique_id().is_some_and(|unique_id| unique_id != self.unique_id) {
            return Err(Error::OtherUniqueId);
        }
        let (step, reply) = step.after(request, &self.certificate, host, random)?;
        self.step = step;
        self.deadline = now + STAGE_TIME;
        Ok(reply)
    }

    /// When the exchange has taken too long.
    pub fn poll_timeout(&self) -> Instant {
        self.deadline
    }

    /// What the client called itself in the first stage.
    pub fn unique_id(&self) -> &str {
        &self.unique_id
    }
}

impl PairRequest {
    fn unique_id(&self) -> Option<&str> {
        match self {
            PairRequest::GetServerCert { unique_id, .. }
            | PairRequest::ClientChallenge { unique_id, .. }
            | PairRequest::ServerChallengeResponse { unique_id, .. }
            | PairRequest::ClientPairingSecret { unique_id, .. } => Some(unique_id),
            PairRequest::PairChallenge => None,
        }
    }
}

impl Step {
    /// The whole protocol: which stage may follow, what it leads to, how it is answered.
    fn after(
        self,
        request: &PairRequest,
        client: &Certificate,
        host: &HostKeys<'_>,
        random: &dyn SecureRandom,
    ) -> Result<(Step, Reply), Error> {
        match (self, request) {
            (Step::ClientChallenge { key }, PairRequest::ClientChallenge { challenge, .. }) => {
                let secret = random_secret(random)?;
                let own = random_secret(random)?;
                let signature = host.certificate.signature();
                let response = respond(&key, challenge, signature, &secret, &own);
                let reply = Reply::with("challengeresponse", &response);
                Ok((Step::ServerChallengeResponse { key, secret, challenge: own }, reply))
            }
            (
                Step::ServerChallengeResponse { key, secret, challenge },
                PairRequest::ServerChallengeResponse { response, .. },
            ) => {
                let mut proof = Secret::new(*response);
                decrypt(&key, proof.bytes_mut());
                let reply = Reply::with("pairingsecret", &host.sign(&secret, random)?);
                Ok((Step::ClientPairingSecret { challenge, proof }, reply))
            }
            (
                Step::ClientPairingSecret { challenge, proof: committed },
                PairRequest::ClientPairingSecret { secret, signature, .. },
            ) => {
                let knows_pin = proof(challenge.bytes(), client.signature(), secret) == committed;
                let owns_key = client.verify_sha256(secret.bytes(), signature);
                // Both are looked at, whatever the first says: the time it takes tells nothing.
                let holds = knows_pin & owns_key;
                let (body, trusted) = (paired(holds, None), holds.then(|| client.clone()));
                let reply = Reply { body, paired: trusted, is_refused: !holds };
                Ok((Step::Over, reply))
            }
            _ => Err(Error::OutOfOrder),
        }
    }
}

impl Reply {
    fn with(name: &'static str, bytes: &[u8]) -> Reply {
        let body = paired(true, Some((name, &hex::emit(bytes))));
        Reply { body, paired: None, is_refused: false }
    }
}

impl HostKeys<'_> {
    /// A secret and the signature over it.
    fn sign(&self, secret: &Secret<16>, random: &dyn SecureRandom) -> Result<Vec<u8>, Error> {
        let mut bytes = secret.bytes().to_vec();
        bytes.resize(secret.bytes().len() + self.key.public().modulus_len(), 0);
        let (message, signature) = bytes.split_at_mut(secret.bytes().len());
        self.key.sign(&RSA_PKCS1_SHA256, random, message, signature).map_err(|_| Error::Host)?;
        Ok(bytes)
    }
}

/// The key that salt and PIN make: the first half of their hash.
fn key(salt: &Secret<16>, pin: &Pin) -> Secret<16> {
    let hash = sha256(&[salt.bytes(), pin.0.bytes()]);
    let mut key = Secret::new([0; 16]);
    key.bytes_mut().copy_from_slice(&hash.bytes()[..16]);
    key
}

/// The answer to the client's challenge: the host's proof and its own challenge, encrypted.
fn respond(
    key: &Secret<16>,
    challenge: &[u8; 16],
    signature: &[u8],
    secret: &Secret<16>,
    own: &Secret<16>,
) -> [u8; 48] {
    let mut challenge = *challenge;
    decrypt(key, &mut challenge);
    let mut response = [0; 48];
    response[..32].copy_from_slice(proof(&challenge, signature, secret).bytes());
    response[32..].copy_from_slice(own.bytes());
    encrypt(key, &mut response);
    response
}

/// What shows, once the secret is known, that a challenge was read: their hash, with the
/// signature of the certificate of the one who shows it.
fn proof(challenge: &[u8; 16], signature: &[u8], secret: &Secret<16>) -> Secret<32> {
    sha256(&[challenge, signature, secret.bytes()])
}

fn sha256(parts: &[&[u8]]) -> Secret<32> {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = Secret::new([0; 32]);
    hash.bytes_mut().copy_from_slice(context.finish().as_ref());
    hash
}

fn random_secret(random: &dyn SecureRandom) -> Result<Secret<16>, Error> {
    let mut secret = Secret::new([0; 16]);
    random.fill(secret.bytes_mut()).map_err(|_| Error::Host)?;
    Ok(secret)
}

/// AES-128-ECB without padding, in place. `bytes` are whole blocks.
fn encrypt(key: &Secret<16>, bytes: &mut [u8]) {
    let cipher = Aes128::new(key.bytes().into());
    for block in bytes.chunks_exact_mut(16) {
        cipher.encrypt_block(GenericArray::from_mut_slice(block));
    }
}

/// As [`encrypt`], the other way.
fn decrypt(key: &Secret<16>, bytes: &mut [u8]) {
    let cipher = Aes128::new(key.bytes().into());
    for block in bytes.chunks_exact_mut(16) {
        cipher.decrypt_block(GenericArray::from_mut_slice(block));
    }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;
    use client::{Client, host};

    mod client {
        use super::{Certificate, PairRequest, Secret, hex};
        use crate::proto::der::pem;

        include!("../../../tests/pairing/client.rs");
    }

    const WINDOW: Duration = Duration::from_secs(120);

    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn bytes<const N: usize>(first: u8) -> [u8; N] {
        std::array::from_fn(|index| first.wrapping_add(index as u8))
    }

    /// A host, a client and their exchange, played by hand.
    struct Play {
        host: (Certificate, KeyPair),
        client: Client,
        exchange: Exchange,
        now: Instant,
    }

    impl Play {
        fn begin() -> Play {
            let (client, now) = (Client::new("4711"), epoch());
            let exchange = Exchange::begin(&client.get_server_cert(), now, WINDOW).unwrap();
            Play { host: host(), client, exchange, now }
        }

        fn give_pin(&mut self, pin: &str) -> Result<String, Error> {
            self.exchange.handle_pin(&Pin::parse(pin).unwrap(), &self.host.0, self.now)
        }

        fn handle(&mut self, request: &PairRequest) -> Result<Reply, Error> {
            let host = HostKeys { certificate: &self.host.0, key: &self.host.1 };
            self.exchange.handle_request(request, &host, &SystemRandom::new(), self.now)
        }

        /// Goes through the first `count` stages after the PIN.
        fn play(&mut self, pin: &str, count: usize) -> Reply {
            let body = self.give_pin(pin).unwrap();
            let mut reply = Reply { body, paired: None, is_refused: false };
            for stage in 0..count {
                let request = self.stage(stage, &reply.body);
                reply = self.handle(&request).unwrap();
            }
            reply
        }

        fn stage(&mut self, index: usize, body: &str) -> PairRequest {
            match index {
                0 => self.client.client_challenge(body),
                1 => self.client.server_challenge_response(body),
                _ => self.client.client_pairing_secret(),
            }
        }
    }

    #[test]
    fn the_published_vectors_hold() {
        let salt = Secret::new(bytes(0));
        let server_secret = Secret::new(bytes(0x30));
        let server_challenge = Secret::new(bytes(0x40));
        let client_secret = Secret::new(bytes(0x50));
        let host_signature: [u8; 256] = bytes(0);
        let client_signature: [u8; 256] = std::array::from_fn(|index| 0xff - index as u8);

        let key = key(&salt, &Pin::parse("1234").unwrap());
        let mut challenge = bytes(0x10);
        encrypt(&key, &mut challenge);
        let response =
            respond(&key, &challenge, &host_signature, &server_secret, &server_challenge);
        let proof = proof(server_challenge.bytes(), &client_signature, &client_secret);
        let mut commitment = *proof.bytes();
        encrypt(&key, &mut commitment);

        assert_eq!(hex::emit(key.bytes()), "bad0b4f7cae08eb7c1b5acc763a8ed25");
        assert_eq!(hex::emit(&challenge), "5febcdc985b2baddd65925da162380eb");
        assert_eq!(
            hex::emit(&response),
            "b66c70903d2b2deb52bc0a07f59757f87a4dfca55463c1f03d64cc341682bd31\
             729847f14eec2c92157f58d16be4ef80"
        );
        assert_eq!(
            hex::emit(proof.bytes()),
            "911fb63516bec0a8885c139d82b30018ad1ba682aea3fc992988a6c6835cc7ab"
        );
        assert_eq!(
            hex::emit(&commitment),
            "6a013a466fcf33abfb1dd8484fc6ec0e19b917017463a5036e8c61f6a80f8001"
        );
        decrypt(&key, &mut commitment);
        assert_eq!(commitment, *proof.bytes());
    }

    #[test]
    fn a_client_that_shows_the_pin_is_to_be_trusted() {
        let mut play = Play::begin();

        let third = play.play("4711", 2);
        let last = play.client.client_pairing_secret();
        let reply = play.handle(&last).unwrap();

        assert!(play.client.accepts(&third.body));
        assert_eq!(third.paired, None);
        assert_eq!(reply.paired, Some(play.client.certificate.clone()));
        assert_eq!(reply.body, paired(true, None));
        assert!(!reply.is_refused);
    }

    #[test]
    fn with_another_pin_neither_end_believes_the_other() {
        let mut play = Play::begin();

        let third = play.play("4712", 2);
        let last = play.client.client_pairing_secret();
        let reply = play.handle(&last).unwrap();

        assert!(!play.client.accepts(&third.body));
        assert!(reply.is_refused);
        assert_eq!(reply.paired, None);
        assert_eq!(reply.body, paired(false, None));
    }

    #[test]
    fn a_proof_that_was_tampered_with_is_refused_without_saying_where() {
        let tamper: [fn(&mut Secret<16>, &mut Vec<u8>); 4] = [
            |secret, _| secret.bytes_mut()[15] ^= 1,
            |_, signature| signature[255] ^= 1,
            |_, signature| signature.truncate(255),
            |_, signature| signature.push(0),
        ];
        for (row, tamper) in tamper.into_iter().enumerate() {
            let mut play = Play::begin();
            play.play("4711", 2);
            let mut last = play.client.client_pairing_secret();
            if let PairRequest::ClientPairingSecret { secret, signature, .. } = &mut last {
                tamper(secret, signature);
            }

            let reply = play.handle(&last).unwrap();

            assert!(reply.is_refused && reply.paired.is_none(), "row {row}");
            assert_eq!(reply.body, paired(false, None), "row {row}");
        }
    }

    #[test]
    fn only_the_stage_that_is_due_is_taken_and_an_error_is_the_end() {
        // After so many stages behind the PIN, this one comes: 0 to 2 are the second to fourth,
        // 3 is the first again, 4 the question whether it worked.
        for done in 0..=3 {
            for comes in 0..=4 {
                let mut play = Play::begin();
                let reply = play.play("4711", done);
                if comes == done && done < 3 {
                    continue; // in order
                }
                let request = match comes {
                    3 => play.client.get_server_cert(),
                    4 => PairRequest::PairChallenge,
                    // Well formed, whatever was answered last.
                    0 => PairRequest::ClientChallenge {
                        unique_id: play.client.unique_id.clone(),
                        challenge: [0; 16],
                    },
                    1 => PairRequest::ServerChallengeResponse {
                        unique_id: play.client.unique_id.clone(),
                        response: [0; 32],
                    },
                    _ => play.client.client_pairing_secret(),
                };

                let error = play.handle(&request).unwrap_err();

                assert_eq!(error, Error::OutOfOrder, "{comes} after {done}");
                if done < 3 {
                    let due = if done == 0 {
                        play.client.client_challenge(&reply.body)
                    } else {
                        play.stage(done, &reply.body)
                    };
                    let after = play.handle(&due).unwrap_err();
                    assert_eq!(after, Error::OutOfOrder, "the due one, {comes} after {done}");
                }
            }
        }
    }

    #[test]
    fn no_stage_is_taken_before_the_pin_and_the_pin_is_taken_once() {
        let mut early = Play::begin();
        let mut twice = Play::begin();

        let request = early.client.client_pairing_secret();
        assert_eq!(early.handle(&request).unwrap_err(), Error::OutOfOrder);
        assert_eq!(early.give_pin("4711"), Err(Error::OutOfOrder));

        let body = twice.give_pin("4711").unwrap();
        assert_eq!(twice.give_pin("4711"), Err(Error::OutOfOrder));
        let request = twice.client.client_challenge(&body);
        assert_eq!(twice.handle(&request).unwrap_err(), Error::OutOfOrder);
    }

    #[test]
    fn only_a_first_stage_begins() {
        let client = Client::new("4711");

        for request in [client.client_pairing_secret(), PairRequest::PairChallenge] {
            let begun = Exchange::begin(&request, epoch(), WINDOW);
            assert_eq!(begun.err(), Some(Error::OutOfOrder));
        }
    }

    #[test]
    fn another_unique_id_ends_the_exchange() {
        let mut play = Play::begin();
        let body = play.give_pin("4711").unwrap();
        let own = play.client.client_challenge(&body);
        play.client.unique_id = "fedcba9876543210".into();
        let other = play.client.client_challenge(&body);

        assert_eq!(play.handle(&other).unwrap_err(), Error::OtherUniqueId);
        assert_eq!(play.handle(&own).unwrap_err(), Error::OutOfOrder);
    }

    #[test]
    fn each_wait_has_its_time() {
        let mut late_pin = Play::begin();
        let mut late_stage = Play::begin();
        let began = late_pin.now;

        assert_eq!(late_pin.exchange.poll_timeout(), began + WINDOW);
        late_pin.now = began + WINDOW;
        assert_eq!(late_pin.give_pin("4711"), Err(Error::TimedOut));

        late_stage.now += Duration::from_secs(100);
        let given = late_stage.now;
        let body = late_stage.give_pin("4711").unwrap();
        assert_eq!(late_stage.exchange.poll_timeout(), given + STAGE_TIME);
        late_stage.now = given + STAGE_TIME;
        let request = late_stage.client.client_challenge(&body);
        assert_eq!(late_stage.handle(&request).unwrap_err(), Error::TimedOut);
    }

    #[test]
    fn a_pin_is_four_digits() {
        let table = [
            ("0000", true),
            ("9876", true),
            ("", false),
            ("123", false),
            ("12345", false),
            ("12a4", false),
            (" 123", false),
            ("+123", false),
            ("\u{0661}\u{0662}", false),
        ];
        for (text, is_pin) in table {
            assert_eq!(Pin::parse(text).is_some(), is_pin, "{text:?}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let mut play = Play::begin();
        let first = format!("{:?} {:?}", play.client.get_server_cert(), play.exchange);
        play.play("4711", 2);
        let last = format!("{:?} {:?}", play.client.client_pairing_secret(), play.exchange);
        let pin = format!("{:?}", Pin::parse("4711"));

        for text in [first, last, pin] {
            assert!(text.contains("Secret"), "{text}");
            // The salt, the client's secret, the PIN, as bytes are shown.
            for secret in ["90, 90", "94, 94", "52, 55", "4711"] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
    }
}
