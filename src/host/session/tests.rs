//! Sessions, with a client that is a key and a clock that is a variable.

use enet::{Config, Host, Outcome};
use punktfunk_core::net::clock;
use punktfunk_core::proto::gamestream::control::seal::{Opener, Sealer};
use punktfunk_core::proto::gamestream::rtsp::announce::Encryption;
use punktfunk_core::proto::gamestream::secret::Secret;

use super::*;
use crate::daemon::tests::conf;
use crate::encode::Backend;

const ANNOUNCE: &[u8] = include_bytes!("../../../tests/vectors/rtsp/announce");
const PAYLOAD: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
pub(crate) const CONNECT_DATA: u32 = 0xdead_beef;
const LINGER: Duration = Duration::from_secs(60);
pub(crate) const REQUEST_IDR: &[u8] = b"\x02\x03\x02\0\0\0";

pub(crate) fn rikey() -> Secret<16> {
    Secret::new([7; 16])
}

fn fingerprint(number: u8) -> Fingerprint {
    format!("{number:02x}").repeat(32).parse().unwrap()
}

pub(crate) fn announce() -> Announce {
    let text = std::str::from_utf8(ANNOUNCE).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    Announce::parse(body.as_bytes(), None).unwrap()
}

fn launch(client: u8) -> Launch {
    Launch {
        client: fingerprint(client),
        client_name: format!("client {client}"),
        grants: conf().default_grants,
        gamepads: uinput::Terms { count_max: 4, ..uinput::Terms::default() },
        app: 1,
        title: "Desktop".into(),
        resumes: None,
        linger: Some(LINGER),
        run_count_max: 4,
        address: [10, 0, 0, client].into(),
        local: [10, 0, 0, 99].into(),
        keys: SessionKeys { rikey: rikey(), rikeyid: 1 },
        wishes: Wishes { seals_rtsp: true, ..Wishes::default() },
        offer: Offer {
            formats: Vec::new(),
            invalidates: false,
            takes_touch: true,
            takes_motion: true,
            can_seal: Encryption::ALL,
            wants_sealed: Encryption::CONTROL,
            must_seal: Encryption::CONTROL,
            layout: None,
        },
        ports: Ports { audio: 48000, control: 47999, video: 47998 },
        told: Told { app_title: "Desktop".into(), ..Told::default() },
    }
}

pub(crate) fn draw(client: u8) -> Draw {
    let payload = PAYLOAD.map(|byte| byte + client * 16);
    Draw {
        session: payload,
        audio_ping: payload,
        video_ping: payload.map(|byte| byte ^ 0xff),
        connect_data: NonZeroU32::new(CONNECT_DATA + u32::from(client)).unwrap(),
    }
}

/// Sessions with some clients in them, all announced.
pub(crate) struct Fixture {
    pub(crate) sessions: Sessions,
    now: Instant,
    host: Host,
    pub(crate) ids: Vec<u32>,
}

impl Fixture {
    pub(crate) fn with(announce: &Announce, clients: &[u8]) -> Fixture {
        let now = clock::now();
        let mut fixture = Fixture {
            sessions: Sessions::default(),
            now,
            host: Host::new(Config::default(), now),
            ids: Vec::new(),
        };
        for client in clients {
            let id = fixture.sessions.launch(launch(*client), draw(*client), now);
            fixture.begin(id, announce);
            fixture.ids.push(id);
        }
        fixture.acts();
        fixture
    }

    fn begin(&mut self, id: u32, announce: &Announce) {
        let session = self.sessions.get(id).unwrap();
        let circumstances = Circumstances {
            backend: Backend::Software,
            processor_count: 2,
            app: crate::display::App::default(),
        };
        let plan = plan(session, announce, &conf(), circumstances).unwrap();
        self.sessions.begin(id, announce.clone(), plan, self.now);
    }

    fn acts(&mut self) -> Vec<Act> {
        std::iter::from_fn(|| self.sessions.poll_act()).collect()
    }

    /// A peer that knocks with this data; whose it is.
    fn knock(&mut self, port: u16, data: u32) -> Option<(u32, PeerId)> {
        let path = enet::Path { remote: ([10, 0, 0, 1], port).into(), local: None };
        let mut client = Host::new(Config::default(), self.now);
        client.connect(path, 48, port.into(), data, self.now).unwrap();
        let mut datagram = Vec::new();
        client.poll_datagram(self.now, &mut datagram).unwrap();
        let outcome = self.host.handle_datagram(path, &datagram, self.now);
        let Ok(Outcome::Knock(knock)) = outcome else {
            panic!("{outcome:?}");
        };
        let id = self.sessions.invites(knock.data, path.remote.ip())?;
        let peer = self.host.admit(knock, self.now).unwrap();
        self.sessions.on_admitted(id, peer);
        Some((id, peer))
    }
}

fn path(client: u8, port: u16) -> Path {
    Path { remote: ([10, 0, 0, client], port).into(), local: None }
}

fn orders(acts: &[Act]) -> Vec<String> {
    let acts = acts.iter().filter(|act| !matches!(act, Act::Hook(..)));
    let names = acts.map(|act| match act {
        Act::Hook(..) => unreachable!("filtered above"),
        Act::CloseDevices(_) => "close devices".to_owned(),
        Act::Close(run) => format!("close {run}"),
        Act::LookAt(runs) => format!("look at {runs:?}"),
        Act::Order(id, Order::SendTo(path)) => format!("{id} pictures to {}", path.remote),
        Act::Order(id, order) => format!("{id} {order:?}"),
        Act::Part(_, parting) => format!("part {parting:?}"),
        Act::Say(..) => "say".to_owned(),
        Act::Gamepad(id, act) => format!("{id} {act:?}"),
        Act::OpenDevices(id, ..) => format!("{id} devices"),
        Act::SoundTo(id, path) => format!("{id} sound to {}", path.remote),
        Act::Start(id, _) => format!("{id} start"),
        Act::Stop(id) => format!("{id} stop"),
    });
    names.collect()
}

#[test]
fn a_ping_is_known_by_its_payload_wherever_it_comes_from() {
    let mut fixture = Fixture::with(&announce(), &[1, 2]);
    let ping = |client, is_audio: bool| {
        let draw = draw(client);
        let payload = if is_audio { draw.audio_ping } else { draw.video_ping };
        [&PingPayload::new(payload).bytes()[..], &[0, 0, 0, 1]].concat()
    };

    for (media, client, from) in [
        (Media::Video, 2, path(9, 1)),
        (Media::Video, 2, path(9, 1)),
        (Media::Audio, 1, path(9, 1)),
        (Media::Video, 2, path(2, 7)),
    ] {
        fixture.sessions.handle_ping(media, &ping(client, media == Media::Audio), from);
    }
    fixture.sessions.handle_ping(Media::Video, &ping(1, true), path(1, 1));
    fixture.sessions.handle_ping(Media::Video, b"PING", path(1, 1));
    fixture.sessions.handle_ping(Media::Video, b"", path(1, 1));

    let [first, second] = fixture.ids[..] else { panic!() };
    let expected = [
        format!("{second} pictures to 10.0.0.9:1"),
        format!("{first} sound to 10.0.0.9:1"),
        format!("{second} pictures to 10.0.0.2:7"),
    ];
    assert_eq!(orders(&fixture.acts()), expected);
    assert_eq!(fixture.sessions.stray_count(), 3);
}

#[test]
fn a_stream_moves_only_to_where_its_client_has_shown_itself() {
    let mut fixture = Fixture::with(&announce(), &[1]);
    let (id, peer) = fixture.knock(1, CONNECT_DATA + 1).unwrap();
    let mut client = Sealer::of_client(Scheme::V2, &rikey());
    let ping = *PingPayload::new(draw(1).video_ping).bytes();
    let mut show = |fixture: &mut Fixture, client_ip: [u8; 4]| {
        let message = client.seal(b"\x00\x02\x08\x00\x04\0\0\0\0\0\0\0").unwrap();
        let ip = Some(client_ip.into());
        fixture.sessions.handle_control(peer, ip, message, fixture.now);
    };

    // The first is taken from anywhere, a way out may have several addresses.
    show(&mut fixture, [10, 0, 0, 1]);
    fixture.sessions.handle_ping(Media::Video, &ping, path(8, 1));
    fixture.sessions.handle_ping(Media::Video, &ping, path(9, 1));
    fixture.sessions.handle_ping(Media::Video, &ping, path(8, 2));
    fixture.sessions.handle_ping(Media::Video, &ping, path(1, 3));
    show(&mut fixture, [10, 0, 0, 9]);
    fixture.sessions.handle_ping(Media::Video, &ping, path(9, 4));

    let expected = ["10.0.0.8:1", "10.0.0.8:2", "10.0.0.1:3", "10.0.0.9:4"];
    let expected = expected.map(|to| format!("{id} pictures to {to}"));
    assert_eq!(orders(&fixture.acts()), expected);
}

#[test]
fn clients_that_know_of_no_payload_are_known_by_their_address() {
    let announce = Announce { has_session_id: false, ..announce() };
    let mut fixture = Fixture::with(&announce, &[1]);

    fixture.sessions.handle_ping(Media::Video, b"PING", path(2, 5));
    fixture.sessions.handle_ping(Media::Video, b"PING", path(1, 5));

    let id = fixture.ids[0];
    assert_eq!(orders(&fixture.acts()), [format!("{id} pictures to 10.0.0.1:5")]);
    assert_eq!(fixture.sessions.invites(0, [10, 0, 0, 2].into()), None);
    assert_eq!(fixture.sessions.invites(0, [10, 0, 0, 1].into()), Some(id));
}

#[test]
fn the_control_stream_is_for_whoever_was_told_its_data_and_has_the_key() {
    let mut fixture = Fixture::with(&announce(), &[1]);
    let id = fixture.ids[0];
    let mut client = Sealer::of_client(Scheme::V2, &rikey());
    let mut stranger = Sealer::of_client(Scheme::V2, &Secret::new([8; 16]));

    assert_eq!(fixture.knock(1, 0), None);
    assert_eq!(fixture.knock(2, CONNECT_DATA), None);
    let (_, thief) = fixture.knock(3, CONNECT_DATA + 1).unwrap();
    let (_, peer) = fixture.knock(4, CONNECT_DATA + 1).unwrap();
    assert_eq!(fixture.knock(5, CONNECT_DATA + 1), None, "no room for a third");
    let message = stranger.seal(REQUEST_IDR).unwrap();
    fixture.sessions.handle_control(thief, None, message, fixture.now);
    assert!(!fixture.sessions.get(id).unwrap().is_connected());
    assert!(fixture.sessions.has_handshakes());
    let message = client.seal(REQUEST_IDR).unwrap();
    assert!(fixture.sessions.vouches(peer, &message));
    fixture.sessions.handle_control(peer, None, message.clone(), fixture.now);

    assert_eq!(orders(&fixture.acts()), ["part AtOnce".to_owned(), format!("{id} RequestIdr")]);
    assert!(fixture.sessions.get(id).unwrap().is_connected());
    assert!(!fixture.sessions.has_handshakes(), "a recorded one begins nothing");
    assert!(!fixture.sessions.vouches(peer, &message), "a replay vouches for nobody");
}

#[test]
fn what_ends_a_session_is_what_its_client_is_told() {
    let table = [
        (End::AppEnded, Some(0x8003_0023), false),
        (End::Cancelled, Some(0x8003_0023), false),
        (End::Stopped, Some(0x8003_0023), false),
        (End::Replaced, Some(0x8003_0023), false),
        (End::Resumed, Some(0x8003_0023), true),
        (End::Revoked, Some(0x8003_0023), false),
        (End::Unpaired, Some(0x8003_0023), false),
        (End::NoPicture("gone".into()), Some(0x800e_9403), true),
        (End::ClientLeft, None, true),
        (End::ClientGone, None, true),
        (End::NeverCame, None, true),
        (End::Tampered, None, false),
    ];
    for (end, code, leaves_app) in table {
        let mut fixture = Fixture::with(&announce(), &[1]);
        let (id, peer) = fixture.knock(1, CONNECT_DATA + 1).unwrap();
        let mut client = Sealer::of_client(Scheme::V2, &rikey());
        fixture.sessions.handle_control(peer, None, client.seal(REQUEST_IDR).unwrap(), fixture.now);
        fixture.acts();

        fixture.sessions.end(id, &end, fixture.now);

        let acts = fixture.acts();
        let told = acts.iter().find_map(|act| match act {
            Act::Say(_, bytes) => {
                let mut bytes = bytes.clone();
                let opened =
                    Opener::of_client(Scheme::V2, &rikey()).open(&mut bytes).unwrap().to_vec();
                Some(u32::from_be_bytes(opened[4..8].try_into().unwrap()))
            }
            _ => None,
        });
        assert_eq!(told, code, "{end}");
        let parting = if code.is_some() { "part WhenSent" } else { "part AtOnce" };
        assert!(orders(&acts).contains(&parting.to_owned()), "{end}");
        assert!(orders(&acts).contains(&format!("{id} stop")), "{end}");
        assert_eq!(fixture.sessions.run_of(fingerprint(1)).is_some(), leaves_app, "{end}");
        assert!(fixture.sessions.all().is_empty());
    }
}

#[test]
fn forged_messages_in_a_row_end_it_and_a_few_do_not() {
    let mut fixture = Fixture::with(&announce(), &[1]);
    let (id, peer) = fixture.knock(1, CONNECT_DATA + 1).unwrap();
    let mut client = Sealer::of_client(Scheme::V2, &rikey());
    let forged = vec![1, 0, 26, 0, 9, 9, 9, 9].into_iter().chain([0; 22]).collect::<Vec<u8>>();

    for _ in 0..3 {
        for _ in 0..7 {
            fixture.sessions.handle_control(peer, None, forged.clone(), fixture.now);
        }
        fixture.sessions.handle_control(peer, None, client.seal(REQUEST_IDR).unwrap(), fixture.now);
    }
    assert!(fixture.sessions.get(id).is_some());
    for _ in 0..8 {
        fixture.sessions.handle_control(peer, None, forged.clone(), fixture.now);
    }

    assert!(fixture.sessions.get(id).is_none());
}

#[test]
fn a_client_that_comes_again_replaces_itself_and_nobody_else() {
    let mut fixture = Fixture::with(&announce(), &[1, 2]);
    let [first, second] = fixture.ids[..] else { panic!() };

    let again = fixture.sessions.launch(launch(1), draw(3), fixture.now);

    let left: Vec<u32> = fixture.sessions.all().iter().map(|session| session.id).collect();
    assert_eq!(left, [second, again]);
    assert!(orders(&fixture.acts()).contains(&format!("{first} stop")));
    assert_eq!(fixture.sessions.runs().len(), 2);
}

#[test]
fn whoever_does_not_come_in_time_is_forgotten_but_not_the_app() {
    let now = clock::now();
    let mut sessions = Sessions::default();
    sessions.launch(launch(1), draw(1), now);
    assert_eq!(sessions.poll_timeout(), Some(now + HANDSHAKE_TIME));
    sessions.handle_timeout(now + HANDSHAKE_TIME);
    assert!(sessions.all().is_empty());

    let mut fixture = Fixture::with(&announce(), &[1]);
    assert_eq!(fixture.sessions.poll_timeout(), Some(fixture.now + ARRIVAL_TIME));
    fixture.sessions.handle_timeout(fixture.now + ARRIVAL_TIME);

    assert!(fixture.sessions.all().is_empty());
    assert!(fixture.sessions.run_of(fingerprint(1)).is_some());
}

#[test]
fn devices_that_could_not_be_opened_are_tried_again_until_the_reason_is_one_that_stays() {
    let mut fixture = Fixture::with(&announce(), &[1]);
    let (id, _) = fixture.knock(1, CONNECT_DATA + 1).unwrap();
    let place =
        Place { socket: "/run/wayland-1".into(), output: "DP-1".into(), seat: None, ipc: None };
    let now = fixture.now;
    let opens = vec![format!("{id} devices")];

    fixture.sessions.handle_report(id, Report::Display("mirror".into(), place), now);
    assert_eq!(orders(&fixture.acts()), opens);
    let mut at = now;
    for is_first in [true, false, false] {
        assert_eq!(fixture.sessions.on_no_devices(id, true, at), is_first);
        at += REOPEN_TIME;
        assert_eq!(fixture.sessions.poll_timeout(), Some(at));
        fixture.sessions.handle_timeout(at - Duration::from_millis(1));
        assert_eq!(orders(&fixture.acts()), [] as [String; 0]);

        fixture.sessions.handle_timeout(at);
        fixture.sessions.handle_timeout(at);

        assert_eq!(orders(&fixture.acts()), opens);
    }
    assert!(!fixture.sessions.on_no_devices(id, false, at));
    fixture.sessions.handle_timeout(at + REOPEN_TIME);
    assert_eq!(orders(&fixture.acts()), [] as [String; 0]);
    // Of one that is over by then.
    assert!(!fixture.sessions.on_no_devices(id + 1, true, at));
}

#[test]
fn a_handshake_that_begins_anew_begins_the_stream_anew_with_other_nonces() {
    let mut fixture = Fixture::with(&announce(), &[1]);
    let id = fixture.ids[0];

    fixture.begin(id, &announce());

    let acts = fixture.acts();
    assert_eq!(orders(&acts), [format!("{id} stop"), format!("{id} start")]);
    let Some(Act::Start(_, plan)) = acts.last() else { panic!() };
    assert_ne!(plan.video.nonce, 0);
}

#[test]
fn sessions_follow_what_their_clients_may_do() {
    let grants = |names: &str| Grants::parse(names.split(' ')).unwrap();
    let mut fixture = Fixture::with(&announce(), &[1, 2, 3]);
    let [first, second, third] = fixture.ids[..] else { panic!() };

    fixture.sessions.set_grants(fingerprint(1), grants("view pen"), fixture.now);
    fixture.sessions.set_grants(fingerprint(2), grants("keyboard audio"), fixture.now);
    fixture.sessions.forget(fingerprint(3), fixture.now);

    let left: Vec<u32> = fixture.sessions.all().iter().map(|session| session.id).collect();
    assert_eq!(left, [first]);
    assert_eq!(fixture.sessions.get(first).unwrap().grants, grants("view pen"));
    assert_eq!(fixture.sessions.clients(), [fingerprint(1), fingerprint(1)]);
    let expected = [(second, 2), (third, 3)]
        .map(|(id, run)| [format!("{id} stop"), format!("close {run}")])
        .concat();
    assert_eq!(orders(&fixture.acts()), expected);
}

#[test]
fn a_client_that_left_and_is_unpaired_leaves_no_app() {
    let mut fixture = Fixture::with(&announce(), &[1]);
    fixture.sessions.end(fixture.ids[0], &End::ClientLeft, fixture.now);
    assert_eq!(fixture.sessions.clients(), [fingerprint(1)]);

    fixture.sessions.forget(fingerprint(1), fixture.now);

    assert!(fixture.sessions.clients().is_empty());
}

#[test]
fn only_what_has_pictures_can_be_told_how_they_are_to_be() {
    let mut fixture = Fixture::with(&announce(), &[1]);
    let id = fixture.ids[0];
    let launched = fixture.sessions.launch(launch(2), draw(2), fixture.now);
    let state = |fixture: &Fixture, id| fixture.sessions.get(id).unwrap().state();
    assert_eq!(state(&fixture, launched), State::Launched);
    assert_eq!(state(&fixture, id), State::Announced);

    let told = [id, launched, 99].map(|id| fixture.sessions.order(id, Order::Bitrate(700)));

    assert_eq!(told, [true, false, false]);
    assert_eq!(orders(&fixture.acts()), [format!("{id} Bitrate(700)")]);
    let session = fixture.sessions.get(id).unwrap();
    assert_eq!(session.encoding().map(|it| it.bitrate_kbps), Some(700));
}

#[test]
fn a_session_streams_once_its_client_is_there_and_asks_for_pictures() {
    let mut fixture = Fixture::with(&announce(), &[1]);
    let (id, peer) = fixture.knock(1, CONNECT_DATA + 1).unwrap();
    let mut client = Sealer::of_client(Scheme::V2, &rikey());
    fixture.sessions.handle_control(peer, None, client.seal(REQUEST_IDR).unwrap(), fixture.now);
    assert_eq!(fixture.sessions.get(id).unwrap().state(), State::Announced);

    let payload = PingPayload::new(draw(1).video_ping);
    fixture.sessions.handle_ping(Media::Video, payload.bytes(), path(1, 1));

    assert_eq!(fixture.sessions.get(id).unwrap().state(), State::Streaming);
}

/// What was left to do at each step of a story, told as [`orders`] does, without what is said to
/// clients.
fn story(fixture: &mut Fixture, mut step: impl FnMut(&mut Sessions, Instant)) -> Vec<String> {
    step(&mut fixture.sessions, fixture.now);
    let orders = orders(&fixture.acts()).into_iter();
    orders.filter(|order| order != "say" && !order.starts_with("part")).collect()
}

fn resume(client: u8, run: u32) -> Launch {
    Launch { resumes: Some(run), ..launch(client) }
}

#[test]
fn a_display_waits_for_its_client_and_is_looked_at_meanwhile() {
    let mut fixture = Fixture::with(&announce(), &[1]);
    let (first, run) = (fixture.ids[0], fixture.sessions.runs()[0].id);

    let left = story(&mut fixture, |it, now| it.end(first, &End::ClientLeft, now));
    let looked = story(&mut fixture, |it, now| it.handle_timeout(now + LOOK_INTERVAL));
    let mut second = 0;
    let resumed = story(&mut fixture, |it, now| {
        second = it.launch(resume(1, run), draw(1), now + 2 * LOOK_INTERVAL);
    });
    let not_looked = story(&mut fixture, |it, now| it.handle_timeout(now + 2 * LOOK_INTERVAL));

    assert_eq!(left, [format!("{first} stop")]);
    assert_eq!(looked, [format!("look at [{run}]")]);
    assert_eq!((resumed, not_looked), (vec![], vec![]));
    assert_eq!(fixture.sessions.get(second).unwrap().run, run);
    assert_eq!(fixture.sessions.runs()[0].lingers, None);
}

#[test]
fn a_display_is_closed_when_its_client_stays_away_or_nothing_is_left_in_it() {
    type Step = fn(&mut Sessions, Instant);
    let table: [(Step, usize); 5] = [
        (|it, now| it.handle_timeout(now + LINGER), 1),
        (|it, _| it.on_runs_ended(&[1]), 1),
        (|it, now| it.cancel(1, now), 1),
        (|it, now| it.stop(now), 1),
        (|it, _| it.on_runs_ended(&[2]), 0),
    ];
    for (number, (step, closed_count)) in table.into_iter().enumerate() {
        let mut fixture = Fixture::with(&announce(), &[1]);
        let first = fixture.ids[0];
        story(&mut fixture, |it, now| it.end(first, &End::ClientGone, now));

        let done = story(&mut fixture, step);

        let closed = done.iter().filter(|order| *order == "close 1").count();
        assert_eq!(closed, closed_count, "{number}: {done:?}");
        assert_eq!(fixture.sessions.runs().len(), 1 - closed_count, "{number}");
    }
}

#[test]
fn a_run_that_is_looked_at_is_not_ended_by_what_was_seen_before() {
    let mut fixture = Fixture::with(&announce(), &[1]);
    let first = fixture.ids[0];
    story(&mut fixture, |it, now| it.end(first, &End::ClientLeft, now));
    story(&mut fixture, |it, now| {
        it.launch(resume(1, 1), draw(1), now);
    });

    let done = story(&mut fixture, |it, _| it.on_runs_ended(&[1]));

    assert_eq!(done, [""; 0]);
    assert_eq!(fixture.sessions.runs().len(), 1);
}

#[test]
fn without_time_to_linger_a_display_ends_with_its_session() {
    let mut fixture = Fixture::with(&announce(), &[]);
    let launch = Launch { linger: Some(Duration::ZERO), ..launch(1) };
    let id = fixture.sessions.launch(launch, draw(1), fixture.now);
    fixture.begin(id, &announce());
    fixture.acts();

    let left = story(&mut fixture, |it, now| it.end(id, &End::ClientLeft, now));

    assert_eq!(left, [format!("{id} stop"), "close 1".to_owned()]);
}

#[test]
fn another_client_that_resumes_has_the_display_and_the_first_has_none() {
    let mut fixture = Fixture::with(&announce(), &[1]);
    let first = fixture.ids[0];

    let taken = story(&mut fixture, |it, now| {
        it.launch(resume(2, 1), draw(2), now);
    });

    assert_eq!(taken, [format!("{first} stop")]);
    let runs: Vec<_> = fixture.sessions.runs().iter().map(|run| (run.id, run.client)).collect();
    assert_eq!(runs, [(1, fingerprint(2))]);
}

#[test]
fn of_more_displays_than_there_may_be_the_one_goes_that_has_waited_longest() {
    let mut fixture = Fixture::with(&announce(), &[1, 2, 3]);
    let ids = fixture.ids.clone();
    for (index, id) in [ids[1], ids[0]].into_iter().enumerate() {
        let later = Duration::from_secs(index as u64);
        story(&mut fixture, |it, now| it.end(id, &End::ClientLeft, now + later));
    }

    let done = story(&mut fixture, |it, now| {
        it.launch(Launch { run_count_max: 3, ..launch(4) }, draw(4), now);
    });

    assert_eq!(done, ["close 2"]);
}

#[test]
fn what_happens_to_a_session_is_known_in_order_and_ends_with_a_reason() {
    let mut fixture = Fixture::with(&announce(), &[]);
    let now = fixture.now;
    let first = || Report::FirstFrame(Duration::ZERO);

    let id = fixture.sessions.launch(launch(1), draw(1), now);
    fixture.begin(id, &announce());
    fixture.sessions.handle_report(id, first(), now);
    fixture.begin(id, &announce());
    fixture.sessions.handle_report(id, first(), now);
    fixture.sessions.end(id, &End::ClientLeft, now);
    fixture.sessions.handle_report(id, first(), now);
    let second = fixture.sessions.launch(launch(2), draw(2), now);
    fixture.sessions.end(second, &End::NeverCame, now);

    let acts = fixture.acts();
    let noted = acts.iter().filter_map(|act| match act {
        Act::Hook(event, told) => Some((event.clone(), told.session, told.mode.is_some())),
        _ => None,
    });
    use hooks::Event::{Connect, Disconnect, StreamEnd, StreamStart};
    let expected = [
        (Connect, id, false),
        (StreamStart, id, true),
        (StreamEnd("stream begun anew".into()), id, true),
        (StreamStart, id, true),
        (StreamEnd("client left".into()), id, true),
        (Disconnect("client left".into()), id, true),
        (Connect, second, false),
        (Disconnect("client did not connect".into()), second, false),
    ];
    assert_eq!(noted.collect::<Vec<_>>(), expected);
}
