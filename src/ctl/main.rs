//! punktfunkctl: asks a running punktfunkd, and prints what it answers.

#![forbid(unsafe_code)]

mod arguments;
mod call;
mod print;
mod verb;

use std::path::PathBuf;
use std::process::ExitCode;

use arguments::{Arguments, EarlyExit};
use call::{Exit, Failure};
use serde_json::{Value, json};

/// Where the control socket of a daemon for the whole machine lies.
const SYSTEM_SOCKET: &str = "/run/punktfunk/control";
/// The version of what `--json` prints.
const ENVELOPE_VERSION: u32 = 1;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(EarlyExit { output, is_help: true }) => {
            println!("{output}");
            return ExitCode::SUCCESS;
        }
        Err(EarlyExit { output, is_help: false }) => {
            eprintln!("punktfunkctl: {output}");
            return ExitCode::from(Exit::Usage as u8);
        }
    };
    let Some(verb) = &arguments.verb else {
        println!("punktfunkctl {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    };
    let sockets = match arguments.socket {
        Some(socket) => vec![PathBuf::from(socket)],
        None => default_sockets(),
    };
    match verb::run(verb, &sockets) {
        Ok(data) if arguments.json => {
            println!("{}", json!({ "version": ENVELOPE_VERSION, "ok": true, "data": data }));
            ExitCode::SUCCESS
        }
        Ok(data) => {
            print!("{}", print::text(verb, &data));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            if arguments.json {
                println!("{}", envelope(&failure));
            } else {
                eprint!("{}", print::failure(&failure));
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn envelope(failure: &Failure) -> Value {
    let Failure { code, message, details, .. } = failure;
    let error = json!({ "code": code, "message": message, "details": details });
    json!({ "version": ENVELOPE_VERSION, "ok": false, "error": error })
}

/// The machine's daemon, then the user's own.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn default_sockets() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    let users = runtime.map(|path| PathBuf::from(path).join("punktfunk/control"));
    std::iter::once(PathBuf::from(SYSTEM_SOCKET)).chain(users).collect()
}
