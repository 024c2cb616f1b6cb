//! Bytes that Moonlight's own code makes, for every back end.

use fec8::{Backend, Code, Error};

/// The codes of every back end that this machine has.
fn codes(code: Code) -> impl Iterator<Item = Code> {
    Backend::ALL.into_iter().filter_map(move |backend| code.with_backend(backend).ok())
}

/// Lines of hexadecimal digits.
fn bytes(lines: &str) -> Vec<Vec<u8>> {
    let byte = |line: &str, at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
    lines
        .split_whitespace()
        .map(|line| (0..line.len()).step_by(2).map(|at| byte(line, at)).collect())
        .collect()
}

fn parity_of(code: Code, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut parity = vec![vec![0xEE; data[0].len()]; code.parity_count()];
    code.protect(data, &mut parity).unwrap();
    parity
}

/// What the parity takes each data shard times, by columns: the parity of a 1 in one place.
fn columns_of(code: Code) -> Vec<Vec<u8>> {
    (0..code.data_count())
        .map(|column| {
            let data: Vec<Vec<u8>> =
                (0..code.data_count()).map(|index| vec![u8::from(index == column)]).collect();
            parity_of(code, &data).concat()
        })
        .collect()
}

#[test]
fn the_matrix_of_video_is_moonlights() {
    let cases: &[(usize, usize, &str)] = &[
        (1, 2, "8ef4"),
        (2, 2, "8ef4 f48e"),
        (3, 2, "8ef4 f48e 47a7"),
        (4, 2, "8ef4 f48e 47a7 a747"),
    ];

    for &(k, m, columns) in cases {
        for code in codes(Code::video(k, m).unwrap()) {
            assert_eq!(columns_of(code), bytes(columns), "{k}+{m} {}", code.backend());
        }
    }
}

#[test]
fn the_parity_of_video_is_moonlights() {
    let cases: &[(usize, usize, usize, &str)] = &[
        (2, 1, 4, "10843b8d"),
        (1, 2, 4, "8c088313 03fb09e9"),
        (3, 2, 4, "bb831636 a77dc30b"),
        (4, 2, 8, "54c96dec53e09d4f baab6f690bc5d42b"),
        (10, 2, 16, "7c254428ae5ceb9177901f97d3caaa21 dfa85434cdbe302cdebcf19daa6581c5"),
    ];

    for &(k, m, len, parity) in cases {
        let data: Vec<Vec<u8>> =
            (0..k).map(|i| (0..len).map(|b| (37 * i + 11 * b + 5) as u8).collect()).collect();
        for code in codes(Code::video(k, m).unwrap()) {
            assert_eq!(parity_of(code, &data), bytes(parity), "{k}+{m} {}", code.backend());
        }
    }
}

#[test]
fn the_shards_of_a_whole_frame_are_protected() {
    let data = bytes(
        "0000000000000000000000000000000005001000\
         00000000010c0002050000000000000165666768 \
         0000000000000000000000000001000001001000\
         00000000696a6b6c6d6e6f707172737475767778 \
         0000000000000000000000000002000003001000\
         00000000797a7b7c7d0000000000000000000000",
    );

    let parity = parity_of(Code::video(3, 2).unwrap(), &data);

    // The header of a datagram overwrites some bytes of the first 24, but not these.
    assert_eq!(parity[0][16..20], [0xB1, 0, 0xF7, 0]);
    assert_eq!(parity[1][16..20], [0x79, 0, 0x51, 0]);
    let payloads = [parity[0][24..].to_vec(), parity[1][24..].to_vec()];
    assert_eq!(
        payloads.to_vec(),
        bytes("f0b0053a04d125db2f2edaa264ea901c f17a577da237b938b639b7ce971963ef")
    );
}

#[test]
fn the_parity_of_audio_is_moonlights() {
    let data = bytes("00010203 10111213 aabbccdd fffefdfc");

    for code in codes(Code::audio()) {
        assert_eq!(columns_of(code), bytes("77c7 40a7 380d 0e6c"), "{}", code.backend());
        assert_eq!(parity_of(code, &data), bytes("48ee5ff9 74a59849"), "{}", code.backend());
    }
}

#[test]
fn a_back_end_that_is_missing_is_refused() {
    for backend in Backend::ALL {
        let code = Code::audio().with_backend(backend);

        match backend.is_available() {
            true => assert_eq!(code.unwrap().backend(), backend),
            false => assert_eq!(code, Err(Error::Backend(backend))),
        }
    }
}
