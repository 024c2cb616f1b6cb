//! The documents that answer GameStream clients.
//!
//! They are XML whose root carries the status that clients act on; the one of HTTP stays 200, or
//! clients report a network error and hide the message. First elements of a name count, so no name
//! stands twice outside a list.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::APP_ID_MAX;
use crate::proto::xml::Document;

/// The protocol that is spoken. The negative number says: not NVIDIA's own host.
const APP_VERSION: &str = "7.1.431.-1";
/// No client complains about this one.
const GFE_VERSION: &str = "3.23.0.74";

/// What a host says of itself.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// What people call it.
    pub host_name: String,
    /// Its UUID, by which clients know it again.
    pub host_id: String,
    /// Where it answers HTTP.
    pub http_port: u16,
    /// Where it answers HTTPS.
    pub https_port: u16,
    /// The hardware address that wakes it, for those who may know it.
    pub mac: Option<[u8; 6]>,
    /// The address that was asked.
    pub local_ip: IpAddr,
    /// Bits of codecs; H.264 is the lowest.
    pub codec_mode_support: u32,
    /// Pixels of the largest HEVC picture; 0 for no HEVC.
    pub luma_pixels_hevc_max: u32,
    /// Whether the one who asks is paired.
    pub pair_status: bool,
    /// The id of the app that runs, or 0.
    pub current_game: u32,
}

/// One app of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct AppEntry {
    /// 1 to 2^31 - 1.
    pub id: u32,
    /// What people read.
    pub title: String,
    /// Whether it can be streamed in HDR.
    pub hdr: bool,
}

/// The answer to `/serverinfo`.
pub fn server_info(info: &ServerInfo) -> String {
    let [a, b, c, d, e, f] = info.mac.unwrap_or_default();
    // Clients take this for an address in IPv4; one of the loopback tells them nothing.
    let local_ip = match info.local_ip.to_canonical() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
    };
    let is_free = info.current_game == 0;
    let mut root = success();
    root.text("hostname", &info.host_name);
    root.text("appversion", APP_VERSION);
    root.text("GfeVersion", GFE_VERSION);
    root.text("uniqueid", &info.host_id);
    root.text("HttpsPort", &info.https_port.to_string());
    root.text("ExternalPort", &info.http_port.to_string());
    root.text("MaxLumaPixelsHEVC", &info.luma_pixels_hevc_max.to_string());
    root.text("mac", &format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"));
    root.text("LocalIP", &local_ip.to_string());
    root.text("ServerCodecModeSupport", &info.codec_mode_support.to_string());
    root.text("PairStatus", digit(info.pair_status));
    root.text("currentgame", &info.current_game.to_string());
    root.text("state", if is_free { "SUNSHINE_SERVER_FREE" } else { "SUNSHINE_SERVER_BUSY" });
    root.finish()
}

/// The answer to `/applist`.
pub fn app_list(apps: &[AppEntry]) -> String {
    let mut root = success();
    for app in apps {
        root.open("App");
        root.text("IsHdrSupported", digit(app.hdr));
        root.text("AppTitle", &app.title);
        root.text("ID", &app.id.to_string());
        root.close();
    }
    root.finish()
}

/// Where RTSP is spoken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionUrl {
    /// The address that was asked.
    pub local_ip: IpAddr,
    /// The port of RTSP.
    pub port: u16,
    /// Whether it is to be sealed.
    pub is_sealed: bool,
}

impl fmt::Display for SessionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_sealed { "rtspenc" } else { "rtsp" };
        // An IPv6 address needs its brackets: a port follows.
        let address = SocketAddr::new(self.local_ip.to_canonical(), self.port);
        write!(f, "{scheme}://{address}")
    }
}

/// The answer to `/cancel`.
pub fn cancelled() -> String {
    let mut root = success();
    root.text("cancel", "1");
    root.finish()
}

/// The answer to `/launch`: where the session is agreed on.
pub fn launched(session: &SessionUrl) -> String {
    let mut root = success();
    root.text("sessionUrl0", &session.to_string());
    root.text("gamesession", "1");
    root.finish()
}

/// The answer to `/resume`.
pub fn resumed(session: &SessionUrl) -> String {
    let mut root = success();
    root.text("sessionUrl0", &session.to_string());
    root.text("resume", "1");
    root.finish()
}

/// The answer to a stage of pairing, with what that stage gives in return.
pub fn paired(is_paired: bool, extra: Option<(&'static str, &str)>) -> String {
    let mut root = success();
    root.text("paired", digit(is_paired));
    if let Some((name, value)) = extra {
        root.text(name, value);
    }
    root.finish()
}

/// The answer to what cannot be done, with the element by which clients tell, if they do.
/// An empty message is left out.
pub fn refusal(status: u16, message: &str, extra: Option<(&'static str, &str)>) -> String {
    let status = status.to_string();
    let attributes = [("status_code", status.as_str()), ("status_message", message)];
    let count = if message.is_empty() { 1 } else { 2 };
    let mut root = Document::new(&attributes[..count]);
    if let Some((name, value)) = extra {
        root.text(name, value);
    }
    root.finish()
}

/// The answer over HTTPS to one who is not paired, whatever was asked for.
pub fn unauthorised(path: &str) -> String {
    let message = "The client is not authorized. Certificate verification failed.";
    let root = [("status_code", "401"), ("query", path), ("status_message", message)];
    Document::new(&root).finish()
}

fn success() -> Document {
    Document::new(&[("status_code", "200")])
}

fn digit(is_so: bool) -> &'static str {
    if is_so { "1" } else { "0" }
}

/// An id for each title, all different. An id depends on its title alone, unless titles before it
/// have taken it.
pub fn app_ids(titles: &[&str]) -> Vec<u32> {
    let mut ids: Vec<u32> = Vec::with_capacity(titles.len());
    for title in titles {
        let mut id = (crc32(title.as_bytes()) & APP_ID_MAX).max(1);
        while ids.contains(&id) {
            id = id % APP_ID_MAX + 1;
        }
        ids.push(id);
    }
    ids
}

/// CRC-32 of IEEE 802.3, the lowest bit first.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        let shift = |sum: u32, _| if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ 0xedb8_8320 };
        (0..8).fold(sum ^ u32::from(*byte), shift)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(document: &str) -> &str {
        document.strip_prefix("<?xml version=\"1.0\" encoding=\"utf-8\"?>").unwrap()
    }

    #[test]
    fn a_host_says_what_it_is_as_clients_expect_it() {
        let mut info = ServerInfo {
            host_name: "den & co".into(),
            host_id: "6F1C2A54-9B1B-4B0E-9E8A-0A5B6C7D8E9F".into(),
            http_port: 47989,
            https_port: 47984,
            mac: Some([2, 0, 0, 0xaa, 0xbb, 0xcc]),
            local_ip: "::ffff:192.168.1.20".parse().unwrap(),
            codec_mode_support: 197_377,
            luma_pixels_hevc_max: 1_869_449_984,
            pair_status: true,
            current_game: 0,
        };

        let known = server_info(&info);
        (info.mac, info.pair_status, info.current_game) = (None, false, 7);
        info.local_ip = "fe80::1".parse().unwrap();
        let unknown = server_info(&info);

        assert_eq!(
            body(&known),
            "<root status_code=\"200\"><hostname>den &amp; co</hostname>\
             <appversion>7.1.431.-1</appversion><GfeVersion>3.23.0.74</GfeVersion>\
             <uniqueid>6F1C2A54-9B1B-4B0E-9E8A-0A5B6C7D8E9F</uniqueid>\
             <HttpsPort>47984</HttpsPort><ExternalPort>47989</ExternalPort>\
             <MaxLumaPixelsHEVC>1869449984</MaxLumaPixelsHEVC><mac>02:00:00:aa:bb:cc</mac>\
             <LocalIP>192.168.1.20</LocalIP>\
             <ServerCodecModeSupport>197377</ServerCodecModeSupport><PairStatus>1</PairStatus>\
             <currentgame>0</currentgame><state>SUNSHINE_SERVER_FREE</state></root>"
        );
        for part in [
            "<mac>00:00:00:00:00:00</mac><LocalIP>127.0.0.1</LocalIP>",
            "<PairStatus>0</PairStatus>",
            "<currentgame>7</currentgame><state>SUNSHINE_SERVER_BUSY</state>",
        ] {
            assert!(unknown.contains(part), "{part}");
        }
    }

    #[test]
    fn every_other_answer_is_one_root_with_its_status_first() {
        let url = |ip: &str, is_sealed| {
            let local_ip = ip.parse().unwrap();
            SessionUrl { local_ip, port: 48010, is_sealed }
        };
        let app = |id, title: &str, hdr| AppEntry { id, title: title.into(), hdr };
        let table = [
            (
                app_list(&[app(1, "Desktop", true), app(2, "", false)]),
                "<root status_code=\"200\"><App><IsHdrSupported>1</IsHdrSupported>\
                 <AppTitle>Desktop</AppTitle><ID>1</ID></App><App><IsHdrSupported>0\
                 </IsHdrSupported><AppTitle></AppTitle><ID>2</ID></App></root>",
            ),
            (cancelled(), "<root status_code=\"200\"><cancel>1</cancel></root>"),
            (
                launched(&url("::ffff:192.168.1.20", true)),
                "<root status_code=\"200\"><sessionUrl0>rtspenc://192.168.1.20:48010\
                 </sessionUrl0><gamesession>1</gamesession></root>",
            ),
            (
                resumed(&url("fe80::1", false)),
                "<root status_code=\"200\"><sessionUrl0>rtsp://[fe80::1]:48010</sessionUrl0>\
                 <resume>1</resume></root>",
            ),
            (paired(false, None), "<root status_code=\"200\"><paired>0</paired></root>"),
            (
                paired(true, Some(("plaincert", "2d2d"))),
                "<root status_code=\"200\"><paired>1</paired><plaincert>2d2d</plaincert></root>",
            ),
            (refusal(200, "", None), "<root status_code=\"200\"/>"),
            (
                refusal(503, "No \"app\"", Some(("resume", "0"))),
                "<root status_code=\"503\" status_message=\"No &quot;app&quot;\">\
                 <resume>0</resume></root>",
            ),
            (
                unauthorised("/applist"),
                "<root status_code=\"401\" query=\"/applist\" status_message=\"The client is not \
                 authorized. Certificate verification failed.\"/>",
            ),
        ];
        for (document, expected) in table {
            assert_eq!(body(&document), expected);
        }
    }

    #[test]
    fn an_app_keeps_its_id_while_others_come_and_go() {
        let desktop = crc32(b"Desktop") & APP_ID_MAX;

        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(app_ids(&["Desktop"]), [desktop]);
        assert_eq!(app_ids(&["Steam", "Desktop"])[1], desktop);
        assert_eq!(app_ids(&["Desktop", "Desktop"]), [desktop, desktop + 1]);
        // The checksum of nothing is 0, which no app may have.
        assert_eq!(app_ids(&["", ""]), [1, 2]);
    }
}
