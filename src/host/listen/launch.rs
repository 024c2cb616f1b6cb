//! Launch, resume and cancel: who may have a session, and who has to make room for it.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Instant;

use punktfunk_core::proto::cert::{Certificate, Fingerprint};
use punktfunk_core::proto::gamestream::http::{self as document, SessionKeys, SessionUrl, Wishes};
use punktfunk_core::proto::gamestream::http::{Launch, Mode, Resume};
use punktfunk_core::proto::gamestream::rtsp::announce::{Announce, Encryption};
use punktfunk_core::proto::gamestream::rtsp::describe::Offer;
use punktfunk_core::proto::gamestream::rtsp::handshake::Ports;
use ring::rand::SecureRandom;

use super::gamestream::{Asker, xml};
use super::media::{AUDIO_OFFSET, CONTROL_OFFSET, RTSP_OFFSET, VIDEO_OFFSET};
use crate::code::Code;
use crate::conf::{
    self, BitDepth, Capture, Conf, Encoder, EncoderFallback, Gamepad, SessionConflict,
};
use crate::daemon::Daemon;
use crate::display::{self, Told};
use crate::encode::Backend;
use crate::encode::choice::{Choice, Directives, Fallback};
use crate::grants::{Grant, Grants};
use crate::inject::uinput::{self, Model};
use crate::pipeline::Plan;
use crate::session::{self, Circumstances, Draw, End, Run, Session};

/// Digits of a client's fingerprint that name it in the physical paths of its gamepads.
const OWNER_LEN: usize = 8;

/// Why a client gets no session, or ends none: the status of the document, and what its user reads.
struct Refusal(u16, String);

impl Refusal {
    fn new(status: u16, message: impl Into<String>) -> Refusal {
        Refusal(status, message.into())
    }

    fn missing(grant: &str) -> Refusal {
        Refusal::new(403, format!("This client may not do that here (grant {grant})"))
    }

    /// Of a client that is not known.
    fn unknown() -> Refusal {
        Refusal::new(401, "This client is not paired")
    }
}

/// What a client asks for, by launch or by resume.
struct Wanted {
    app: u32,
    keys: SessionKeys,
    mode: Option<Mode>,
    wishes: Wishes,
}

impl Daemon {
    pub(super) fn answer_launch(&mut self, asker: &Asker, launch: Launch, now: Instant) -> Vec<u8> {
        let Launch { app, keys, mode, wishes } = launch;
        let url = match self.apps.visible(app) {
            None => Err(Refusal::new(404, "This host has no such app")),
            Some(_) => self.let_in(asker, Wanted { app, keys, mode, wishes }, None, now),
        };
        match url {
            Ok(url) => xml(200, &document::launched(&url)),
            Err(refusal) => refuse(asker, &refusal, "gamesession"),
        }
    }

    pub(super) fn answer_resume(&mut self, asker: &Asker, resume: Resume, now: Instant) -> Vec<u8> {
        let Resume { keys, mode, wishes } = resume;
        let run = self.run_seen_by(asker.certificate.as_ref()).map(|run| (run.id, run.app));
        let url = match run {
            None => Err(Refusal::new(503, "No running app to resume")),
            Some((run, app)) => {
                self.let_in(asker, Wanted { app, keys, mode, wishes }, Some(run), now)
            }
        };
        match url {
            Ok(url) => xml(200, &document::resumed(&url)),
            Err(refusal) => refuse(asker, &refusal, "resume"),
        }
    }

    pub(super) fn answer_cancel(&mut self, asker: &Asker, now: Instant) -> Vec<u8> {
        match self.run_ended_by(asker.certificate.as_ref()) {
            Err(refusal) => refuse(asker, &refusal, "cancel"),
            Ok(run) => {
                if let Some(run) = run {
                    self.sessions.cancel(run, now);
                }
                xml(200, &document::cancelled())
            }
        }
    }

    /// The app that runs, as a client sees it: its own, or where clients share the host, anybody's.
    /// 0 is none.
    pub(super) fn app_seen_by(&self, client: Option<&Certificate>) -> u32 {
        self.run_seen_by(client).map_or(0, |run| run.app)
    }

    fn run_seen_by(&self, client: Option<&Certificate>) -> Option<&Run> {
        let own = client.and_then(|client| self.sessions.run_of(client.fingerprint()));
        let is_shared = self.conf.session_conflict != SessionConflict::Separate;
        own.or_else(|| self.sessions.runs().first().filter(|_| is_shared))
    }

    /// What a client ends that ends the app that it sees: its own, and another's where it could
    /// take its place.
    fn run_ended_by(&self, client: Option<&Certificate>) -> Result<Option<u32>, Refusal> {
        let certificate = client.ok_or_else(Refusal::unknown)?;
        let client = self.ledger.trust().client(certificate).ok_or_else(Refusal::unknown)?;
        let takes_over = self.conf.session_conflict == SessionConflict::Takeover;
        let can_end = |run: &&Run| {
            run.client == certificate.fingerprint() || takes_over || run.lingers.is_some()
        };
        match self.run_seen_by(Some(certificate)).filter(can_end) {
            Some(_) if !client.grants.contains(Grant::Launch) => Err(Refusal::missing("launch")),
            run => Ok(run.map(|run| run.id)),
        }
    }

    /// What serves which codec, as far as that is known.
    pub(crate) fn choice(&self) -> Choice {
        self.prober.choice(&self.encoder_directives())
    }

    /// What the configuration says of encoders.
    pub(crate) fn encoder_directives(&self) -> Directives {
        directives(&self.conf)
    }

    /// How the stream of a session is to be, or why it cannot be.
    pub(super) fn plan(&self, session: &Session, announce: &Announce) -> Result<Plan, String> {
        let codec = announce.video.format.codec;
        let service = self.choice().service(codec);
        let service = service.ok_or_else(|| format!("no encoder for {codec}"))?;
        if !announce.encryption.control {
            log::warn!(
                "session {}: {}: the control stream is sealed in the old way, which anyone can \
                 open who listens (LegacyControlCrypto)",
                session.id,
                session.client_name,
            );
        }
        let processor_count = std::thread::available_parallelism().map_or(1, usize::from);
        let app = self.apps.get(session.app).map(|app| app.program.clone()).unwrap_or_default();
        let for_all = display::Step::pair(&self.conf.prepare, &self.conf.undo);
        let steps = [for_all, app.steps].concat();
        let app = display::App { steps, hook_time: self.conf.hook_timeout, ..app };
        let circumstances = Circumstances { backend: service.backend, processor_count, app };
        session::plan(session, announce, &self.conf, circumstances)
    }

    fn let_in(
        &mut self,
        asker: &Asker,
        wanted: Wanted,
        resumes: Option<u32>,
        now: Instant,
    ) -> Result<SessionUrl, Refusal> {
        let certificate = asker.certificate.as_ref().ok_or_else(Refusal::unknown)?;
        let client = self.ledger.trust().client(certificate).ok_or_else(Refusal::unknown)?;
        let (client_name, grants) = (client.name.clone(), client.grants);
        let client = certificate.fingerprint();
        if !grants.contains(Grant::Launch) && self.disturbs(client, resumes) {
            return Err(Refusal::missing("launch"));
        }
        self.check(&wanted, grants)?;
        self.make_room(client, resumes, now)?;
        let draw = self.draw().ok_or_else(|| Refusal::new(500, "No random numbers"))?;
        let base = self.conf.gamestream_port;
        let is_sealed = wanted.wishes.seals_rtsp;
        let offer = self.offer(asker.peer, is_sealed, wanted.wishes);
        let title = self.apps.title(wanted.app).unwrap_or("an app that is gone");
        let told = Told {
            session: 0,
            client_name: client_name.clone(),
            client_address: Some(asker.peer),
            app_id: wanted.app,
            app_title: title.to_owned(),
            mode: wanted.mode,
            is_hdr: wanted.wishes.is_hdr,
            gamepads: wanted.wishes.gamepads,
            plays_on_host: wanted.wishes.plays_on_host == Some(true),
            optimises: wanted.wishes.optimises,
            channel_count: wanted.wishes.channel_count,
            has_legacy_names: self.conf.legacy_environment,
        };
        let launch = session::Launch {
            client,
            client_name,
            grants,
            gamepads: self.gamepads(client),
            app: wanted.app,
            title: self.apps.title(wanted.app).unwrap_or("an app that is gone").to_owned(),
            resumes,
            linger: self.conf.linger_time,
            run_count_max: self.conf.sessions_max,
            address: asker.peer,
            local: asker.local,
            keys: wanted.keys,
            wishes: wanted.wishes,
            offer,
            ports: Ports {
                audio: base + AUDIO_OFFSET,
                control: base + CONTROL_OFFSET,
                video: base + VIDEO_OFFSET,
            },
            told,
        };
        let name = launch.client_name.clone();
        let title = launch.told.app_title.clone();
        let id = self.sessions.launch(launch, draw, now);
        let what = if resumes.is_none() { "launches" } else { "resumes" };
        log::info!("session {id}: {name} {what} {title:?} from {}", asker.peer);
        Ok(SessionUrl { local_ip: asker.local, port: base + RTSP_OFFSET, is_sealed })
    }

    /// How gamepads of a client are made.
    fn gamepads(&self, client: Fingerprint) -> uinput::Terms {
        let model = match self.conf.gamepad {
            Gamepad::Auto => None,
            Gamepad::Ds4 => Some(Model::DualShock4),
            Gamepad::Switch => Some(Model::SwitchPro),
            Gamepad::X360 => Some(Model::Xbox360),
            Gamepad::Xone => Some(Model::XboxOne),
        };
        let mut owner = client.to_string();
        owner.truncate(OWNER_LEN);
        uinput::Terms { count_max: self.conf.gamepads_max, model, owner }
    }

    /// Whether a client does more than return to its own app: that starts one, or takes another's.
    fn disturbs(&self, client: Fingerprint, resumes: Option<u32>) -> bool {
        let own = self.sessions.run_of(client).map(|run| run.id);
        let takes_over = self.conf.session_conflict == SessionConflict::Takeover;
        let has_other = || self.sessions.all().iter().any(|session| session.client != client);
        resumes.is_none() || resumes != own || (takes_over && has_other())
    }

    /// Whether this host could stream that to this client at all.
    fn check(&self, wanted: &Wanted, grants: Grants) -> Result<(), Refusal> {
        if !grants.contains(Grant::View) {
            return Err(Refusal::missing("view"));
        }
        if self.conf.capture != Capture::Test
            && let Some(why) = self.displays.refusal(&self.conf.display)
        {
            let message = format!("This host has no desktop to show: {why} [{}]", Code::Display);
            return Err(Refusal::new(503, message));
        }
        if let Some(why) = self.choice().refusal() {
            let code = Code::Encoders;
            let message = format!("This host cannot encode pictures: {why} [{code}]");
            return Err(Refusal::new(503, message));
        }
        if self.conf.encryption == conf::Encryption::Required && !wanted.wishes.seals_rtsp {
            let message = "This host demands encryption, which this version of Moonlight has not";
            return Err(Refusal::new(403, message));
        }
        let max = self.conf.mode_max;
        let is_too_large = |mode: &Mode| mode.width > max.width || mode.height > max.height;
        if wanted.mode.as_ref().is_some_and(is_too_large) {
            let message = format!("This host streams {}x{} at most", max.width, max.height);
            return Err(Refusal::new(400, message));
        }
        Ok(())
    }

    /// Settles who has to go, or that nobody has.
    fn make_room(
        &mut self,
        client: Fingerprint,
        resumes: Option<u32>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let is_other = |session: &Session| session.client != client;
        let other_count = self.sessions.all().iter().filter(|it| is_other(it)).count();
        match self.conf.session_conflict {
            SessionConflict::Refuse if other_count > 0 => {
                Err(Refusal::new(503, "Another client is streaming from this host"))
            }
            SessionConflict::Takeover => {
                // Who looks at what is resumed goes when another has it.
                let is_in_the_way = |it: &Session| is_other(it) && Some(it.run) != resumes;
                self.sessions.end_all(is_in_the_way, &End::Replaced, now);
                Ok(())
            }
            SessionConflict::Refuse | SessionConflict::Separate => {
                let count_max = self.conf.sessions_max;
                if other_count < count_max {
                    return Ok(());
                }
                let message = format!("This host streams to {count_max} clients already");
                Err(Refusal::new(503, message))
            }
        }
    }

    fn offer(&self, peer: IpAddr, is_sealed: bool, wishes: Wishes) -> Offer {
        let choice = self.choice();
        let without_video = Encryption { video: false, ..Encryption::ALL };
        let (can_seal, mut wants_sealed, mut must_seal) = match self.conf.encryption {
            conf::Encryption::Off => (without_video, Encryption::CONTROL, Encryption::CONTROL),
            conf::Encryption::Preferred if conf::is_local(peer) => {
                (Encryption::ALL, Encryption::CONTROL, Encryption::CONTROL)
            }
            conf::Encryption::Preferred => (Encryption::ALL, Encryption::ALL, Encryption::CONTROL),
            conf::Encryption::Required => (Encryption::ALL, Encryption::ALL, Encryption::ALL),
        };
        if self.conf.legacy_control_crypto && self.conf.encryption != conf::Encryption::Required {
            must_seal.control = false;
        }
        if !is_sealed {
            // Such clients know nothing of this, and do not mind it.
            wants_sealed = must_seal;
        }
        Offer {
            formats: choice.offers(),
            invalidates: choice.invalidates(),
            takes_touch: true,
            takes_motion: true,
            can_seal,
            wants_sealed,
            must_seal,
            layout: wishes.layout,
        }
    }

    fn draw(&self) -> Option<Draw> {
        let mut bytes = [0; 28];
        self.random.fill(&mut bytes).ok()?;
        let (session, rest) = bytes.split_first_chunk()?;
        let (audio_ping, rest) = rest.split_first_chunk()?;
        let (video_ping, rest) = rest.split_first_chunk()?;
        let connect_data = u32::from_be_bytes(*rest.first_chunk()?);
        Some(Draw {
            session: *session,
            audio_ping: *audio_ping,
            video_ping: *video_ping,
            // Clients that know of no connect data send 0, which is nobody's.
            connect_data: NonZeroU32::new(connect_data).unwrap_or(NonZeroU32::MIN),
        })
    }
}

/// What a configuration says of encoders.
pub fn directives(conf: &Conf) -> Directives {
    Directives {
        encoder: match conf.encoder {
            Encoder::Auto => None,
            Encoder::Nvenc => Some(Backend::Nvenc),
            Encoder::Software => Some(Backend::Software),
            Encoder::V4l2 => Some(Backend::V4l2),
            Encoder::Vaapi => Some(Backend::Vaapi),
            Encoder::Vulkan => Some(Backend::Vulkan),
        },
        fallback: match conf.encoder_fallback {
            EncoderFallback::Refuse => Fallback::Refuse,
            EncoderFallback::Warn => Fallback::Warn,
        },
        codecs: conf.codecs.clone(),
        allows_10_bit: conf.bit_depth != BitDepth::Eight,
    }
}

fn refuse(asker: &Asker, refusal: &Refusal, element: &'static str) -> Vec<u8> {
    let Refusal(status, message) = refusal;
    log::info!("gamestream: {}: refused: {message}", asker.peer);
    xml(200, &document::refusal(*status, message, Some((element, "0"))))
}
