//! Bytes that nobody is to read: keys, and what proves that somebody knows one.

#![forbid(unsafe_code)]

use std::fmt;
use std::hint::black_box;

/// `N` secret bytes. They are not shown, are compared in constant time, stay at one place in
/// memory and are overwritten when they are dropped.
#[derive(Clone)]
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// A secret of these bytes.
    pub fn new(bytes: [u8; N]) -> Secret<N> {
        Secret(Box::new(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.fill(0);
        // The compiler is to believe that someone reads the zeros.
        black_box(&mut self.0);
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Secret<N>) -> bool {
        let pairs = self.0.iter().zip(other.0.iter());
        pairs.fold(0, |difference, (a, b)| black_box(difference | (a ^ b))) == 0
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_whole_and_not_shown() {
        let secret = Secret::new([0xab, 1, 2]);

        assert_eq!(secret, Secret::new([0xab, 1, 2]));
        for other in [[0xaa, 1, 2], [0xab, 0, 2], [0xab, 1, 3]] {
            assert_ne!(secret, Secret::new(other));
        }
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
