//! Pictures of a real compositor's output.

#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/capture/mod.rs"]
mod capture;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/convert.rs"]
mod convert;
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/picture.rs"]
mod picture;
mod support;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use capture::screen::{Error, Screen};
use capture::{Next, PIXEL_LEN, Picture};
use punktfunk_core::net::bell::Bell;
use punktfunk_core::net::clock;
use support::sway::{OUTPUT, Shot, Sway};
use support::wayland::{self, Step};
use support::{Folder, PATIENCE, eventually};

/// A desktop without a new picture for so long is one where nothing changes.
const QUIET_TIME: Duration = Duration::from_secs(1);

const MODE: &str = "1280x720@60Hz";

/// A screen and who uses it.
struct Viewer {
    screen: Screen,
    bell: Bell,
}

impl Viewer {
    fn open(sway: &Sway) -> Viewer {
        let screen = Screen::open(&sway.socket(), OUTPUT).unwrap();
        Viewer { screen, bell: Bell::new().unwrap() }
    }

    fn next(&mut self, time: Duration) -> Result<Next<'_>, Error> {
        self.screen.next(&self.bell, || false, clock::now() + time)
    }

    /// The next picture, and when it was shown.
    #[track_caller]
    fn picture(&mut self) -> (Picture<'_>, Instant) {
        match self.next(PATIENCE) {
            Ok(Next::Picture(picture, captured)) => (picture, captured),
            other => panic!("{other:?}"),
        }
    }

    /// Takes pictures until there are no more. Returns how many there were.
    fn settle(&mut self) -> usize {
        let mut count = 0;
        loop {
            match self.next(QUIET_TIME) {
                Ok(Next::Picture(..)) => count += 1,
                Ok(Next::Nothing) => return count,
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A picture as grim would have it.
fn shot(picture: &Picture<'_>) -> Shot {
    let mut pixels = Vec::new();
    for y in 0..picture.height {
        for pixel in picture.row(y).as_chunks::<PIXEL_LEN>().0 {
            pixels.extend([pixel[2], pixel[1], pixel[0]]);
        }
    }
    Shot { width: picture.width, height: picture.height, pixels }
}

fn hash(picture: &Picture<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (0..picture.height).for_each(|y| picture.row(y).hash(&mut hasher));
    hasher.finish()
}

/// Waits until the newest picture is what grim sees and shows more than a background.
#[track_caller]
fn wait_for_text(viewer: &mut Viewer, sway: &Sway) {
    eventually("the picture is what grim sees", || {
        viewer.settle();
        let seen = sway.shot();
        let shown = shot(&viewer.screen.last().unwrap());
        let colours: HashSet<&[u8; 3]> = seen.pixels.as_chunks().0.iter().collect();
        (colours.len() > 8 && seen == shown).then_some(())
    });
}

#[test]
fn a_picture_is_what_grim_sees_to_the_last_pixel() {
    let mut sway = Sway::start(MODE);
    let mut viewer = Viewer::open(&sway);
    sway.run_in_terminal("seq 1000 2000; exec sleep 1000");

    wait_for_text(&mut viewer, &sway);

    let picture = viewer.screen.last().unwrap();
    assert_eq!((picture.width, picture.height), viewer.screen.size());
    assert_eq!(picture.bytes.len(), picture.stride * picture.height);
    assert_eq!(viewer.screen.size(), (1280, 720));
}

#[test]
fn an_idle_desktop_gives_one_picture_and_a_change_another() {
    let mut sway = Sway::start(MODE);
    Viewer::open(&sway).settle();
    let mut viewer = Viewer::open(&sway);

    let first = hash(&viewer.picture().0);
    assert!(matches!(viewer.next(QUIET_TIME), Ok(Next::Nothing)));
    assert_eq!(viewer.screen.last().map(|last| hash(&last)), Some(first));
    let before = clock::now();
    sway.run_in_terminal("exec sleep 1000");

    // A window may be there before anything is drawn in it.
    let captured = eventually("the picture changes", || {
        let (picture, captured) = viewer.picture();
        (hash(&picture) != first).then_some(captured)
    });
    assert!((before..clock::now()).contains(&captured), "{:?}", clock::now() - captured);
}

#[test]
fn what_moves_is_seen_in_every_frame() {
    let mut sway = Sway::start(MODE);
    let mut viewer = Viewer::open(&sway);
    sway.run_in_terminal("while sleep 0.01; do echo $((count += 1)) $count $count; done");

    let mut times = vec![viewer.picture().1];
    let mut seen = HashSet::new();
    while seen.len() < 60 {
        let (picture, captured) = viewer.picture();
        seen.insert(hash(&picture));
        times.push(captured);
    }

    assert!(times.is_sorted_by(|earlier, later| earlier < later));
}

#[test]
fn another_mode_makes_pictures_of_another_size() {
    let sway = Sway::start(MODE);
    let mut viewer = Viewer::open(&sway);
    viewer.settle();

    for (mode, size) in [("1600x900@60Hz", (1600, 900)), ("1024x600@75Hz", (1024, 600))] {
        sway.message(&["output", OUTPUT, "mode", "--custom", mode]);
        let resized = eventually("the size changes", || match viewer.next(PATIENCE) {
            Ok(Next::Picture(..)) => None,
            Ok(Next::Resized) => Some(true),
            other => panic!("{other:?}"),
        });
        assert!(resized && viewer.screen.last().is_none());

        let (picture, _) = viewer.picture();

        assert_eq!((picture.width, picture.height), size);
        assert_eq!(viewer.screen.size(), size);
        viewer.settle();
        assert!(shot(&viewer.screen.last().unwrap()) == sway.shot(), "{mode}");
    }
}

#[test]
fn other_work_ends_the_wait() {
    let sway = Sway::start(MODE);
    let mut viewer = Viewer::open(&sway);
    viewer.settle();

    let far = clock::now() + PATIENCE * 10;
    let next = viewer.screen.next(&viewer.bell, || true, far);

    assert!(matches!(next, Ok(Next::Nothing)), "{next:?}");
}

#[test]
fn a_compositor_that_is_killed_is_an_error() {
    let mut sway = Sway::start(MODE);
    let mut viewer = Viewer::open(&sway);
    viewer.settle();

    sway.kill();
    let error = viewer.next(PATIENCE).unwrap_err();

    assert!(matches!(error, Error::Gone(_)), "{error}");
    assert!(error.to_string().starts_with("compositor gone: "), "{error}");
}

#[test]
fn what_is_not_there_is_named() {
    let sway = Sway::start(MODE);
    let folder = Folder::new();
    let dead = folder.path().join("dead");
    drop(UnixListener::bind(&dead).unwrap());

    let no_output = Screen::open(&sway.socket(), "HDMI-A-1").unwrap_err();
    let no_socket = Screen::open(Path::new("/nonexistent/wayland-0"), OUTPUT).unwrap_err();
    let no_listener = Screen::open(&dead, OUTPUT).unwrap_err();

    assert_eq!(no_output.to_string(), "no output HDMI-A-1, only HEADLESS-1");
    assert!(matches!(no_socket, Error::Connect(_)), "{no_socket}");
    assert!(matches!(no_listener, Error::Connect(_)), "{no_listener}");
}

#[test]
fn the_newer_protocol_gives_pictures_of_any_size_until_the_output_ends() {
    let globals = &[
        "wl_shm",
        "wl_output",
        "zwlr_screencopy_manager_v1",
        "ext_image_copy_capture_manager_v1",
        "ext_output_image_capture_source_manager_v1",
    ];
    let folder = Folder::new();
    let socket = folder.path().join("wayland");
    let steps = vec![
        Step::Fill([1, 2, 3, 4]),
        Step::Fill([5, 6, 7, 8]),
        Step::Resize(31, 20),
        Step::Fill([9, 10, 11, 12]),
        Step::Stop,
    ];
    let server = wayland::serve(&socket, globals, (16, 16), steps);
    let screen = Screen::open(&socket, wayland::OUTPUT).unwrap();
    let mut viewer = Viewer { screen, bell: Bell::new().unwrap() };

    // Red comes first in these buffers, blue in pictures.
    assert_eq!(viewer.screen.size(), (16, 16));
    assert!(viewer.picture().0.bytes.as_chunks().0.iter().all(|it| *it == [3, 2, 1, 4]));
    assert!(viewer.picture().0.bytes.as_chunks().0.iter().all(|it| *it == [7, 6, 5, 8]));
    assert!(matches!(viewer.next(PATIENCE), Ok(Next::Resized)));
    assert_eq!(viewer.screen.size(), (31, 20));
    let (picture, _) = viewer.picture();
    assert_eq!((picture.width, picture.height, picture.stride), (31, 20, 124));
    assert!(picture.bytes.as_chunks().0.iter().all(|it| *it == [11, 10, 9, 12]));
    assert!(matches!(viewer.next(PATIENCE), Err(Error::OutputGone)));

    drop(viewer);
    server.join().unwrap();
}

#[test]
fn what_a_compositor_does_not_serve_is_named() {
    let table: [(&'static [&'static str], &str); 3] = [
        (&["wl_output"], "compositor without wl_shm"),
        (
            &["wl_output", "wl_shm", "zwlr_screencopy_manager_v1"],
            "compositor without ext_image_copy_capture_manager_v1 or \
             zwlr_screencopy_manager_v1 version 3",
        ),
        (&["wl_shm"], "no output SCRIPT-1, nor any other"),
    ];
    for (globals, expected) in table {
        let folder = Folder::new();
        let socket = folder.path().join("wayland");
        let server = wayland::serve(&socket, globals, (16, 16), Vec::new());

        let error = Screen::open(&socket, wayland::OUTPUT).unwrap_err();

        assert_eq!(error.to_string(), expected);
        server.join().unwrap();
    }
}
