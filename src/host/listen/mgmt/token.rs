//! The file with the token that opens the management API over TCP.

#![forbid(unsafe_code)]

use std::path::Path;

use punktfunk_core::proto::hex;
use ring::rand::{SecureRandom, SystemRandom};

use super::front::Token;
use crate::state;

/// Bytes of randomness in a token.
const TOKEN_LEN: usize = 32;
/// Bytes of the file at most.
const FILE_LEN_MAX: usize = 4096;
/// Shortest token that an administrator may write there.
const TEXT_LEN_MIN: usize = 16;

/// Reads the token, after making one where there is none.
pub fn open(path: &Path) -> Result<Token, String> {
    let read = state::read_file(path, FILE_LEN_MAX, true).map_err(|error| error.to_string())?;
    let text = match read {
        Some(bytes) => String::from_utf8(bytes).unwrap_or_default(),
        None => make(path)?,
    };
    let token = text.trim();
    // Anything else cannot be said in a header.
    if token.len() < TEXT_LEN_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let path = path.display();
        return Err(format!("{path}: no token, one line of at least {TEXT_LEN_MIN} characters"));
    }
    Ok(Token::new(token))
}

fn make(path: &Path) -> Result<String, String> {
    let mut token = [0; TOKEN_LEN];
    let filled = SystemRandom::new().fill(&mut token);
    filled.map_err(|_| format!("{}: no random numbers", path.display()))?;
    let text = format!("{}\n", hex::emit(&token));
    state::write_file(path, text.as_bytes()).map_err(|error| error.to_string())?;
    log::info!("management: token made in {}", path.display());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::state::tests::Folder;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_may_read_it() {
        let folder = Folder::new();
        let path = folder.path().join("http_token");

        open(&path).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        open(&path).unwrap();
        let second = fs::read_to_string(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let refused = open(&path).unwrap_err();

        assert_eq!(first.trim().len(), 2 * TOKEN_LEN);
        assert_eq!((second, mode), (first, 0o600));
        assert!(refused.contains("mode 0640"), "{refused}");
    }

    #[test]
    fn a_token_that_is_easily_guessed_or_is_not_one_line_is_refused() {
        let folder = Folder::new();
        let path = folder.path().join("http_token");
        let two_lines = b"0123456789abcdef\n0123456789abcdef\n";
        for bytes in [&b""[..], b"\n", b"secret\n", b"123456789012345\n", &[0xff; 16], two_lines] {
            state::write_file(&path, bytes).unwrap();

            let refused = open(&path).unwrap_err();

            assert!(refused.ends_with("no token, one line of at least 16 characters"), "{refused}");
        }
    }
}
