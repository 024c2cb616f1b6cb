//! The directives of an app.

#![forbid(unsafe_code)]

use super::super::{App, value};
use super::Fallback::Fixed;
use super::When::{Reload, Session};
use super::{Directive, MILLISECOND, MINUTE};

/// What stands in an `App` section.
pub static APP: [Directive<App>; 9] = [
    Directive {
        keyword: "Command",
        syntax: "none | program [argument ...]",
        values: 1..=64,
        default: Fixed("none"),
        when: Session,
        set: |app, words| {
            app.command = value::command(words);
            Ok(())
        },
        show: |app| value::emit_command(&app.command),
    },
    Directive {
        keyword: "WorkingDirectory",
        syntax: "home | path",
        values: 1..=1,
        default: Fixed("home"),
        when: Session,
        set: |app, words| {
            let is_home = words[0].text == "home";
            app.working_directory = if is_home { None } else { Some(value::path(&words[0])?) };
            Ok(())
        },
        show: |app| app.working_directory.as_deref().map_or("home".into(), value::emit_path),
    },
    Directive {
        keyword: "Environment",
        syntax: "none | NAME=value ...",
        values: 1..=64,
        default: Fixed("none"),
        when: Session,
        set: |app, words| {
            app.environment.push(value::variables(words)?);
            Ok(())
        },
        show: |app| value::emit_variables(&app.environment),
    },
    Directive {
        keyword: "Prepare",
        syntax: "none | program [argument ...]",
        values: 1..=64,
        default: Fixed("none"),
        when: Session,
        set: |app, words| {
            app.prepare.push(value::command(words));
            Ok(())
        },
        show: |app| value::emit_commands(&app.prepare),
    },
    Directive {
        keyword: "Undo",
        syntax: "none | program [argument ...]",
        values: 1..=64,
        default: Fixed("none"),
        when: Session,
        set: |app, words| {
            app.undo.push(value::command(words));
            Ok(())
        },
        show: |app| value::emit_commands(&app.undo),
    },
    Directive {
        keyword: "ExitTimeout",
        syntax: "time",
        values: 1..=1,
        default: Fixed("5s"),
        when: Session,
        set: |app, words| {
            app.exit_timeout = value::time(&words[0], 100 * MILLISECOND..=MINUTE)?;
            Ok(())
        },
        show: |app| value::emit_time(app.exit_timeout),
    },
    Directive {
        keyword: "EndOnExit",
        syntax: "yes | no",
        values: 1..=1,
        default: Fixed("yes"),
        when: Session,
        set: |app, words| {
            app.end_on_exit = value::yes_no(&words[0])?;
            Ok(())
        },
        show: |app| value::emit_yes_no(app.end_on_exit),
    },
    Directive {
        keyword: "Image",
        syntax: "none | path",
        values: 1..=1,
        default: Fixed("none"),
        when: Reload,
        set: |app, words| {
            let is_none = words[0].text == "none";
            app.image = if is_none { None } else { Some(value::path(&words[0])?) };
            Ok(())
        },
        show: |app| app.image.as_deref().map_or("none".into(), value::emit_path),
    },
    Directive {
        keyword: "Hidden",
        syntax: "yes | no",
        values: 1..=1,
        default: Fixed("no"),
        when: Reload,
        set: |app, words| {
            app.hidden = value::yes_no(&words[0])?;
            Ok(())
        },
        show: |app| value::emit_yes_no(app.hidden),
    },
];
