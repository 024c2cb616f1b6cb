//! SDL, which most games read gamepads with, as far as a test asks it something.

#![allow(unsafe_code, reason = "SDL is a C library")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;
use std::path::Path;

use punktfunk_core::net::library::Library;

const INIT_GAMECONTROLLER: u32 = 0x2000;
/// `SDL_GameControllerButton`, in its order.
pub const BUTTONS: [&str; 15] = [
    "a",
    "b",
    "x",
    "y",
    "back",
    "guide",
    "start",
    "leftstick",
    "rightstick",
    "leftshoulder",
    "rightshoulder",
    "dpup",
    "dpdown",
    "dpleft",
    "dpright",
];
/// `SDL_GameControllerAxis`, in its order: left x and y, right x and y, the triggers.
pub const AXIS_COUNT: usize = 6;

/// The library, at work.
pub struct Sdl(Library);

/// A gamepad that it knows how to read.
pub struct Controller<'a> {
    sdl: &'a Sdl,
    it: *mut c_void,
}

impl Sdl {
    pub fn start() -> Sdl {
        let library = Library::open(Path::new("libSDL2-2.0.so.0"));
        let sdl = Sdl(library.expect("SDL is not there: run scripts/setup test"));
        let set_hint: extern "C" fn(*const c_char, *const c_char) -> c_int =
            sdl.function(c"SDL_SetHint");
        for (name, value) in [
            // Nobody draws, nodes are looked for without udev, and buttons are told by their places.
            (c"SDL_VIDEODRIVER", c"dummy"),
            (c"SDL_JOYSTICK_DISABLE_UDEV", c"1"),
            (c"SDL_JOYSTICK_HIDAPI", c"0"),
            (c"SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", c"1"),
            (c"SDL_GAMECONTROLLER_USE_BUTTON_LABELS", c"0"),
        ] {
            set_hint(name.as_ptr(), value.as_ptr());
        }
        let init: extern "C" fn(u32) -> c_int = sdl.function(c"SDL_Init");
        assert_eq!(init(INIT_GAMECONTROLLER), 0, "SDL does not start");
        sdl
    }

    /// The gamepads that are there and that it knows how to read.
    pub fn controllers(&self) -> Vec<Controller<'_>> {
        let count: extern "C" fn() -> c_int = self.function(c"SDL_NumJoysticks");
        let open: extern "C" fn(c_int) -> *mut c_void = self.function(c"SDL_GameControllerOpen");
        self.update();
        let all = (0..count()).map(|index| open(index)).filter(|it| !it.is_null());
        all.map(|it| Controller { sdl: self, it }).collect()
    }

    /// Reads what came.
    pub fn update(&self) {
        let update: extern "C" fn() = self.function(c"SDL_GameControllerUpdate");
        update();
    }

    /// A function, which is of the type that its caller says.
    fn function<F: Copy>(&self, name: &CStr) -> F {
        assert_eq!(mem::size_of::<F>(), mem::size_of::<*mut c_void>());
        let symbol = self.0.symbol(name).unwrap();
        // SAFETY: a function of SDL; callers here take its type from SDL_gamecontroller.h.
        unsafe { mem::transmute_copy(&symbol) }
    }
}

impl Drop for Sdl {
    fn drop(&mut self) {
        let quit: extern "C" fn() = self.function(c"SDL_Quit");
        quit();
    }
}

impl Controller<'_> {
    pub fn name(&self) -> String {
        let name: extern "C" fn(*mut c_void) -> *const c_char =
            self.sdl.function(c"SDL_GameControllerName");
        // SAFETY: a string that ends, and lives as long as the gamepad is open.
        unsafe { CStr::from_ptr(name(self.it)) }.to_string_lossy().into_owned()
    }

    /// `SDL_GameControllerType`.
    pub fn kind(&self) -> c_int {
        let kind: extern "C" fn(*mut c_void) -> c_int =
            self.sdl.function(c"SDL_GameControllerGetType");
        kind(self.it)
    }

    /// The buttons that are down.
    pub fn down(&self) -> Vec<&'static str> {
        let is_down: extern "C" fn(*mut c_void, c_int) -> u8 =
            self.sdl.function(c"SDL_GameControllerGetButton");
        let all = BUTTONS.iter().zip(0..);
        all.filter(|(_, index)| is_down(self.it, *index) == 1).map(|(name, _)| *name).collect()
    }

    pub fn axes(&self) -> [i16; AXIS_COUNT] {
        let axis: extern "C" fn(*mut c_void, c_int) -> i16 =
            self.sdl.function(c"SDL_GameControllerGetAxis");
        std::array::from_fn(|index| axis(self.it, index as c_int))
    }

    /// Whether its motors take that.
    pub fn rumble(&self, low: u16, high: u16, ms: u32) -> bool {
        let rumble: extern "C" fn(*mut c_void, u16, u16, u32) -> c_int =
            self.sdl.function(c"SDL_GameControllerRumble");
        rumble(self.it, low, high, ms) == 0
    }
}

// SAFETY: SDL locks what it has of gamepads.
unsafe impl Send for Controller<'_> {}
// SAFETY: as above.
unsafe impl Sync for Controller<'_> {}

impl Drop for Controller<'_> {
    fn drop(&mut self) {
        let close: extern "C" fn(*mut c_void) = self.sdl.function(c"SDL_GameControllerClose");
        close(self.it);
    }
}
