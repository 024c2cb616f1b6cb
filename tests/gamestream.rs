//! GameStream over HTTP and HTTPS, as curl, openssl and odd peers meet it.

#[path = "gamestream/peer.rs"]
mod peer;
mod support;
#[path = "gamestream/tls.rs"]
mod tls;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::process::Stdio;

use peer::{NOBODY, PLAIN, ask, certificate_path, curl, key_path, s_client, url};
use serde_json::{Value, json};
use support::{
    Daemon, Folder, PATIENCE, attribute, element, eventually, exchange, fingerprint, split_answer,
    tool, vector,
};

/// Every kind of certificate that clients have.
const KINDS: [&str; 6] = ["expired", "p-256", "rsa-2048", "serial-0", "sha1", "x509-v1"];
const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>";
const KEYS: &str = "rikey=000102030405060708090a0b0c0d0e0f&rikeyid=-1";

/// The id of an app, as the administrator sees it.
fn app_id(daemon: &Daemon, title: &str) -> u64 {
    let (_, report) = daemon.api("GET", "/v1/apps", "");
    let apps = report["apps"].as_array().unwrap();
    apps.iter().find(|app| app["title"] == title).unwrap()["id"].as_u64().unwrap()
}

fn client_names(daemon: &Daemon) -> Vec<Value> {
    let (_, report) = daemon.api("GET", "/v1/clients", "");
    report["clients"].as_array().unwrap().iter().map(|client| client["name"].clone()).collect()
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[test]
fn every_path_is_answered_where_it_belongs_and_to_whom() {
    let daemon = Daemon::start_paired("", &["rsa-2048"]);
    let app = app_id(&daemon, "Desktop");
    let id = "uniqueid=0123456789ABCDEF";
    let begin = format!("phrase=getservercert&salt={}&clientcert=2d", "5a".repeat(16));
    // Status of HTTP and of the document: in the clear, to a stranger, to a client.
    let not_there = (404, "404");
    let unknown = (200, "401");
    let table = [
        (format!("/serverinfo?{id}&uuid=7"), (200, "200"), unknown, (200, "200")),
        ("/serverinfo".into(), (200, "200"), unknown, (200, "200")),
        ("/serverinfo?a=%zz".into(), (200, "400"), unknown, (200, "400")),
        (format!("/pair?{id}&phrase=pairchallenge"), (200, "400"), unknown, (200, "200")),
        (format!("/pair?{id}&{begin}"), (200, "400"), unknown, (200, "400")),
        (format!("/pair?{id}&clientchallenge=00"), (200, "400"), unknown, (200, "400")),
        (format!("/pair?{id}"), (200, "400"), unknown, (200, "400")),
        ("/pair?phrase=pairchallenge".into(), (200, "400"), unknown, (200, "400")),
        (format!("/unpair?{id}"), (200, "200"), unknown, (200, "200")),
        (format!("/applist?{id}"), not_there, unknown, (200, "200")),
        (format!("/appasset?appid={app}&AssetType=2&AssetIdx=0"), not_there, unknown, not_there),
        (format!("/resume?{KEYS}"), not_there, unknown, (200, "503")),
        (format!("/launch?appid={app}&{KEYS}&&corever=1"), not_there, unknown, (200, "200")),
        (format!("/launch?appid=1&{KEYS}"), not_there, unknown, (200, "404")),
        (format!("/launch?appid={app}"), not_there, unknown, (200, "400")),
        (format!("/launch?appid=0&{KEYS}"), not_there, unknown, (200, "400")),
        (format!("/resume?{KEYS}&surroundAudioInfo=196610"), not_there, unknown, (200, "200")),
        ("/resume".into(), not_there, unknown, (200, "400")),
        (format!("/cancel?{id}"), not_there, unknown, (200, "200")),
        ("/".into(), not_there, unknown, not_there),
        ("/ServerInfo".into(), not_there, unknown, not_there),
        ("/v1/status".into(), not_there, unknown, not_there),
        ("/pin?pin=1234".into(), not_there, unknown, not_there),
    ];
    for (target, plain, nobody, client) in table {
        for (asker, expected) in [(PLAIN, plain), (NOBODY, nobody), ("rsa-2048", client)] {
            let answer = ask(&daemon, asker, &target);

            let document = answer.text();
            let status = attribute(document, "status_code").unwrap();
            assert_eq!((answer.status, status), expected, "{asker} {target}");
            assert!(
                document.starts_with(&format!("{DECLARATION}<root status_code=")),
                "{document}"
            );
            assert!(!document.contains("> <") && !document.contains('\n'), "{document}");
            assert_eq!(answer.header("connection"), Some("close"));
            assert_eq!(answer.header("content-type"), Some("application/xml"));
            assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
        }
    }
    assert_eq!(client_names(&daemon), ["rsa-2048"]);
}

#[test]
fn what_is_refused_says_so_in_the_words_and_elements_that_clients_look_for() {
    let daemon = Daemon::start_paired("Encryption required", &["rsa-2048"]);
    let app = app_id(&daemon, "Desktop");
    let streams_not = "403\" status_message=\"This host demands encryption, which this version of \
                       Moonlight has not";
    let table = [
        (format!("/launch?appid={app}&{KEYS}"), streams_not, "<gamesession>0</gamesession>"),
        (
            format!("/launch?appid=1&{KEYS}"),
            "404\" status_message=\"This host has no such app",
            "<gamesession>0</gamesession>",
        ),
        (
            format!("/launch?{KEYS}"),
            "400\" status_message=\"missing parameter appid",
            "<gamesession>0</gamesession>",
        ),
        (
            format!("/resume?{KEYS}"),
            "503\" status_message=\"No running app to resume",
            "<resume>0</resume>",
        ),
        (
            "/resume?rikeyid=1".into(),
            "400\" status_message=\"missing parameter rikey",
            "<resume>0</resume>",
        ),
        (
            "/pair?uniqueid=1&phrase=other".into(),
            "400\" status_message=\"bad parameter phrase",
            "<paired>0</paired>",
        ),
        ("/cancel".into(), "200", "<cancel>1</cancel>"),
    ];
    for (target, root, content) in table {
        let answer = ask(&daemon, "rsa-2048", &target);

        let expected = format!("{DECLARATION}<root status_code=\"{root}\">{content}</root>");
        assert_eq!(answer.text(), expected);
    }

    let answer = ask(&daemon, NOBODY, "/launch?appid=1");

    let expected = "<root status_code=\"401\" query=\"/launch\" status_message=\"The client is not \
                    authorized. Certificate verification failed.\"/>";
    assert_eq!(answer.text(), format!("{DECLARATION}{expected}"));
}

#[test]
fn a_host_describes_itself_to_anyone_but_says_paired_to_clients_alone() {
    let daemon = Daemon::start_paired("HostName \"den <&> attic\"", &["rsa-2048"]);
    let (_, status) = daemon.api("GET", "/v1/status", "");
    let (host_id, port) = (status["host_id"].as_str().unwrap(), daemon.port);
    let expected = |local_ip: &str, pair_status: &str| {
        format!(
            "{DECLARATION}<root status_code=\"200\"><hostname>den &lt;&amp;&gt; attic</hostname>\
             <appversion>7.1.431.-1</appversion><GfeVersion>3.23.0.74</GfeVersion>\
             <uniqueid>{host_id}</uniqueid><HttpsPort>{}</HttpsPort>\
             <ExternalPort>{port}</ExternalPort><MaxLumaPixelsHEVC>0</MaxLumaPixelsHEVC>\
             <mac>00:00:00:00:00:00</mac><LocalIP>{local_ip}</LocalIP>\
             <ServerCodecModeSupport>1</ServerCodecModeSupport>\
             <PairStatus>{pair_status}</PairStatus><currentgame>0</currentgame>\
             <state>SUNSHINE_SERVER_FREE</state></root>",
            port - 5
        )
    };
    // The address that is asked, and the one that is told.
    let table = [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("[::1]", "127.0.0.1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
    ];
    for (ip, local_ip) in table {
        for (asker, pair_status) in [(PLAIN, "0"), ("rsa-2048", "1")] {
            let answer = curl(asker, &(url(&daemon, ip, asker) + "/serverinfo"), &[]);

            assert_eq!(answer.text(), expected(local_ip, pair_status), "{asker} {ip}");
        }
    }
    let uuid: Vec<usize> = host_id.split('-').map(str::len).collect();
    assert_eq!(uuid, [8, 4, 4, 4, 12]);
}

#[test]
fn only_a_client_learns_the_hardware_address_of_the_interface_that_it_asked() {
    // The addresses of this machine may be public ones.
    let daemon = Daemon::start_paired("GameStream on", &["rsa-2048"]);
    let output = tool("ip").args(["-json", "address"]).output().unwrap();
    let links: Value = serde_json::from_slice(&output.stdout).unwrap();
    let zero = "00:00:00:00:00:00";
    let mut asked = 0;
    for link in links.as_array().unwrap() {
        let is_ether = link["link_type"] == "ether";
        let mac = if is_ether { link["address"].as_str().unwrap() } else { zero };
        for address in link["addr_info"].as_array().unwrap() {
            let ip = address["local"].as_str().unwrap();
            let shown = if address["family"] == "inet" { ip } else { "127.0.0.1" };
            let host = if address["family"] == "inet" { ip.into() } else { format!("[{ip}]") };
            if address["scope"] == "link" {
                continue;
            }
            asked += 1;
            for (asker, expected) in [(PLAIN, zero), ("rsa-2048", mac)] {
                let answer = curl(asker, &(url(&daemon, &host, asker) + "/serverinfo"), &[]);

                assert_eq!(element(answer.text(), "mac"), Some(expected), "{asker} {ip}");
                assert_eq!(element(answer.text(), "LocalIP"), Some(shown), "{asker} {ip}");
            }
        }
    }
    assert!(asked > 0, "{links}");
}

#[test]
fn the_list_has_what_is_configured_and_art_comes_as_it_is_in_its_file() {
    let art = Folder::new();
    let png = [b"\x89PNG\r\n\x1a\n".to_vec(), (0..=255).collect()].concat();
    let picture = art.file("art.png", &png, 0o644);
    let (picture, gone) = (picture.display(), art.path().join("gone.png"));
    let daemon = Daemon::start_paired(
        &format!(
            "App Desktop\n\
             App \"Tom & <Jerry>\"\n    Image {picture}\n\
             App Secret\n    Image {picture}\n    Hidden yes\n\
             App Gone\n    Image {}\n",
            gone.display()
        ),
        &["p-256"],
    );
    let id = |title: &str| app_id(&daemon, title);
    let ask = |target: String| ask(&daemon, "p-256", &target);

    let list = ask("/applist".into());
    let asset = |title: &str| ask(format!("/appasset?appid={}&AssetType=2&AssetIdx=0", id(title)));
    let launched = ask(format!("/launch?appid={}&{KEYS}", id("Secret")));

    let app = |title: &str, id: u64| {
        format!(
            "<App><IsHdrSupported>0</IsHdrSupported><AppTitle>{title}</AppTitle><ID>{id}</ID></App>"
        )
    };
    let apps = [
        app("Desktop", id("Desktop")),
        app("Tom &amp; &lt;Jerry&gt;", id("Tom & <Jerry>")),
        app("Gone", id("Gone")),
    ];
    let expected = format!("{DECLARATION}<root status_code=\"200\">{}</root>", apps.concat());
    assert_eq!(list.text(), expected);
    assert!((1..=i32::MAX as u64).contains(&id("Desktop")));
    let shown = asset("Tom & <Jerry>");
    assert_eq!((shown.status, shown.header("content-type")), (200, Some("image/png")));
    assert_eq!(shown.body, png);
    for title in ["Desktop", "Gone", "Secret"] {
        assert_eq!(asset(title).status, 404, "{title}");
    }
    assert_eq!(attribute(launched.text(), "status_code"), Some("404"));
}

#[test]
fn curl_and_openssl_are_known_by_every_kind_of_certificate_over_both_versions_of_tls() {
    let daemon = Daemon::start_paired("", &KINDS);
    let versions = [("1.2", "--tlsv1.2", "-tls1_2"), ("1.3", "--tlsv1.3", "-tls1_3")];
    for asker in KINDS.into_iter().chain([NOBODY]) {
        let expected = if asker == NOBODY { "401" } else { "200" };
        for (version, of_curl, of_openssl) in versions {
            let words = [of_curl, "--tls-max", version];
            let answer = curl(asker, &(url(&daemon, "127.0.0.1", asker) + "/serverinfo"), &words);
            let (is_well, said) = s_client(&daemon, asker, &[of_openssl]);

            let document = answer.text();
            assert_eq!(attribute(document, "status_code"), Some(expected), "{asker} {version}");
            assert_eq!(attribute(&said, "status_code"), Some(expected), "{asker} {version} {said}");
            assert!(is_well && said.contains(&format!("TLSv{version}")), "{asker} {said}");
            for document in [document, &said] {
                let is_paired = element(document, "PairStatus") == Some("1");
                assert_eq!(is_paired, asker != NOBODY, "{asker} {version}");
            }
        }
    }
}

#[test]
fn the_host_shows_its_own_certificate_and_speaks_http_1_1_and_nothing_older_than_tls_1_2() {
    let daemon = Daemon::start("");
    let host = std::fs::read_to_string(vector("host.pem")).unwrap();

    let (_, shown) = s_client(&daemon, NOBODY, &["-alpn", "h2,http/1.1"]);
    let (_, old) = s_client(&daemon, NOBODY, &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]);

    assert!(shown.contains(&host), "{shown}");
    assert!(shown.contains("No ALPN negotiated"), "{shown}");
    assert!(shown.contains("No client certificate CA names sent"), "{shown}");
    assert_eq!(attribute(&old, "status_code"), None, "{old}");
    assert!(old.contains("Cipher is (NONE)"), "{old}");
    assert_eq!(daemon.http("/serverinfo").0, 200);
}

#[test]
fn a_client_is_known_by_its_whole_certificate_and_only_with_its_key() {
    let daemon = Daemon::start_paired("", &["rsa-2048"]);
    let folder = Folder::new();
    // The same key, name and kind of serial number; the signature is another one.
    let same_key = folder.path().join("same-key.pem");
    let mut command = tool("openssl");
    command.args(["req", "-new", "-x509", "-days", "7305"]);
    command.args(["-subj", "/CN=NVIDIA GameStream Client", "-key"]);
    command.arg(key_path("rsa-2048")).arg("-out").arg(&same_key);
    assert!(command.output().unwrap().status.success());
    let table = [
        ("rsa-2048", "200"),
        (same_key.to_str().unwrap(), "401"),
        ("serial-0", "401"),
        ("x509-v1", "401"),
        ("p-256", "401"),
    ];
    for (asker, expected) in table {
        let answer = ask(&daemon, asker, "/applist");

        assert_eq!(attribute(answer.text(), "status_code"), Some(expected), "{asker}");
    }

    // The client's end of TLS 1.3 is content before the host has looked at its proof.
    let thief = tls::Client::connect(daemon.port - 5, "rsa-2048", "serial-0");
    let got = thief.and_then(|mut thief| {
        thief.send(b"GET /applist HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        thief.read_to_end()
    });

    assert!(got.is_err(), "{got:?}");
    let failures =
        || daemon.api("GET", "/v1/status", "").1["counters"]["handshake_failures"].as_u64();
    eventually("the failed handshake is counted", || (failures() == Some(1)).then_some(()));
}

#[test]
fn an_unpaired_client_is_cut_off_at_once_and_unknown_from_then_on() {
    // Nothing else ends a connection as soon as that.
    let daemon = Daemon::start_paired("LoginGraceTime 5m", &["rsa-2048", "p-256"]);
    let connect = |name: &str| tls::Client::connect(daemon.port - 5, name, name).unwrap();
    let (mut gone, mut stays) = (connect("rsa-2048"), connect("p-256"));
    let counts = || {
        let (_, report) = daemon.api("GET", "/v1/clients", "");
        let clients = report["clients"].as_array().unwrap();
        let count = |client: &Value| client["connection_count"].as_u64().unwrap();
        clients.iter().map(count).collect::<Vec<u64>>()
    };
    eventually("both are known", || (counts() == [1, 1]).then_some(()));

    let path = format!("/v1/clients/{}", fingerprint("rsa-2048"));
    let (status, answer) = daemon.api("DELETE", &path, "");
    let end = gone.read_to_end();

    assert_eq!((status, answer), (200, json!({ "fingerprint": fingerprint("rsa-2048") })));
    let is_cut = |error: &io::Error| {
        [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof].contains(&error.kind())
    };
    assert!(end.as_ref().is_err_and(is_cut), "{end:?}");
    let asked = ask(&daemon, "rsa-2048", "/applist");
    assert_eq!(attribute(asked.text(), "status_code"), Some("401"));
    stays.send(b"GET /applist HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let list = stays.read_to_end().unwrap();
    assert_eq!(attribute(&list, "status_code"), Some("200"));
    let stored = std::fs::read_to_string(daemon.state().join("clients.json")).unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(stored["clients"].as_array().unwrap().len(), 1);
    assert_eq!(client_names(&daemon), ["p-256"]);
}

#[test]
fn an_open_s_client_of_an_unpaired_client_ends_at_once() {
    let daemon = Daemon::start_paired("LoginGraceTime 5m", &["rsa-2048"]);
    let mut child = tool("openssl")
        .args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{}", daemon.port - 5)])
        .arg("-cert")
        .arg(certificate_path("rsa-2048"))
        .arg("-key")
        .arg(key_path("rsa-2048"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the client is known", || {
        let (_, report) = daemon.api("GET", "/v1/clients", "");
        (report["clients"][0]["connection_count"] == 1).then_some(())
    });

    let unpaired = daemon.ctl(&["client", "unpair", "rsa-2048"]);

    assert!(unpaired.status.success(), "{unpaired:?}");
    eventually("openssl ends", || child.try_wait().unwrap());
}

#[test]
fn unpair_over_http_takes_nobody_off() {
    let daemon = Daemon::start_paired("", &["rsa-2048"]);
    for asker in [PLAIN, "rsa-2048"] {
        let answer = ask(&daemon, asker, "/unpair?uniqueid=0123456789ABCDEF&uuid=7");

        assert_eq!((answer.status, answer.text().contains("status_code=\"200\"")), (200, true));
    }
    let info = ask(&daemon, "rsa-2048", "/serverinfo");
    assert_eq!(element(info.text(), "PairStatus"), Some("1"));
}

#[test]
fn only_get_is_a_method_here() {
    let daemon = Daemon::start_paired("", &["rsa-2048"]);
    for asker in [PLAIN, "rsa-2048"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", "PATCH"] {
            let target = url(&daemon, "127.0.0.1", asker) + "/serverinfo";
            let answer = curl(asker, &target, &["--request", method]);

            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")), "{method}");
            assert_eq!(attribute(answer.text(), "status_code"), Some("405"));
        }
        let head = curl(asker, &(url(&daemon, "127.0.0.1", asker) + "/serverinfo"), &["--head"]);
        assert_eq!((head.status, head.header("allow")), (405, Some("GET")));
    }
}

#[test]
fn requests_of_every_shape_get_the_answer_that_http_has_for_them() {
    let daemon = Daemon::start("");
    let long =
        |len: usize| format!("GET /serverinfo?a={} HTTP/1.1\r\nHost: a\r\n\r\n", "b".repeat(len));
    let headers = |count: usize| {
        format!("GET /serverinfo HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count))
    };
    // 0 is no answer at all.
    let table: [(String, u16); 22] = [
        ("GET /serverinfo HTTP/1.1\r\nHost: a\r\n\r\n".into(), 200),
        ("GET /serverinfo HTTP/1.0\r\n\r\n".into(), 200),
        ("GET /serverinfo HTTP/1.1\r\n\r\n".into(), 200),
        ("GET /serverinfo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), 400),
        ("GET /serverinfo HTTP/1.1\r\nHost: a\r\n\r\nGET /applist HTTP/1.1\r\n\r\n".into(), 200),
        ("GET /serverinfo HTTP/2.0\r\nHost: a\r\n\r\n".into(), 505),
        ("GET /serverinfo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".into(), 200),
        ("GET /serverinfo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n.".into(), 413),
        (
            "GET /serverinfo HTTP/1.1\r\nHost: a\r\nContent-Length: 1099511627776\r\n\r\n".into(),
            413,
        ),
        ("GET /serverinfo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".into(), 400),
        ("GET /serverinfo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0".into(), 501),
        ("GET http://a/serverinfo HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("GET serverinfo HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("GET /serverinfo\r\n\r\n".into(), 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".into(), 400),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n".into(), 400),
        (long(8 * 1024), 200),
        (long(15 * 1024), 200),
        (long(17 * 1024), 431),
        (headers(60), 200),
        (headers(70), 431),
        ("".into(), 0),
    ];
    for (bytes, expected) in table {
        let mut socket = TcpStream::connect(local(daemon.port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(bytes.as_bytes()).unwrap();
        // What is whole is answered although nothing more will come.
        socket.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // Bytes that nobody looked at make the end a reset.
        let _ = socket.read_to_end(&mut answer);

        let (status, document) = split_answer(&String::from_utf8(answer).unwrap());
        let shown: String = bytes.chars().take(80).collect();
        assert_eq!(status, expected, "{shown:?}");
        let status_code = attribute(&document, "status_code").unwrap_or("0");
        assert_eq!(status_code, expected.to_string(), "{shown:?}");
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let daemon = Daemon::start_paired("", &["p-256"]);
    let request = b"GET /serverinfo?uniqueid=0123456789ABCDEF HTTP/1.1\r\nHost: localhost\r\n\r\n";

    let mut plain = TcpStream::connect(local(daemon.port)).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.set_nodelay(true).unwrap();
    let mut secret = tls::Client::connect(daemon.port - 5, "p-256", "p-256").unwrap();
    for byte in request {
        plain.write_all(&[*byte]).unwrap();
        secret.send(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();

    assert_eq!(element(&answer, "PairStatus"), Some("0"));
    assert_eq!(element(&secret.read_to_end().unwrap(), "PairStatus"), Some("1"));
}

#[test]
fn connections_that_say_nothing_or_stop_half_way_are_let_go() {
    let daemon = Daemon::start("");
    let count = || daemon.api("GET", "/v1/status", "").1["connection_count"].as_u64().unwrap();

    for port in [daemon.port, daemon.port - 5] {
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
            let address = SocketAddr::new(ip, port);
            for _ in 0..10 {
                drop(TcpStream::connect(address).unwrap());
            }
            for bytes in [&b""[..], b"GET /serverinfo HT", b"\x16\x03\x01\x02\x00"] {
                let mut socket = TcpStream::connect(address).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                socket.write_all(bytes).unwrap();
                socket.shutdown(Shutdown::Write).unwrap();
                let mut answer = Vec::new();
                let _ = socket.read_to_end(&mut answer);
                assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
            }
        }
    }

    eventually("all are gone", || (count() == 0).then_some(()));
    assert_eq!(daemon.http("/serverinfo").0, 200);
}

#[test]
fn an_ipv4_client_is_known_by_its_ipv4_address_on_a_socket_for_both() {
    let daemon = Daemon::start("");
    let pem = std::fs::read(vector("rsa-2048.pem")).unwrap();
    let hex: String = pem.iter().map(|byte| format!("{byte:02x}")).collect();
    let target =
        format!("/pair?uniqueid=1&phrase=getservercert&salt={}&clientcert={hex}", "5a".repeat(16));
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), daemon.port));

    let mut socket = TcpStream::connect(mapped).unwrap();
    socket.write_all(request.as_bytes()).unwrap();

    let address = eventually("it is pending", || {
        let pairing = daemon.pairings().into_iter().next()?;
        pairing["address"].as_str().map(str::to_owned)
    });
    assert_eq!(address, "127.0.0.1");
    // So a second one from there, asked for in IPv4, has to wait.
    let second = exchange(local(daemon.port), request.as_bytes());
    let (_, document) = split_answer(&String::from_utf8(second).unwrap());
    assert_eq!(
        attribute(&document, "status_message"),
        Some("Another pairing is in progress from this address")
    );
}
