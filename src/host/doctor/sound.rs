//! Where sound comes from.

#![forbid(unsafe_code)]

use super::{Finding, Running, Subject};
use crate::audio::pactl::Error;
use crate::code::Code;
use crate::conf::{Audio, Capture};

/// Whether a sound server answers.
pub(super) fn check(subject: &Subject, running: &Running) -> Vec<Finding> {
    let code = Code::Sound;
    if subject.conf.audio == Audio::Off {
        return vec![Finding::well(code, "none in streams, as Audio says")];
    }
    if subject.conf.capture == Capture::Test {
        return vec![Finding::well(code, "test tones, as Capture says")];
    }
    // pactl asks by the library that sound is recorded with, which thus need not be loaded here.
    let finding = match running.sound_server.name() {
        Ok(name) => Finding::well(code, format_args!("{name} answers")),
        Err(Error::Missing) => {
            Finding::broken(code, "there is no pactl").remedy("install pulseaudio-utils")
        }
        Err(error @ Error::System(_)) => Finding::broken(code, error),
        Err(error) => Finding::broken(code, format_args!("no sound server answers ({error})"))
            .remedy("start pipewire-pulse or pulseaudio as this user"),
    };
    vec![finding]
}
