//! punktfunk-bench: what the data plane of punktfunk/1 carries, and what each stage of it costs.
//!
//! One process sends and one receives, on two machines or in two network namespaces. Both print one
//! line at the end, which says what became of everything that was sent. A third kind times the
//! stages of both ends on one core.

#![forbid(unsafe_code)]

mod arguments;
mod core;
mod pattern;
mod receive;
mod send;
mod spread;

use std::io::{self, Write};
use std::process::ExitCode;

use arguments::{Arguments, EarlyExit, Verb};

/// The command line is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(EarlyExit { output, is_help: true }) => {
            say(&mut io::stdout(), &output);
            return ExitCode::SUCCESS;
        }
        Err(EarlyExit { output, is_help: false }) => {
            say(&mut io::stderr(), &format!("punktfunk-bench: {output}"));
            return ExitCode::from(USAGE);
        }
    };
    let line = match &arguments.verb {
        Verb::Core(core) => core::run(core),
        Verb::Receive(receive) => receive::run(receive),
        Verb::Send(send) => send::run(send),
    };
    match line {
        Ok(line) => {
            say(&mut io::stdout(), &line);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&mut io::stderr(), &format!("punktfunk-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Whoever does not listen misses it.
fn say(stream: &mut impl Write, text: &str) {
    let _ = writeln!(stream, "{text}");
}
