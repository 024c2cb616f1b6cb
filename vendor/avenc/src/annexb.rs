//! Access units as H.264 and HEVC have them in Annex B: NAL units behind start codes.
//!
//! Clients find an IDR frame by its parameter sets, which have to come first, and give up where the
//! first slice does not begin in the first packet. [`strip`] takes out what stands in the way: SEI
//! messages, among them the long ones in which libraries print their versions, and delimiters.
//! The specifications: ITU-T H.264 and H.265, section 7.3.1 and Annex B each.

#![forbid(unsafe_code)]

/// Which of the two NAL headers is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Syntax {
    /// One byte; the type is its lower 5 bits.
    H264,
    /// Two bytes; the type is bits 1 to 6 of the first.
    Hevc,
}

/// What a NAL unit is to those who put access units in order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// An access unit delimiter.
    Delimiter,
    /// A slice of an IDR frame.
    IdrSlice,
    /// Filler, the end of a sequence, what is reserved or not specified.
    Other,
    /// A video, sequence or picture parameter set.
    ParameterSet,
    /// Supplemental enhancement information.
    Sei,
    /// A slice of any other frame.
    Slice,
}

/// What an access unit is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// None: there is no slice in it.
    Headers,
    /// An IDR frame.
    Idr {
        /// It brings the parameter sets that it is decoded with.
        has_parameter_sets: bool,
    },
    /// Any other frame.
    Other,
}

/// A NAL unit in an access unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nal {
    /// Where its start code begins.
    pub start: usize,
    /// Where its header is, behind the start code.
    pub header: usize,
}

impl Syntax {
    /// The number of the type in the first byte of a NAL header.
    pub fn nal_type(self, header: u8) -> u8 {
        match self {
            Syntax::H264 => header & 0x1f,
            Syntax::Hevc => header >> 1 & 0x3f,
        }
    }

    /// What the type in the first byte of a NAL header means: tables 7-1 of both specifications.
    pub fn role(self, header: u8) -> Role {
        match (self, self.nal_type(header)) {
            (Syntax::H264, 5) | (Syntax::Hevc, 19 | 20) => Role::IdrSlice,
            (Syntax::H264, 1..=4) | (Syntax::Hevc, 0..=31) => Role::Slice,
            (Syntax::H264, 6) | (Syntax::Hevc, 39 | 40) => Role::Sei,
            (Syntax::H264, 7 | 8 | 13 | 15) | (Syntax::Hevc, 32..=34) => Role::ParameterSet,
            (Syntax::H264, 9) | (Syntax::Hevc, 35) => Role::Delimiter,
            _ => Role::Other,
        }
    }
}

/// The NAL units of an access unit, in order. What has no byte behind its start code is none.
pub fn nals(unit: &[u8]) -> impl Iterator<Item = Nal> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let code = from + unit.get(from..)?.windows(3).position(|bytes| bytes == [0, 0, 1])?;
        let header = code + 3;
        let is_long = code > from && unit[code - 1] == 0;
        from = header;
        (header < unit.len()).then_some(Nal { start: code - usize::from(is_long), header })
    })
}

/// What an access unit is, by what comes up to its first slice.
pub fn shape(unit: &[u8], syntax: Syntax) -> Shape {
    let mut has_parameter_sets = false;
    for nal in nals(unit) {
        match syntax.role(unit[nal.header]) {
            Role::ParameterSet => has_parameter_sets = true,
            Role::IdrSlice => return Shape::Idr { has_parameter_sets },
            Role::Slice => return Shape::Other,
            Role::Delimiter | Role::Other | Role::Sei => {}
        }
    }
    Shape::Headers
}

/// Writes an access unit without the SEI and the delimiters in front of its first slice to `out`.
/// Returns false, and leaves `out` as it was, where there are none. What follows the first slice is
/// taken as it is and not looked at, so this costs what the headers are long.
pub fn strip(unit: &[u8], syntax: Syntax, out: &mut Vec<u8>) -> bool {
    let mut kept: Option<usize> = None; // how much of the unit is dealt with, once something went
    let mut going: Option<usize> = None; // where the NAL units that go began
    for nal in nals(unit) {
        let role = syntax.role(unit[nal.header]);
        match (role, going) {
            (Role::Sei | Role::Delimiter, None) => {
                if kept.is_none() {
                    out.clear();
                }
                out.extend_from_slice(&unit[kept.unwrap_or(0)..nal.start]);
                going = Some(nal.start);
            }
            (Role::Sei | Role::Delimiter, Some(_)) => {}
            (_, Some(_)) => {
                going = None;
                kept = Some(nal.start);
            }
            (_, None) => {}
        }
        if matches!(role, Role::IdrSlice | Role::Slice) {
            break;
        }
    }
    match (kept, going) {
        (None, None) => false,
        (_, Some(_)) => true,
        (Some(from), None) => {
            out.extend_from_slice(&unit[from..]);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const H264_IDR: &[u8] = &[
        0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 7, 0, 0, 1, 0x68, 8, 0, 0, 1, 6, 5, 9, 0, 0, 1,
        0x65, 1, 0, 0, 1, 0x65, 2,
    ];

    /// What it is, the unit, and what is left of it where something goes.
    type Case = (&'static str, Syntax, &'static [u8], Option<&'static [u8]>);

    #[test]
    fn delimiters_and_sei_in_front_of_the_first_slice_go() {
        let cases: &[Case] = &[
            (
                "delimiter and SEI of an IDR frame",
                Syntax::H264,
                H264_IDR,
                Some(&[0, 0, 0, 1, 0x67, 7, 0, 0, 1, 0x68, 8, 0, 0, 1, 0x65, 1, 0, 0, 1, 0x65, 2]),
            ),
            ("a slice alone", Syntax::H264, &[0, 0, 0, 1, 0x41, 9, 0, 0, 1, 0x41, 8], None),
            ("SEI behind a slice", Syntax::H264, &[0, 0, 1, 0x41, 9, 0, 0, 1, 6, 8], None),
            ("SEI alone", Syntax::H264, &[0, 0, 1, 6, 5, 4, 3], Some(&[])),
            ("two of them", Syntax::H264, &[0, 0, 1, 6, 5, 0, 0, 1, 6, 4], Some(&[])),
            (
                "SEI in the middle of HEVC",
                Syntax::Hevc,
                &[0, 0, 1, 0x40, 1, 0, 0, 1, 0x4e, 1, 5, 0, 0, 0, 1, 0x26, 1, 7],
                Some(&[0, 0, 1, 0x40, 1, 0, 0, 0, 1, 0x26, 1, 7]),
            ),
            (
                "H.264's number of SEI is a slice of HEVC",
                Syntax::Hevc,
                &[0, 0, 1, 12, 1, 0, 0, 1, 2, 1],
                None,
            ),
            ("nothing", Syntax::H264, &[], None),
            ("no start code", Syntax::H264, &[6, 6, 6, 6], None),
            ("a start code and no more", Syntax::H264, &[0, 0, 1], None),
            ("zeros", Syntax::Hevc, &[0; 9], None),
            ("a start code behind SEI", Syntax::H264, &[0, 0, 1, 6, 0, 0, 1], Some(&[])),
        ];

        for (name, syntax, unit, expected) in cases {
            let mut out = b"as it was".to_vec();
            let is_stripped = strip(unit, *syntax, &mut out);
            assert_eq!(is_stripped.then_some(&out[..]), *expected, "{name}");
            assert!(is_stripped || out == b"as it was", "{name}");
        }
    }

    #[test]
    fn nal_units_are_found_behind_either_start_code() {
        let found: Vec<_> = nals(H264_IDR).map(|nal| (nal.start, nal.header)).collect();

        assert_eq!(found, [(0, 4), (6, 10), (12, 15), (17, 20), (23, 26), (28, 31)]);
    }

    #[test]
    fn what_comes_up_to_the_first_slice_tells_what_a_unit_is() {
        let bare = Shape::Idr { has_parameter_sets: false };
        let cases: &[(Syntax, &[u8], Shape)] = &[
            (Syntax::H264, H264_IDR, Shape::Idr { has_parameter_sets: true }),
            (Syntax::H264, &[0, 0, 1, 0x41, 1, 0, 0, 1, 0x65, 1], Shape::Other),
            (Syntax::H264, &[0, 0, 1, 0x65, 1, 0, 0, 1, 0x67, 1], bare),
            (Syntax::H264, &[0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 1], Shape::Headers),
            (Syntax::Hevc, &[0, 0, 1, 0x26, 1], bare),
            (Syntax::Hevc, &[0, 0, 1, 0x28, 1], bare),
            (Syntax::Hevc, &[0, 0, 1, 0x2a, 1], Shape::Other), // CRA
            (Syntax::Hevc, &[0, 0, 1, 0x02, 1], Shape::Other),
            (Syntax::H264, &[0, 0, 1], Shape::Headers),
            (Syntax::H264, &[], Shape::Headers),
        ];

        for (syntax, unit, expected) in cases {
            assert_eq!(shape(unit, *syntax), *expected, "{unit:?}");
        }
    }

    /// Bytes that are mostly zeros and ones make many start codes, whole and broken.
    #[test]
    fn any_bytes_are_taken_and_what_is_stripped_stays_stripped() {
        let mut state = 1u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        for _ in 0..20_000 {
            let len = random() as usize % 40;
            let unit: Vec<u8> = (0..len)
                .map(|_| match random() % 8 {
                    0..4 => 0,
                    4 | 5 => 1,
                    6 => [6, 9, 0x4e, 0x46, 0x65][random() as usize % 5],
                    _ => random() as u8,
                })
                .collect();
            for syntax in [Syntax::H264, Syntax::Hevc] {
                let mut once = Vec::new();
                if strip(&unit, syntax, &mut once) {
                    assert!(once.len() < unit.len(), "{unit:?}");
                    assert!(!strip(&once, syntax, &mut Vec::new()), "{unit:?}");
                }
            }
        }
    }
}
