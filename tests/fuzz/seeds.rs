//! Writes the seeds of every parser below the folder that is named: NAME/seed-NUMBER.

#[path = "../parsers/mod.rs"]
mod parsers;

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(env::args_os().nth(1).expect("usage: seeds FOLDER"));
    for parser in &parsers::PARSERS {
        let folder = folder.join(parser.name);
        fs::create_dir_all(&folder)?;
        for (index, seed) in (parser.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{index}")), seed)?;
        }
    }
    Ok(())
}
