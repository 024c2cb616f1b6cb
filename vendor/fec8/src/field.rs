//! The field of 256 elements, GF(2^8).
//!
//! An element is a byte, and a byte is a polynomial of degree below 8 whose coefficients are its
//! bits, taken modulo 2. Addition is therefore exclusive or, and each element is its own negative.
//! Multiplication is that of polynomials, modulo x^8 + x^4 + x^3 + x^2 + 1 (0x11D). That polynomial
//! has no factors, so every element but 0 has an inverse; and it is primitive: the powers of x,
//! which is the byte 2, run through all 255 elements other than 0 before they repeat. Products are
//! sums of exponents then, and the tables of logarithms below are all that is needed outside the
//! kernels.
//!
//! Multiplication by a constant c is linear over the bits: c(a + b) = ca + cb. The kernels live on
//! that. A byte is the sum of its two halves, so its product is the sum of two look-ups in tables
//! of sixteen (Plank, Greenan, Miller: Screaming Fast Galois Field Arithmetic Using Intel SIMD
//! Instructions, FAST 2013); or c is an 8 x 8 matrix of bits, for which x86 has an instruction.
//! (Its instruction for products in GF(2^8) is of no use: it knows the polynomial of AES only.)

#![forbid(unsafe_code)]

/// Nonzero elements, and so the period of the powers of 2.
pub(crate) const ORDER: usize = 255;

/// The exponent of 2 that gives an element. `LOG[0]` stands for nothing and is 0, the logarithm of
/// 1: in a product taken by logarithms a factor 0 counts as absent.
pub(crate) static LOG: [u8; 256] = logarithms();

/// The powers of 2, three periods of them, so that the sum of three logarithms needs no reduction.
pub(crate) static EXP: [u8; 3 * ORDER] = powers();

/// `1 / a`. 0 has no inverse and 0 in its place.
pub(crate) static INVERSE: [u8; 256] = inverses();

/// `PRODUCTS[c][n]` is c times n, for the lower half of a byte. For the upper half, c times 16n, it
/// is `PRODUCTS[TIMES_16[c]][n]`.
pub(crate) static PRODUCTS: [[u8; 16]; 256] = products();

/// 16 times an element.
pub(crate) static TIMES_16: [u8; 256] = times_16();

/// The product of two elements.
pub(crate) fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    EXP[usize::from(LOG[usize::from(a)]) + usize::from(LOG[usize::from(b)])]
}

/// The product of two elements by the definition.
pub(crate) const fn multiply_polynomials(a: u8, b: u8) -> u8 {
    let mut power = a; // a times x^bit
    let mut product = 0;
    let mut bit = 0;
    while bit < 8 {
        if b >> bit & 1 == 1 {
            product ^= power;
        }
        power = times_x(power);
        bit += 1;
    }
    product
}

const fn times_x(a: u8) -> u8 {
    (a << 1) ^ if a & 0x80 != 0 { 0x1D } else { 0 } // x^8 = x^4 + x^3 + x^2 + 1
}

const fn powers() -> [u8; 3 * ORDER] {
    let mut powers = [1; 3 * ORDER];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = times_x(powers[exponent - 1]);
        exponent += 1;
    }
    powers
}

const fn logarithms() -> [u8; 256] {
    let powers = powers();
    let mut logarithms = [0; 256];
    let mut exponent = 0;
    while exponent < ORDER {
        logarithms[powers[exponent] as usize] = exponent as u8;
        exponent += 1;
    }
    logarithms
}

const fn inverses() -> [u8; 256] {
    let (powers, logarithms) = (powers(), logarithms());
    let mut inverses = [0; 256];
    let mut a = 1;
    while a < 256 {
        inverses[a] = powers[ORDER - logarithms[a] as usize];
        a += 1;
    }
    inverses
}

const fn products() -> [[u8; 16]; 256] {
    let mut products = [[0; 16]; 256];
    let mut c = 0;
    while c < 256 {
        let mut n = 0;
        while n < 16 {
            products[c][n] = multiply_polynomials(c as u8, n as u8);
            n += 1;
        }
        c += 1;
    }
    products
}

const fn times_16() -> [u8; 256] {
    let mut times = [0; 256];
    let mut c = 0;
    while c < 256 {
        times[c] = multiply_polynomials(c as u8, 16);
        c += 1;
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_the_one_of_gamestream() {
        assert_eq!(multiply(2, 0x80), 0x1D);
        assert_eq!(INVERSE[2..6], [0x8E, 0xF4, 0x47, 0xA7]);
    }

    #[test]
    fn tables_agree_with_the_definition() {
        for a in 0..=255 {
            for b in 0..=255 {
                let product = multiply_polynomials(a, b);
                let halves = PRODUCTS[usize::from(a)][usize::from(b & 15)]
                    ^ PRODUCTS[usize::from(TIMES_16[usize::from(a)])][usize::from(b >> 4)];

                assert_eq!(multiply(a, b), product, "{a} {b}");
                assert_eq!(halves, product, "{a} {b}");
            }
        }
    }

    #[test]
    fn everything_but_0_has_an_inverse() {
        assert!((1..=255).all(|a| multiply(a, INVERSE[usize::from(a)]) == 1));
    }

    #[test]
    fn another_library_multiplies_alike() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(multiply(a, b), reed_solomon_erasure::galois_8::mul(a, b), "{a} {b}");
            }
        }
    }
}
