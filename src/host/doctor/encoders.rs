//! What encodes, and whether it is what the machine has for it.

#![forbid(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use punktfunk_core::net::process;

use super::{Finding, Running, Subject, daemon};
use crate::code::Code;
use crate::encode::abilities::Backend;
use crate::encode::choice::{Choice, Served};

/// Whether anything encodes, and by what.
pub(super) fn check(_: &Subject, running: &Running) -> Vec<Finding> {
    let nodes = nodes();
    let mut findings = vec![check_any(&running.choice, running.is_probed)];
    findings.extend(check_hardware(&running.choice, &nodes));
    findings
}

fn check_any(choice: &Choice, is_probed: bool) -> Finding {
    let code = Code::Encoders;
    if let Some(why) = choice.refusal() {
        return Finding::broken(code, why).remedy("'punktfunkctl encoders' tells what each lacks");
    }
    if !is_probed {
        return Finding::note(code, "not probed yet").remedy("ask again in some seconds");
    }
    let by = |served: &Served| served.by.map(|it| format!("{} by {}", served.codec, it.backend));
    let served: Vec<String> = choice.codecs().iter().filter_map(by).collect();
    Finding::well(code, served.join(", "))
}

/// A device of a graphics card, and whether this user may use it.
struct Node {
    path: PathBuf,
    is_usable: bool,
    gid: u32,
}

/// Devices that encoders are asked through.
fn nodes() -> Vec<Node> {
    let names = |folder: &str, prefix: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let is_node = |name: &str| {
            let number = name.strip_prefix(prefix).unwrap_or_default();
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        };
        let right = entries.filter(|it| it.file_name().to_str().is_some_and(is_node));
        right.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut paths = names("/dev/dri", "renderD");
    paths.extend(names("/dev", "nvidia"));
    paths.sort();
    paths
        .into_iter()
        .map(|path| Node { is_usable: is_usable(&path), gid: gid(&path), path })
        .collect()
}

fn is_usable(path: &Path) -> bool {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map_or_else(|error| error.kind() != ErrorKind::PermissionDenied, |_| true)
}

fn gid(path: &Path) -> u32 {
    fs::metadata(path).map_or(0, |metadata| metadata.gid())
}

fn check_hardware(choice: &Choice, nodes: &[Node]) -> Option<Finding> {
    let code = Code::EncoderHardware;
    let is_software =
        |served: &&Served| served.by.is_some_and(|it| it.backend == Backend::Software);
    let software = choice.codecs().iter().find(is_software)?;
    if nodes.is_empty() {
        return Some(Finding::well(code, "by the processor: this machine has no graphics card"));
    }
    if let Some(Node { path, gid, .. }) = nodes.iter().find(|node| !node.is_usable) {
        let (path, user) = (path.display(), daemon::user());
        let what = format_args!("by the processor, because {user} may not use {path}");
        let finding = Finding::note(code, what);
        return Some(match process::group_by_id(*gid) {
            Ok(Some(group)) if *gid != 0 => finding
                .remedy(format_args!("usermod -aG {group} {user}, then log in or start anew")),
            _ => finding.remedy(format_args!("give {user} access to {path}")),
        });
    }
    let names: Vec<String> = nodes.iter().map(|node| node.path.display().to_string()).collect();
    let why = match software.why.is_empty() {
        true => "Encoder says so",
        false => &software.why,
    };
    let what = format_args!("by the processor, for all that {} is there: {why}", names.join(" "));
    Some(Finding::note(code, what).remedy("'punktfunkctl encoders' tells what each lacks"))
}

#[cfg(test)]
mod tests {
    use punktfunk_core::proto::gamestream::rtsp::announce::Codec;

    use super::super::State;
    use super::*;
    use crate::encode::abilities::tests::machine;
    use crate::encode::choice::tests::DEFAULT;

    fn choice(backends: &[Backend]) -> Choice {
        let table: Vec<_> = backends.iter().map(|backend| (*backend, Codec::H264)).collect();
        Choice::new(&machine(&table), &DEFAULT)
    }

    #[test]
    fn a_machine_that_encodes_nothing_is_broken_and_one_that_is_not_probed_is_not_known() {
        let nothing = check_any(&choice(&[]), true);
        let guess = check_any(&Choice::before_probe(&DEFAULT), false);
        let some = check_any(&choice(&[Backend::Vaapi]), true);

        assert_eq!((nothing.state, guess.state), (State::Broken, State::Note));
        assert_eq!((some.state, some.what.as_str()), (State::Well, "h264 by vaapi"));
    }

    #[test]
    fn software_is_as_it_should_be_where_there_is_nothing_else() {
        let node =
            |is_usable, gid| vec![Node { path: "/dev/dri/renderD128".into(), is_usable, gid }];
        let state = |backend, nodes: &[Node]| {
            check_hardware(&choice(&[backend]), nodes).map(|it| (it.state, it.remedy))
        };
        let tty = process::group_by_name("tty").unwrap().expect("every machine has it");

        assert_eq!(state(Backend::Vaapi, &node(true, 0)), None);
        assert_eq!(state(Backend::Software, &[]), Some((State::Well, None)));
        let (kind, remedy) = state(Backend::Software, &node(false, tty)).unwrap();
        assert_eq!(kind, State::Note);
        assert!(remedy.unwrap().starts_with("usermod -aG tty "));
        let (kind, remedy) = state(Backend::Software, &node(true, 0)).unwrap();
        assert_eq!(kind, State::Note);
        assert!(remedy.unwrap().contains("punktfunkctl encoders"));
    }
}
