//! A new RSA-2048 key, in PKCS#8 (RFC 5208, RFC 8017).

#![forbid(unsafe_code)]

use std::convert::Infallible;

use crypto_bigint::{NonZero, U1024, U2048, Uint};
use crypto_primes::{Flavor, random_prime};
use punktfunk_core::proto::der::{self, tag};
use rand_core::{TryCryptoRng, TryRng};
use ring::rand::{SecureRandom, SystemRandom};

/// Bits of each of the two primes.
const PRIME_BITS: u32 = 1024;
/// Bits of their product.
const MODULUS_BITS: u32 = 2 * PRIME_BITS;
const PUBLIC_EXPONENT: u32 = 65_537;
/// rsaEncryption, 1.2.840.113549.1.1.1.
const OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// Makes a key, in DER. Takes half a second, at times several.
pub fn generate(random: &SystemRandom) -> Vec<u8> {
    let mut random = Random(random);
    loop {
        let primes = [(); 2].map(|()| random_prime(&mut random, Flavor::Any, PRIME_BITS));
        if let Some(key) = pkcs8(primes) {
            return key;
        }
    }
}

/// The key of two primes; `None` for the few that make none.
fn pkcs8([a, b]: [U1024; 2]) -> Option<Vec<u8>> {
    // ring takes them in this order only.
    let (p, q) = if a > b { (a, b) } else { (b, a) };
    let modulus: U2048 = p.concatenating_mul(&q);
    if p == q || modulus.bit_width() != MODULUS_BITS {
        return None;
    }
    let (p_less_1, q_less_1) = (p.wrapping_sub(&U1024::ONE), q.wrapping_sub(&U1024::ONE));
    let phi: U2048 = p_less_1.concatenating_mul(&q_less_1);
    let exponent = U2048::from_u32(PUBLIC_EXPONENT);
    let private: U2048 = exponent.invert_mod(&non_zero(phi)?).into_option()?;
    let d_mod_p: U1024 = private.rem(&non_zero(p_less_1)?);
    let d_mod_q: U1024 = private.rem(&non_zero(q_less_1)?);
    let coefficient: U1024 = q.invert_mod(&non_zero(p)?).into_option()?;
    let key = der::seq(&[
        &der::int(&[0]),
        &der::int(modulus.to_be_bytes().as_ref()),
        &der::int(&PUBLIC_EXPONENT.to_be_bytes()),
        &der::int(private.to_be_bytes().as_ref()),
        &der::int(p.to_be_bytes().as_ref()),
        &der::int(q.to_be_bytes().as_ref()),
        &der::int(d_mod_p.to_be_bytes().as_ref()),
        &der::int(d_mod_q.to_be_bytes().as_ref()),
        &der::int(coefficient.to_be_bytes().as_ref()),
    ]);
    Some(der::seq(&[
        &der::int(&[0]),
        &der::seq(&[&der::tlv(tag::OID, OID), &der::tlv(tag::NULL, &[])]),
        &der::tlv(tag::OCTET_STRING, &key),
    ]))
}

fn non_zero<const LIMBS: usize>(value: Uint<LIMBS>) -> Option<NonZero<Uint<LIMBS>>> {
    NonZero::new(value).into_option()
}

/// ring's generator in the shape that crypto-primes takes. It cannot say that the kernel gives no
/// random numbers, which the kernels that this program runs on always do.
struct Random<'a>(&'a SystemRandom);

impl TryRng for Random<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes).expect("getrandom(2) is there");
        Ok(())
    }
}

impl TryCryptoRng for Random<'_> {}

#[cfg(test)]
mod tests {
    use ring::signature::{
        KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
    };

    use super::*;

    #[test]
    fn a_new_key_has_2048_bits_and_signs() {
        let random = SystemRandom::new();

        let key = RsaKeyPair::from_pkcs8(&generate(&random)).unwrap();
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &random, b"message", &mut signature).unwrap();

        assert_eq!(signature.len(), 256);
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key());
        public.verify(b"message", &signature).unwrap();
    }

    #[test]
    fn primes_that_make_no_key_are_left() {
        let prime = U1024::MAX.wrapping_sub(&U1024::from_u32(104)); // 2^1024 - 105

        assert_eq!(pkcs8([prime, prime]), None);
        assert_eq!(pkcs8([prime, U1024::from_u32(3)]), None);
        assert_eq!(pkcs8([prime, U1024::ONE]), None);
    }
}
