//! What another configuration changes, and what has to wait for a restart.

#![forbid(unsafe_code)]

use super::directive::{APP, GLOBAL, SECTION, When};
use super::lexer::emit;
use super::{App, Conf};

/// What became of a configuration that was read again.
#[derive(Clone, Debug)]
pub struct Reload {
    /// The one to go on with.
    pub conf: Conf,
    /// What it changes, a line each.
    pub changed: Vec<String>,
    /// What it would change if the daemon were started again, a line each.
    pub needs_restart: Vec<String>,
}

impl Conf {
    /// Takes from `new` what can change while the daemon runs, and from this one the rest.
    pub fn reload(&self, new: Conf) -> Reload {
        let mut reload = Reload { conf: new, changed: Vec::new(), needs_restart: Vec::new() };
        for (index, directive) in GLOBAL.iter().enumerate() {
            let (now, was) = ((directive.show)(&reload.conf), (directive.show)(self));
            if now == was {
                continue;
            }
            let change = format!("{} {}, was {}", directive.keyword, listed(&now), listed(&was));
            match directive.when {
                When::Reload | When::Session => reload.changed.push(change),
                When::Restart { keep } => {
                    keep(&mut reload.conf, self);
                    reload.conf.origins[index] = self.origins[index].clone();
                    reload.needs_restart.push(change);
                }
            }
        }
        let changes = app_changes(&self.apps, &reload.conf.apps);
        reload.changed.extend(changes);
        reload
    }
}

/// The values of a directive, those of several lines in one.
fn listed(values: &str) -> String {
    values.replace('\n', "; ")
}

fn app_changes(was: &[App], now: &[App]) -> Vec<String> {
    let mut changes = Vec::new();
    let named = |app: &App| format!("{SECTION} {}", emit(&app.title));
    for app in was.iter().filter(|app| !now.iter().any(|it| it.title == app.title)) {
        changes.push(format!("{}: removed", named(app)));
    }
    for app in now {
        let Some(before) = was.iter().find(|it| it.title == app.title) else {
            changes.push(format!("{}: added", named(app)));
            continue;
        };
        for directive in &APP {
            let (now, was) = ((directive.show)(app), (directive.show)(before));
            if now != was {
                let keyword = directive.keyword;
                let (now, was) = (listed(&now), listed(&was));
                changes.push(format!("{}: {keyword} {now}, was {was}", named(app)));
            }
        }
    }
    if changes.is_empty() && !was.iter().map(|it| &it.title).eq(now.iter().map(|it| &it.title)) {
        changes.push(format!("{SECTION}: in another order"));
    }
    changes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::file::memory::Memory;
    use super::super::{Environment, Sources, load_from};
    use super::*;

    fn load(text: &str) -> Conf {
        let environment = Environment { host_name: "den".into(), ..Environment::default() };
        let file = Some(Path::new("/p.conf"));
        let sources = Sources { file, overrides: &[], environment: &environment };
        load_from(&sources, &Memory::with(&[("/p.conf", text)])).unwrap()
    }

    #[test]
    fn what_is_given_several_times_changes_in_one_line() {
        let running = load("App A\nPrepare a\nPrepare b c");
        let new = load("Undo d\nUndo none\nApp A\nPrepare a");

        let reload = running.reload(new);

        assert_eq!(reload.changed, ["Undo d; none, was none", "App A: Prepare a, was a; b c"]);
    }

    #[test]
    fn what_is_bound_keeps_its_value_until_a_restart() {
        let running = load("MaxConnections 32");
        let new = load("GameStreamPort 48989\nMdns no\nStateDirectory /s\nCodecs h264");

        let reload = running.reload(new);

        assert_eq!(
            reload.changed,
            ["MaxConnections 64, was 32", "Mdns no, was yes", "Codecs h264, was auto",]
        );
        assert_eq!(
            reload.needs_restart,
            [
                "StateDirectory /s, was /var/lib/punktfunk",
                "GameStreamPort 48989, was 47989",
                "HttpTokenFile /s/http_token, was /var/lib/punktfunk/http_token",
            ]
        );
        assert_eq!((reload.conf.gamestream_port, reload.conf.connections_max), (47_989, 64));
        assert!(!reload.conf.mdns);
        let printed = reload.conf.print();
        assert!(
            printed.contains(&format!("{:<48} # default", "GameStreamPort 47989")),
            "{printed}"
        );
    }

    #[test]
    fn every_directive_that_waits_for_a_restart_keeps_its_value() {
        let running = load("");
        let rich = load(include_str!("rich.conf"));

        let reload = running.reload(rich);

        let waiting = GLOBAL.iter().filter(|it| matches!(it.when, When::Restart { .. }));
        for directive in waiting.clone() {
            let (now, was) = ((directive.show)(&reload.conf), (directive.show)(&running));
            assert_eq!(now, was, "{}", directive.keyword);
        }
        assert_eq!(reload.needs_restart.len(), waiting.count());
        let again = reload.conf.reload(reload.conf.clone());
        assert!(again.changed.is_empty() && again.needs_restart.is_empty());
    }

    #[test]
    fn apps_come_go_and_change() {
        let table = [
            ("", "App Desktop", ""),
            ("", "App Steam", "App Desktop: removed; App Steam: added"),
            ("App A", "App A\nHidden yes", "App A: Hidden yes, was no"),
            ("App \"A b\"", "App \"A b\"\nImage /x", "App \"A b\": Image /x, was none"),
            ("App A\nApp B", "App B\nApp A", "App: in another order"),
        ];
        for (was, now, expected) in table {
            assert_eq!(load(was).reload(load(now)).changed.join("; "), expected, "{now}");
        }
    }
}
