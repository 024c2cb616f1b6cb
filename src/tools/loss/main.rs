//! punktfunk-loss: what becomes of access units of punktfunk/1 when packets are lost, without a
//! network.
//!
//! Access units go through the host's end, a way that loses, repeats and disorders packets, and the
//! client's end. How many are lost is held to what theory says; a line for each shape and way.

#![forbid(unsafe_code)]

mod run;
mod theory;
mod way;

use std::io::{self, Write};
use std::process::ExitCode;

use argh::FromArgs;

use run::{Outcome, Shape, run};
use way::Way;

/// Data and parity shards of an access unit of one block.
const SHAPES: [Shape; 7] = [
    Shape { data_count: 8, parity_percent: 25 },
    Shape { data_count: 33, parity_percent: 20 },
    Shape { data_count: 163, parity_percent: 5 },
    Shape { data_count: 163, parity_percent: 20 },
    Shape { data_count: 407, parity_percent: 10 },
    Shape { data_count: 407, parity_percent: 20 },
    Shape { data_count: 1000, parity_percent: 20 },
];

/// Sweep losses over shapes of access units, and hold what is lost to theory. Exits with 1 if it is
/// more or less than chance explains.
#[derive(FromArgs, Debug)]
struct Arguments {
    /// access units for each line, 400 unless told
    #[argh(option, default = "400")]
    frames: u32,

    /// where random numbers begin, any but 0
    #[argh(option, default = "0x9e37_79b9_7f4a_7c15")]
    seed: u64,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    let mut out = io::stdout();
    // Whoever does not listen misses it.
    let _ = writeln!(out, "{}", Outcome::HEAD);
    let mut is_right = true;
    for shape in SHAPES {
        for way in Way::ALL {
            let outcome = run(shape, way, arguments.frames, arguments.seed.max(1));
            is_right &= outcome.is_likely();
            let _ = writeln!(out, "{outcome}");
        }
    }
    if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
