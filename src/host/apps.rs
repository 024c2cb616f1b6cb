//! What can be launched, as clients see it.

#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use punktfunk_core::proto::gamestream::http::{AppEntry, app_ids};

use crate::{conf, display};

/// Box art larger than this is not read: every connection may ask for one.
const IMAGE_LEN_MAX: u64 = 1024 * 1024;

/// One entry of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// 1 to 2^31 - 1, the same after every start.
    pub id: u32,
    /// What people read.
    pub title: String,
    /// What runs, and around it; what the configuration says for all apps is not in it.
    pub program: display::App,
    /// A picture file for it.
    pub image: Option<PathBuf>,
    /// Whether clients do not see it.
    pub is_hidden: bool,
}

/// All apps, in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Apps {
    apps: Vec<App>,
}

impl Apps {
    /// The apps of a configuration.
    pub fn new(apps: &[conf::App]) -> Apps {
        let titles: Vec<&str> = apps.iter().map(|app| app.title.as_str()).collect();
        let apps = apps
            .iter()
            .zip(app_ids(&titles))
            .map(|(app, id)| App {
                id,
                title: app.title.clone(),
                program: program(app),
                image: app.image.clone(),
                is_hidden: app.hidden,
            })
            .collect();
        Apps { apps }
    }

    /// All of them.
    pub fn all(&self) -> &[App] {
        &self.apps
    }

    /// The one with that id, if clients see it.
    pub fn visible(&self, id: u32) -> Option<&App> {
        self.apps.iter().find(|app| app.id == id && !app.is_hidden)
    }

    /// What people call the one with that id.
    pub fn title(&self, id: u32) -> Option<&str> {
        self.get(id).map(|app| app.title.as_str())
    }

    /// The one with that id.
    pub fn get(&self, id: u32) -> Option<&App> {
        self.apps.iter().find(|app| app.id == id)
    }

    /// What clients see.
    pub fn entries(&self) -> Vec<AppEntry> {
        let visible = self.apps.iter().filter(|app| !app.is_hidden);
        visible.map(|app| AppEntry { id: app.id, title: app.title.clone(), hdr: false }).collect()
    }
}

/// What an app of the configuration runs.
fn program(app: &conf::App) -> display::App {
    let variables = app.environment.iter().flatten();
    display::App {
        argv: app.command.iter().map(Into::into).collect(),
        steps: display::Step::pair(&app.prepare, &app.undo),
        directory: app.working_directory.clone(),
        variables: variables.map(|(name, value)| (name.into(), value.into())).collect(),
        exit_time: app.exit_timeout,
        ends_session: app.end_on_exit,
        ..display::App::default()
    }
}

/// Reads box art. Blocks.
pub fn read_image(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe that nobody writes to must not be waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(IMAGE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > IMAGE_LEN_MAX {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    Ok(bytes)
}

/// The media type of a picture, by its first bytes.
pub fn image_type(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::state::tests::Folder;

    #[test]
    fn a_pipe_is_no_picture_and_is_not_waited_for() {
        let folder = Folder::new();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());

        for path in [pipe.as_path(), folder.path()] {
            let error = read_image(path).unwrap_err().to_string();
            assert_eq!(error, "not a regular file");
        }
    }
}
