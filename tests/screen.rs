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
#[allow(dead_code, reason = "the daemon uses the rest")]
#[path = "../src/host/turn.rs"]
mod turn;

use std::collections::HashSet;
use std::ffi::CStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use capture::screen::{Error, Screen};
use capture::{Memory, Next, PIXEL_LEN, Picture};
use punktfunk_core::net::bell::Bell;
use punktfunk_core::net::clock;
use punktfunk_core::net::shm::SharedMemory;
use serde_json::{Value, json};
use support::sway::{CARD_OUTPUT, OUTPUT, Shot, Sway};
use support::wayland::{self, Export, Step};
use support::{
    Daemon, Folder, PATIENCE, eventually, free_port, machine, need_encoders, output, paired_folder,
    python,
};

/// A desktop without a new picture for so long is one where nothing changes.
const QUIET_TIME: Duration = Duration::from_secs(1);

/// Of luma that stands out, in decibels: what is seen below that is not what the desktop shows. Of
/// text, the few frames that the machine with a graphics card encodes have 19.8 after the first with
/// 43; a picture without it has 9.
const PSNR_MIN: f64 = 15.0;

const MODE: &str = "1280x720@60Hz";

/// A screen and who uses it.
struct Viewer {
    screen: Screen,
    bell: Bell,
}

impl Viewer {
    fn open(sway: &Sway) -> Viewer {
        let screen = Screen::open(&sway.socket(), OUTPUT, Memory::Shared).unwrap();
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
        (has_text(&seen) && seen == shown).then_some(())
    });
}

/// Whether it shows more than a background and an empty window.
fn has_text(shot: &Shot) -> bool {
    let colours: HashSet<&[u8; 3]> = shot.pixels.as_chunks().0.iter().collect();
    colours.len() > 8
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
fn a_turned_output_is_seen_upright() {
    let mut sway = Sway::start_with(MODE, "output * transform 270");
    let mut viewer = Viewer::open(&sway);
    assert_eq!(viewer.screen.size(), (720, 1280));
    sway.run_in_terminal("seq 1000 2000; exec sleep 1000");
    wait_for_text(&mut viewer, &sway);

    for (transform, size) in [
        ("90", (720, 1280)),
        ("180", (1280, 720)),
        ("flipped", (1280, 720)),
        ("flipped-90", (720, 1280)),
        ("flipped-270", (720, 1280)),
        ("flipped-180", (1280, 720)),
        ("normal", (1280, 720)),
    ] {
        sway.message(&["output", OUTPUT, "transform", transform]);
        eventually("it is seen as grim sees it", || {
            while !matches!(viewer.next(QUIET_TIME), Ok(Next::Nothing)) {}
            let (seen, shown) = (sway.shot(), shot(&viewer.screen.last().unwrap()));
            let is_so = has_text(&seen) && (seen.width, seen.height) == size && seen == shown;
            is_so.then_some(())
        });
        assert_eq!(viewer.screen.size(), size);
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

    let no_output = Screen::open(&sway.socket(), "HDMI-A-1", Memory::Shared).unwrap_err();
    let no_socket =
        Screen::open(Path::new("/nonexistent/wayland-0"), OUTPUT, Memory::Shared).unwrap_err();
    let no_listener = Screen::open(&dead, OUTPUT, Memory::Shared).unwrap_err();

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
        Step::Turn(1),
        Step::Fill([13, 14, 15, 16]),
        Step::Turn(3),
        Step::Fill([17, 18, 19, 20]),
        Step::Stop,
    ];
    let server = wayland::serve(&socket, globals, (16, 16), steps);
    let screen = Screen::open(&socket, wayland::OUTPUT, Memory::Shared).unwrap();
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
    assert!(matches!(viewer.next(PATIENCE), Ok(Next::Resized)));
    assert_eq!(viewer.screen.size(), (20, 31));
    assert!(viewer.screen.last().is_none());
    viewer.expect((20, 31), [15, 14, 13, 16]);
    viewer.expect((20, 31), [19, 18, 17, 20]);
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

        let error = Screen::open(&socket, wayland::OUTPUT, Memory::Shared).unwrap_err();

        assert_eq!(error.to_string(), expected);
        server.join().unwrap();
    }
}

/// All that a compositor of the script may serve.
const GLOBALS: &[&str] = &[
    "wl_shm",
    "wl_output",
    "ext_image_copy_capture_manager_v1",
    "ext_output_image_capture_source_manager_v1",
    "zwlr_export_dmabuf_manager_v1",
    "zwp_linux_dmabuf_v1",
];
const XR24: u32 = u32::from_le_bytes(*b"XR24");

/// Memory full of one pixel, which stands for a DMA-BUF: it is mapped and cannot become shorter.
fn memory(name: &CStr, pixel: [u8; 4], len: usize) -> Arc<File> {
    let mut memory = SharedMemory::new(name, len).unwrap();
    memory.bytes_mut().as_chunks_mut().0.fill(pixel);
    Arc::new(memory.as_fd().try_clone_to_owned().unwrap().into())
}

/// A whole frame of one pixel, rows of 16 bytes more than they need.
fn exported(pixel: [u8; 4], width: u32, height: u32) -> Export {
    let stride = width * 4 + 16;
    let len = stride * height;
    Export {
        head: Some([width, height, 0, 0, 0, 1, XR24, 0, 0, 1]),
        objects: vec![(memory(c"test", pixel, len as usize), [0, len, 0, stride, 0])],
        is_ready: true,
        cancel: None,
    }
}

/// A viewer of a compositor that does this, and what its pictures are in.
fn export_viewer(
    folder: &Folder,
    globals: &'static [&'static str],
    steps: Vec<Step>,
) -> (Viewer, String) {
    let socket = folder.path().join("wayland");
    let _ = fs::remove_file(&socket);
    // It ends when the viewer does.
    drop(wayland::serve(&socket, globals, (16, 16), steps));
    let mut screen = Screen::open(&socket, wayland::OUTPUT, Memory::DmaBuf).unwrap();
    let news = screen.take_news().unwrap();
    (Viewer { screen, bell: Bell::new().unwrap() }, news)
}

impl Viewer {
    /// The next picture is of this size and all of this pixel.
    #[track_caller]
    fn expect(&mut self, size: (usize, usize), pixel: [u8; 4]) {
        let (picture, _) = self.picture();
        assert_eq!((picture.width, picture.height), size);
        let mut rows = (0..picture.height).map(|y| picture.row(y));
        assert!(rows.all(|row| row.as_chunks().0.iter().all(|it| *it == pixel)));
    }
}

#[test]
fn exported_frames_are_pictures_when_they_differ() {
    let folder = Folder::new();
    let cancelled = |reason| {
        // In the middle of what is said.
        let whole = exported([9; 4], 16, 16);
        Step::Export(Export { is_ready: false, cancel: Some(reason), ..whole })
    };
    let steps = vec![
        Step::Export(exported([1, 2, 3, 4], 16, 16)),
        Step::Export(exported([1, 2, 3, 4], 16, 16)),
        cancelled(0),
        Step::Export(exported([5, 6, 7, 8], 16, 16)),
        cancelled(2),
        Step::Export(exported([5, 6, 7, 8], 31, 20)),
        Step::Export(exported([9, 10, 11, 12], 31, 20)),
    ];
    let (mut viewer, news) = export_viewer(&folder, GLOBALS, steps);

    assert_eq!(news, "pictures in DMA-BUFs, XR24, 80 bytes a row, copied");
    assert_eq!(viewer.screen.size(), (16, 16));
    assert!(viewer.screen.last().is_none());
    viewer.expect((16, 16), [1, 2, 3, 4]);
    viewer.expect((16, 16), [5, 6, 7, 8]);
    assert!(matches!(viewer.next(PATIENCE), Ok(Next::Resized)));
    assert_eq!(viewer.screen.size(), (31, 20));
    assert!(viewer.screen.last().is_none());
    viewer.expect((31, 20), [5, 6, 7, 8]);
    viewer.expect((31, 20), [9, 10, 11, 12]);
    assert!(matches!(viewer.next(QUIET_TIME), Ok(Next::Nothing)));
    assert_eq!(viewer.screen.last().unwrap().row(19)[120..], [9, 10, 11, 12]);
    assert_eq!(viewer.screen.take_news(), None);
}

#[test]
fn shared_memory_takes_the_place_of_frames_that_cannot_be_read() {
    type Change = fn(&mut Export);
    let table: [(Change, &str); 9] = [
        (|it| it.cancel = it.is_ready.then_some(1), "refused by the compositor"),
        (|it| it.head = None, "fault of the compositor: an object of no frame"),
        (|it| it.objects.clear(), "fault of the compositor: a frame without its objects"),
        (|it| it.objects[0].1[0] = 1, "fault of the compositor: an object of no frame"),
        (
            |it| it.objects[0].1[3] = 63,
            "fault of the compositor: rows that are longer than from one to the next",
        ),
        // It says that all is there, and it is not.
        (
            |it| it.objects[0].0 = memory(c"test", [1; 4], 1000),
            "not readable: no more than 1000 bytes",
        ),
        (
            |it| it.objects[0].0 = Arc::new(File::open("/proc/self/exe").unwrap()),
            "not readable: neither a DMA-BUF nor memory of fixed length",
        ),
        (
            |it| it.head = it.head.map(|head| [16, 16, 0, 0, 0, 1, head[6], 1, 2, 1]),
            "not linear but modifier 0x100000002",
        ),
        (
            |it| it.head = it.head.map(|_| [16, 16, 0, 0, 0, 1, 7, 0, 0, 1]),
            "unknown pixel format 0x7",
        ),
    ];
    for (change, expected) in table {
        let folder = Folder::new();
        let mut export = exported([9; 4], 16, 16);
        change(&mut export);
        export.is_ready &= export.cancel.is_none();
        let steps = vec![Step::Export(export), Step::Fill([3, 2, 1, 4])];

        let (mut viewer, news) = export_viewer(&folder, GLOBALS, steps);

        assert_eq!(news, format!("pictures in shared memory, not in DMA-BUFs: {expected}"));
        viewer.expect((16, 16), [1, 2, 3, 4]);
    }
    // Which order a driver has by itself is known where no driver draws.
    for (globals, expected) in [
        (GLOBALS, "not in DMA-BUFs: in an order that only the driver knows"),
        (&GLOBALS[..5], "in DMA-BUFs, XR24, 80 bytes a row, copied"),
    ] {
        let folder = Folder::new();
        let mut export = exported([1, 2, 3, 4], 16, 16);
        export.head = Some([16, 16, 0, 0, 0, 1, XR24, 0x00ff_ffff, 0xffff_ffff, 1]);
        let steps = vec![Step::Export(export), Step::Fill([3, 2, 1, 4])];
        let (mut viewer, news) = export_viewer(&folder, globals, steps);
        assert!(news.ends_with(expected), "{news}");
        viewer.expect((16, 16), [1, 2, 3, 4]);
    }
    let folder = Folder::new();
    let steps = vec![Step::Fill([3, 2, 1, 4])];
    let (mut viewer, news) = export_viewer(&folder, &GLOBALS[..4], steps);
    let why = "compositor without zwlr_export_dmabuf_manager_v1";
    assert_eq!(news, format!("pictures in shared memory, not in DMA-BUFs: {why}"));
    viewer.expect((16, 16), [1, 2, 3, 4]);
}

#[test]
fn pictures_go_on_in_shared_memory_when_frames_are_not_exported_any_more() {
    let folder = Folder::new();
    let steps = vec![
        Step::Export(exported([1, 2, 3, 4], 16, 16)),
        Step::Export(Export { cancel: Some(1), ..Export::default() }),
        Step::Fill([7, 6, 5, 8]),
    ];
    let (mut viewer, _) = export_viewer(&folder, GLOBALS, steps);

    viewer.expect((16, 16), [1, 2, 3, 4]);
    viewer.expect((16, 16), [5, 6, 7, 8]);

    let news = viewer.screen.take_news().unwrap();
    assert_eq!(news, "pictures in shared memory, not in DMA-BUFs: refused by the compositor");
    // As before, but of another size.
    let steps = vec![
        Step::Export(exported([1, 2, 3, 4], 20, 20)),
        Step::Export(Export { cancel: Some(1), ..Export::default() }),
        Step::Fill([7, 6, 5, 8]),
    ];
    let (mut viewer, _) = export_viewer(&folder, GLOBALS, steps);
    viewer.expect((20, 20), [1, 2, 3, 4]);
    assert!(matches!(viewer.next(PATIENCE), Ok(Next::Resized)));
    viewer.expect((16, 16), [5, 6, 7, 8]);
}

/// Descriptors of this process that stand for files of which the name has these words.
fn descriptor_count(words: &str) -> usize {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().contains(words)).count()
}

#[test]
fn descriptors_of_frames_are_closed_whatever_becomes_of_them() {
    let name = "frames-of-a-long-session";
    let memories = [[1; 4], [2; 4]].map(|pixel| memory(c"frames-of-a-long-session", pixel, 1280));
    let folder = Folder::new();
    let mut steps = Vec::new();
    for round in 0..400 {
        let object = |index| (Arc::clone(&memories[round % 2]), [index, 1280, 0, 80, 0]);
        let head = |count| Some([16, 16, 0, 0, 0, 1, XR24, 0, 0, count]);
        if round % 20 == 19 {
            let objects = (0..3).map(object).collect();
            let cancel = Some(0);
            steps.push(Step::Export(Export { head: head(4), objects, is_ready: false, cancel }));
        }
        let objects = vec![object(0)];
        steps.push(Step::Export(Export { head: head(1), objects, is_ready: true, cancel: None }));
    }
    // One that cannot be, and goes on after that is seen.
    let object = |index| (Arc::clone(&memories[0]), [index, 1280, 0, 80, 0]);
    let objects = [0, 0, 1, 2, 3].map(object).to_vec();
    let head = Some([16, 16, 0, 0, 0, 1, XR24, 0, 0, 1]);
    steps.push(Step::Export(Export { head, objects, is_ready: true, cancel: None }));
    steps.push(Step::Fill([9; 4]));
    let (mut viewer, _) = export_viewer(&folder, GLOBALS, steps);

    let mut count_max = 0;
    for pixel in [1, 2].into_iter().cycle().take(400) {
        viewer.expect((16, 16), [pixel; 4]);
        count_max = count_max.max(descriptor_count(name));
    }
    viewer.expect((16, 16), [9; 4]);
    let said = viewer.screen.take_news().unwrap();

    // Two are the compositor's; what it has sent of the next frame may be on its way.
    assert!(count_max <= 2 + 4, "{count_max}");
    assert!(said.ends_with("fault of the compositor: an object twice"), "{said}");
    eventually("all are closed", || (descriptor_count(name) == 2).then_some(()));
}

#[test]
fn in_a_machine_with_a_graphics_card_frames_are_exported() {
    need_encoders();
    machine::run_ignored();
}

#[test]
#[ignore = "for the machine of its own: it takes the graphics card"]
fn frames_of_a_graphics_card_are_what_grim_sees_to_the_last_pixel() {
    let mut sway = Sway::start_on_card();
    let mut screen = Screen::open(&sway.socket(), CARD_OUTPUT, Memory::DmaBuf).unwrap();
    let news = screen.take_news().unwrap();
    let mut viewer = Viewer { screen, bell: Bell::new().unwrap() };
    assert_eq!(news, "pictures in DMA-BUFs, XR24, 5120 bytes a row, copied");
    assert_eq!(viewer.screen.size(), (1280, 800));

    viewer.settle();
    let before = hash(&viewer.screen.last().unwrap());
    let descriptor_count_before = descriptor_count("");
    sway.run_in_terminal("seq 1000 2000; exec sleep 1000");

    wait_for_text(&mut viewer, &sway);
    assert_ne!(hash(&viewer.screen.last().unwrap()), before);
    assert!(matches!(viewer.next(QUIET_TIME), Ok(Next::Nothing)));
    sway.message(&["output", CARD_OUTPUT, "mode", "1024x768"]);
    let resized = eventually("the size changes", || match viewer.next(PATIENCE) {
        Ok(Next::Picture(..)) => None,
        Ok(Next::Resized) => Some(true),
        other => panic!("{other:?}"),
    });
    assert!(resized && viewer.screen.size() == (1024, 768));
    wait_for_text(&mut viewer, &sway);
    assert_eq!(descriptor_count("/dmabuf"), 0);
    assert_eq!(descriptor_count(""), descriptor_count_before);
    assert_eq!(viewer.screen.take_news(), None);
}

#[test]
#[ignore = "for the machine of its own: it takes the graphics card"]
fn a_client_sees_frames_of_a_graphics_card() {
    let mut sway = Sway::start_on_card();
    sway.run_in_terminal("seq 1000 2000; exec sleep 1000");
    eventually("there is text", || has_text(&sway.shot()).then_some(()));
    let conf = format!("Display mirror {CARD_OUTPUT}\nCaptureBuffers dmabuf");
    let daemon = Daemon::begin(paired_folder(&["p-256"]), free_port(), &conf, |command| {
        command.env("XDG_RUNTIME_DIR", sway.run());
    });
    daemon.wait_ready();
    daemon.wait_log("encoders: h264: software");
    let [record, seen] = ["record", "shot"].map(|name| daemon.folder().path().join(name));

    let stream = python()
        .args(["tests/moonlight/stream.py", "--host", "127.0.0.1", "--http-port"])
        .arg(daemon.port.to_string())
        .arg("--identity")
        .arg(daemon.folder().identity("p-256"))
        .args(["--seconds", "4", "--record", record.to_str().unwrap()])
        .output()
        .unwrap();

    let report: Value = serde_json::from_slice(&stream.stdout).unwrap();
    assert_eq!(report["error"], Value::Null, "{report}");
    assert_eq!(report["video"]["pictures"]["size"], json!([1280, 800]));
    fs::write(&seen, sway.shot_file(CARD_OUTPUT)).unwrap();
    let psnr = output(python().arg("tests/moonlight/compare.py").args([&record, &seen]));
    let psnr: f64 = String::from_utf8(psnr.stdout).unwrap().trim().parse().unwrap();
    assert!(psnr > PSNR_MIN, "{psnr} dB");
    daemon.wait_log("session 1: pictures in DMA-BUFs, XR24, 5120 bytes a row, copied");
}
