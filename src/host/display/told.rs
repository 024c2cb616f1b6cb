//! What programs and hooks are told of a session, in their environment.

#![forbid(unsafe_code)]

use std::net::IpAddr;

use punktfunk_core::proto::gamestream::http::Mode;

/// What there is to tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The number of the session; 0 is none, as yet.
    pub session: u32,
    /// Whom it is for.
    pub client_name: String,
    /// Where that client is.
    pub client_address: Option<IpAddr>,
    /// Its app, as clients know it.
    pub app_id: u32,
    /// Its app, as people read it.
    pub app_title: String,
    /// What its display shows, once that is known.
    pub mode: Option<Mode>,
    /// Whether the client shows a high dynamic range.
    pub is_hdr: bool,
    /// Gamepads that the client had when it came, a bit each.
    pub gamepads: u32,
    /// Whether the client wants sound at the host as well.
    pub plays_on_host: bool,
    /// Whether the client wants games to be set up for it.
    pub optimises: bool,
    /// Channels of sound, once they are known.
    pub channel_count: Option<u32>,
    /// Whether it is told under the names that scripts for Sunshine know, too.
    pub has_legacy_names: bool,
}

impl Told {
    /// Names and values for the environment.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("PUNKTFUNK_CLIENT_NAME", printable(&self.client_name))];
        let address = self.client_address.map(|it| ("PUNKTFUNK_CLIENT_ADDRESS", it.to_string()));
        variables.extend(address);
        if self.session == 0 {
            return variables;
        }
        variables.extend([
            ("PUNKTFUNK_APP_ID", self.app_id.to_string()),
            ("PUNKTFUNK_APP_NAME", printable(&self.app_title)),
            ("PUNKTFUNK_HDR", if self.is_hdr { "yes" } else { "no" }.to_owned()),
            ("PUNKTFUNK_SESSION", self.session.to_string()),
        ]);
        variables.extend(self.channel_count.map(|it| ("PUNKTFUNK_CHANNELS", it.to_string())));
        if let Some(Mode { width, height, refresh_mhz }) = self.mode {
            variables.extend([
                ("PUNKTFUNK_HEIGHT", height.to_string()),
                ("PUNKTFUNK_REFRESH_MHZ", refresh_mhz.to_string()),
                ("PUNKTFUNK_WIDTH", width.to_string()),
            ]);
        }
        if self.has_legacy_names {
            variables.extend(self.legacy_variables());
        }
        variables
    }

    /// The same as Sunshine tells it, in its words.
    fn legacy_variables(&self) -> Vec<(&'static str, String)> {
        let truth = |value: bool| value.to_string();
        let mut variables = vec![
            ("SUNSHINE_APP_ID", self.app_id.to_string()),
            ("SUNSHINE_APP_NAME", printable(&self.app_title)),
            ("SUNSHINE_CLIENT_ENABLE_SOPS", truth(self.optimises)),
            ("SUNSHINE_CLIENT_GCMAP", self.gamepads.to_string()),
            ("SUNSHINE_CLIENT_HDR", truth(self.is_hdr)),
            ("SUNSHINE_CLIENT_HOST_AUDIO", truth(self.plays_on_host)),
        ];
        if let Some(Mode { width, height, refresh_mhz }) = self.mode {
            let fps = refresh_mhz.saturating_add(500) / 1000;
            variables.extend([
                ("SUNSHINE_CLIENT_FPS", fps.to_string()),
                ("SUNSHINE_CLIENT_HEIGHT", height.to_string()),
                ("SUNSHINE_CLIENT_WIDTH", width.to_string()),
            ]);
        }
        let configuration = match self.channel_count {
            Some(2) => Some("2.0"),
            Some(6) => Some("5.1"),
            Some(8) => Some("7.1"),
            _ => None,
        };
        let named = |it: &str| ("SUNSHINE_CLIENT_AUDIO_CONFIGURATION", it.to_owned());
        variables.extend(configuration.map(named));
        variables
    }
}

/// Names come from clients: one with a NUL would keep every program from starting.
fn printable(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        Told {
            session: 3,
            client_name: "t\0v\n".into(),
            client_address: Some([10, 0, 0, 7].into()),
            app_id: 5,
            app_title: "A b".into(),
            mode: Some(Mode { width: 1600, height: 900, refresh_mhz: 59_940 }),
            is_hdr: true,
            gamepads: 3,
            channel_count: Some(6),
            has_legacy_names: true,
            ..Told::default()
        }
    }

    fn lines(told: &Told) -> Vec<String> {
        let variables = told.variables();
        let mut lines: Vec<_> =
            variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.sort();
        lines
    }

    #[test]
    fn all_is_told_under_both_names() {
        let expected = [
            "PUNKTFUNK_APP_ID=5",
            "PUNKTFUNK_APP_NAME=A b",
            "PUNKTFUNK_CHANNELS=6",
            "PUNKTFUNK_CLIENT_ADDRESS=10.0.0.7",
            "PUNKTFUNK_CLIENT_NAME=tv",
            "PUNKTFUNK_HDR=yes",
            "PUNKTFUNK_HEIGHT=900",
            "PUNKTFUNK_REFRESH_MHZ=59940",
            "PUNKTFUNK_SESSION=3",
            "PUNKTFUNK_WIDTH=1600",
            "SUNSHINE_APP_ID=5",
            "SUNSHINE_APP_NAME=A b",
            "SUNSHINE_CLIENT_AUDIO_CONFIGURATION=5.1",
            "SUNSHINE_CLIENT_ENABLE_SOPS=false",
            "SUNSHINE_CLIENT_FPS=60",
            "SUNSHINE_CLIENT_GCMAP=3",
            "SUNSHINE_CLIENT_HDR=true",
            "SUNSHINE_CLIENT_HEIGHT=900",
            "SUNSHINE_CLIENT_HOST_AUDIO=false",
            "SUNSHINE_CLIENT_WIDTH=1600",
        ];
        assert_eq!(lines(&told()), expected);
    }

    #[test]
    fn what_is_not_known_and_what_is_switched_off_is_not_told() {
        let told = Told { mode: None, channel_count: None, has_legacy_names: false, ..told() };

        let names = ["WIDTH", "HEIGHT", "REFRESH", "CHANNELS", "SUNSHINE"];

        assert!(!lines(&told).iter().any(|line| names.iter().any(|name| line.contains(name))));
        let without_session = Told { session: 0, ..self::told() };
        let expected = ["PUNKTFUNK_CLIENT_ADDRESS=10.0.0.7", "PUNKTFUNK_CLIENT_NAME=tv"];
        assert_eq!(lines(&without_session), expected);
    }
}
