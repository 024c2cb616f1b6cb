//! punktfunkctl: asks a running punktfunkd, and prints what it answers.

#![forbid(unsafe_code)]

mod arguments;
mod call;
mod doctor;
mod print;
mod stays;
mod verb;

use std::io::{self, Write};
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
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(EarlyExit { output, is_help: true }) => {
            tell(&mut io::stdout(), &format!("{output}\n"));
            return ExitCode::SUCCESS;
        }
        Err(EarlyExit { output, is_help: false }) => {
            tell(&mut io::stderr(), &format!("punktfunkctl: {output}\n"));
            return ExitCode::from(Exit::Usage as u8);
        }
    };
    let Some(verb) = &arguments.verb else {
        tell(&mut io::stdout(), concat!("punktfunkctl ", env!("CARGO_PKG_VERSION"), "\n"));
        return ExitCode::SUCCESS;
    };
    let sockets = match arguments.socket {
        Some(socket) => vec![PathBuf::from(socket)],
        None => default_sockets(),
    };
    match verb::run(verb, &sockets) {
        Ok(data) => {
            let text = match arguments.json {
                true => format!("{}\n", success(&data)),
                false => print::text(verb, &data),
            };
            tell(&mut io::stdout(), &text);
            verb::exit(verb, &data).map_or(ExitCode::SUCCESS, |exit| ExitCode::from(exit as u8))
        }
        Err(failure) => {
            match arguments.json {
                true => tell(&mut io::stdout(), &format!("{}\n", refusal(&failure))),
                false => tell(&mut io::stderr(), &print::failure(&failure)),
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Writes what is to be read. Whoever has stopped reading does not want to know more.
fn tell(stream: &mut dyn Write, text: &str) {
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

fn success(data: &Value) -> Value {
    json!({ "version": ENVELOPE_VERSION, "ok": true, "data": data })
}

fn refusal(failure: &Failure) -> Value {
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
