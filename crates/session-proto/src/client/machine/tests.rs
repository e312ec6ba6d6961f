use super::*;
use hbb_common::handshake::{HostHandshake, HostOutcome};
use hbb_common::key::SigningKey;
use hbb_common::password::PasswordHash;
use hbb_common::session::{
    Auth2Fa, CaptureDisplays, DisplayInfo, EncodedVideoFrame, EncodedVideoFrames, Hash, LoginResponse, Misc,
    PeerInfo, PermissionInfo, ScreenshotRequest, ScreenshotResponse, TestDelay, VideoFrame, WindowsSession,
    WindowsSessions, login_response, video_frame,
};
use remote::target::Quality;
use remote::{DisplayId, Input, Key, NamedKey, Permission, Secret, VideoCodec};

fn config(password: Option<&str>) -> Config {
    Config {
        host_id: "123456789".into(),
        security: Security::Plain,
        my_id: "me".into(),
        my_name: "Me".into(),
        session_id: 7,
        password: password.map(Secret::new),
        decoders: vec![VideoCodec::Vp9, VideoCodec::Av1],
        prefer: None,
        quality: Quality::Balanced,
        fps: None,
    }
}

/// A machine, its clock, and the host's end of its stream.
struct Scene {
    client: Client,
    now: Instant,
    seal: Option<Seal>,
}

impl Scene {
    fn new(config: Config) -> Self {
        let now = Instant::now();
        Self { client: Client::new(config, now), now, seal: None }
    }

    /// Logged in, everything of that taken out.
    fn live(config: Config, info: PeerInfo) -> Self {
        let mut scene = Self::new(config);
        scene.hash();
        scene.welcome(info);
        scene.outputs();
        scene
    }

    fn host(&mut self, union: message::Union) {
        let plain: Bytes = Message { union: Some(union) }.encode_to_vec().into();
        let packet = match &mut self.seal {
            Some(seal) => seal.seal(&plain),
            None => plain,
        };
        self.client.handle_packet(packet, self.now);
    }

    fn misc(&mut self, union: misc::Union) {
        self.host(message::Union::Misc(Misc { union: Some(union) }));
    }

    fn hash(&mut self) {
        self.host(message::Union::Hash(Hash { salt: "salt".into(), challenge: "abc234".into() }));
    }

    fn error(&mut self, text: &str) {
        let union = Some(login_response::Union::Error(text.into()));
        self.host(message::Union::LoginResponse(LoginResponse { union, ..Default::default() }));
    }

    fn welcome(&mut self, info: PeerInfo) {
        let union = Some(login_response::Union::PeerInfo(info));
        self.host(message::Union::LoginResponse(LoginResponse { union, ..Default::default() }));
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.client.poll_output()).collect()
    }

    /// What was sent, opened and decoded; events and the close are left out.
    fn sent(&mut self) -> Vec<message::Union> {
        let outputs = self.outputs();
        let mut sent = Vec::new();
        for output in outputs {
            if let Output::Send(packet) = output {
                sent.push(Message::decode(packet).unwrap().union.unwrap());
            }
        }
        sent
    }

    fn sent_misc(&mut self) -> Vec<misc::Union> {
        let misc = |union| match union {
            message::Union::Misc(Misc { union }) => union,
            _ => None,
        };
        self.sent().into_iter().filter_map(misc).collect()
    }

    /// Moves the clock to the timeout; gives how far that was.
    fn timeout(&mut self) -> Duration {
        let due = self.client.poll_timeout().expect("a timeout");
        let waited = due - self.now;
        self.now = due;
        self.client.handle_timeout(due);
        waited
    }
}

fn info(displays: i32) -> PeerInfo {
    let display =
        |n| DisplayInfo { x: 100 * n, width: 100, height: 50, name: format!("D{n}"), ..Default::default() };
    PeerInfo {
        platform: "Linux".into(),
        version: "1.4.9".into(),
        hostname: "orchard".into(),
        displays: (0..displays).map(display).collect(),
        ..Default::default()
    }
}

fn ended(error: RemoteError, retry: bool) -> [Output; 2] {
    [Output::Event(Event::Ended { error, retry }), Output::Close]
}

fn state(state: SessionState) -> Output {
    Output::Event(Event::State(state))
}

#[test]
fn a_login_proves_the_password_and_says_what_is_wanted() {
    let mut scene = Scene::new(Config { quality: Quality::Best, fps: Some(500), ..config(Some("p@ss")) });
    assert_eq!(scene.outputs(), []);
    scene.hash();
    let [message::Union::LoginRequest(login)] = &scene.sent()[..] else { panic!("one login") };
    assert_eq!(login.password, PasswordHash::new("p@ss", "salt").proof("abc234")[..]);
    assert_eq!((&login.username[..], &login.my_id[..], &login.my_name[..]), ("123456789", "me", "Me"));
    assert_eq!((login.session_id, &login.version[..], &login.my_platform[..]), (7, "1.4.9", "Linux"));
    let option = login.option.as_ref().unwrap();
    let decoding = option.supported_decoding.as_ref().unwrap();
    assert_eq!((option.disable_audio, option.show_remote_cursor, option.image_quality), (2, 2, 4));
    assert_eq!(
        (decoding.ability_vp9, decoding.ability_av1, decoding.ability_vp8, decoding.ability_h264),
        (1, 1, 0, 0)
    );
    assert_eq!((decoding.prefer, decoding.prefer_chroma), (0, 1));
    scene.welcome(info(1));
    let outputs = scene.outputs();
    assert!(outputs.contains(&state(SessionState::Ready)));
    let fps = outputs.iter().any(|o| match o {
        Output::Send(packet) => matches!(
            Message::decode(packet.clone()).unwrap().union,
            Some(message::Union::Misc(Misc { union: Some(misc::Union::Option(o)) })) if o.custom_fps == 120
        ),
        _ => false,
    });
    assert!(fps, "the rate is a message of its own");
}

#[test]
fn a_sealed_stream_is_sealed_from_the_key_on() {
    let identity = SigningKey::from_seed(&[2; 32]);
    let security = Security::Sealed {
        id: "123456789".into(),
        key: identity.public(),
        secret: [4; 32],
        session_key: [5; 32],
    };
    let mut scene = Scene::new(Config { security, ..config(Some("p")) });
    let (handshake, signed) = HostHandshake::new(&identity, "123456789", [3; 32]);
    scene.host(message::Union::SignedId(signed));
    let outputs = scene.outputs();
    let Output::Send(answer) = &outputs[0] else { panic!("{outputs:?}") };
    let Some(message::Union::PublicKey(answer)) = Message::decode(answer.clone()).unwrap().union else {
        panic!()
    };
    assert_eq!(outputs[1..], [Output::Event(Event::Verified(identity.public()))]);
    let Ok(HostOutcome::Sealed(key)) = handshake.finish(&answer) else { panic!("the host opens it") };
    let mut seal = Seal::new(key);
    let hash = Message { union: Some(message::Union::Hash(Hash::default())) }.encode_to_vec();
    scene.client.handle_packet(seal.seal(&hash), scene.now);
    let outputs = scene.outputs();
    let Output::Send(login) = &outputs[0] else { panic!("{outputs:?}") };
    let login = Message::decode(seal.open(login.clone()).unwrap()).unwrap();
    assert!(matches!(login.union, Some(message::Union::LoginRequest(_))));
    scene.client.handle_packet(Bytes::from_static(b"not sealed at all"), scene.now);
    assert!(matches!(
        scene.outputs()[..],
        [Output::Event(Event::Ended { error: RemoteError::SessionClosed(_), .. }), Output::Close]
    ));
}

#[test]
fn a_host_that_does_not_prove_its_key_hears_nothing() {
    let sealed = |id: &str| Security::Sealed {
        id: id.into(),
        key: SigningKey::from_seed(&[2; 32]).public(),
        secret: [4; 32],
        session_key: [5; 32],
    };
    let signed = |seed: u8| HostHandshake::new(&SigningKey::from_seed(&[seed; 32]), "123456789", [3; 32]).1;
    for (id, first) in [
        ("123456789", message::Union::SignedId(signed(9))),
        ("987654321", message::Union::SignedId(signed(2))),
        ("123456789", message::Union::Hash(Hash::default())),
    ] {
        let mut scene = Scene::new(Config { security: sealed(id), ..config(Some("p")) });
        scene.host(first);
        let outputs = scene.outputs();
        assert!(
            matches!(
                outputs[..],
                [
                    Output::Event(Event::Ended { error: RemoteError::PeerNotVerified(_), retry: false }),
                    Output::Close
                ]
            ),
            "{outputs:?}"
        );
    }
    let mut scene = Scene::new(Config { security: sealed("123456789"), ..config(Some("p")) });
    scene.client.handle_packet(Bytes::from_static(b"\xff\xff\xff"), scene.now);
    assert!(matches!(scene.outputs()[..], [Output::Event(Event::Ended { .. }), Output::Close]));
}

#[test]
fn a_handshake_that_can_not_be_checked_is_declined() {
    let mut scene = Scene::new(Config { security: Security::Declined, ..config(Some("p")) });
    assert_eq!(scene.outputs(), [Output::Send(Bytes::new())]);
    let (_, signed) = HostHandshake::new(&SigningKey::from_seed(&[2; 32]), "123456789", [3; 32]);
    scene.host(message::Union::SignedId(signed));
    assert_eq!(scene.outputs(), []);
    scene.hash();
    assert!(matches!(scene.sent()[..], [message::Union::LoginRequest(_)]));
}

#[test]
fn answers_to_a_login_become_states() {
    let mut scene = Scene::new(config(Some("wrong")));
    scene.hash();
    scene.outputs();
    scene.error("Wrong Password");
    assert_eq!(scene.outputs(), [state(SessionState::AwaitingPassword { wrong: true })]);
    scene.client.password(Secret::new("right"), scene.now).unwrap();
    let sent = scene.sent();
    let [message::Union::LoginRequest(login)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(login.password, PasswordHash::new("right", "salt").proof("abc234")[..]);
    scene.error("2FA Required");
    assert_eq!(scene.outputs(), [state(SessionState::Awaiting2fa { wrong: false })]);
    assert!(scene.client.password(Secret::new("x"), scene.now).is_err());
    scene.client.second_factor(&Secret::new(" 123456 "), scene.now).unwrap();
    let want = Auth2Fa { code: "123456".into(), ..Default::default() };
    assert_eq!(scene.sent(), [message::Union::Auth2fa(want)]);
    scene.error("Wrong 2FA Code");
    assert_eq!(scene.outputs(), [state(SessionState::Awaiting2fa { wrong: true })]);
    scene.welcome(info(1));
    assert!(scene.outputs().contains(&state(SessionState::Ready)));
    scene.error("Wrong Password");
    assert_eq!(scene.outputs(), [], "nothing of the login counts behind it");
}

#[test]
fn without_a_password_a_person_is_asked() {
    let mut scene = Scene::new(config(None));
    scene.hash();
    let outputs = scene.outputs();
    assert_eq!(outputs[1], state(SessionState::AwaitingApproval));
    let Output::Send(login) = &outputs[0] else { panic!("{outputs:?}") };
    let Some(message::Union::LoginRequest(login)) = Message::decode(login.clone()).unwrap().union else {
        panic!()
    };
    assert!(login.password.is_empty());
    scene.misc(misc::Union::CloseReason("Closed manually by the peer".into()));
    assert_eq!(scene.outputs(), ended(RemoteError::Refused("Closed manually by the peer".into()), false));
    assert_eq!(scene.client.poll_timeout(), None);
}

#[test]
fn a_refusal_in_place_of_the_hash_is_final() {
    let mut scene = Scene::new(config(Some("p")));
    scene.error("Your ip is blocked by the peer");
    assert_eq!(scene.outputs(), ended(RemoteError::Refused("Your ip is blocked by the peer".into()), false));
}

#[test]
fn probes_come_back_byte_for_byte_in_every_state() {
    // With a field that no release has.
    let probe = b"\x2a\x05\x18\x07\x98\x06\x01";
    let mut scene = Scene::new(config(Some("p")));
    for step in 0..3 {
        scene.client.handle_packet(Bytes::from_static(probe), scene.now);
        assert_eq!(scene.outputs(), [Output::Send(Bytes::from_static(probe))], "step {step}");
        match step {
            0 => scene.hash(),
            _ => scene.welcome(info(1)),
        }
        scene.outputs();
    }
}

#[test]
fn the_round_trip_is_measured_without_a_timer_of_its_own() {
    let mut scene = Scene::new(config(Some("p")));
    scene.hash();
    scene.outputs();
    scene.welcome(info(1));
    let probe = scene.sent().into_iter().find_map(|m| match m {
        message::Union::TestDelay(probe) => Some(probe),
        _ => None,
    });
    let probe = probe.expect("a probe of ours");
    assert!(probe.from_client);
    scene.now += Duration::from_millis(30);
    scene.host(message::Union::TestDelay(probe));
    let answered = |probe, ms| Output::Event(Event::RoundTrip { probe, took: Duration::from_millis(ms) });
    assert_eq!(scene.outputs(), [answered(1, 30)]);
    scene.host(message::Union::TestDelay(probe));
    assert_eq!(scene.outputs(), [], "an answer counts once");
    let theirs = message::Union::TestDelay(TestDelay { last_delay: 3, ..Default::default() });
    scene.host(theirs.clone());
    assert_eq!(scene.sent(), std::slice::from_ref(&theirs));
    scene.now += Duration::from_secs(15);
    scene.host(theirs);
    assert_eq!(scene.sent().len(), 2);
}

#[test]
fn a_probe_tells_that_the_host_has_read_what_was_sent_before() {
    let mut scene = Scene::new(config(Some("p")));
    assert!(scene.client.probe(scene.now).is_err(), "there is no session yet");
    scene.hash();
    scene.welcome(info(1));
    scene.outputs();
    assert_eq!(scene.client.probe(scene.now), Ok(2), "the first one measures at the login");
    assert_eq!(scene.client.probe(scene.now), Ok(3));
    let sent = scene.sent();
    let [message::Union::TestDelay(first), message::Union::TestDelay(second)] = sent[..] else {
        panic!("{sent:?}")
    };
    assert!(first.time < second.time, "they can be told apart");
    scene.now += Duration::from_millis(5);
    scene.host(message::Union::TestDelay(second));
    scene.host(message::Union::TestDelay(first));
    let outputs = scene.outputs();
    assert!(matches!(outputs[..], [Output::Event(Event::RoundTrip { probe: 3, .. })]), "{outputs:?}");
    let last = (0..100).map(|_| scene.client.probe(scene.now).unwrap()).max();
    assert_eq!((last, scene.sent().len()), (Some(19), 16), "a silent host gets no more");
}

#[test]
fn silence_is_slow_first_and_the_end_at_last() {
    let mut scene = Scene::live(config(Some("p")), info(1));
    assert_eq!(scene.timeout(), Duration::from_secs(3));
    let slow = |s| state(SessionState::Degraded { silent_for: Duration::from_secs(s) });
    assert_eq!(scene.outputs(), [slow(3)]);
    assert_eq!(scene.timeout(), Duration::from_secs(3));
    assert_eq!(scene.outputs(), [slow(6)]);
    scene.host(message::Union::CursorId(1));
    assert_eq!(scene.outputs(), [state(SessionState::Ready)]);
    while scene.client.poll_timeout().is_some() {
        scene.timeout();
    }
    let outputs = scene.outputs();
    let error = RemoteError::SessionClosed("nothing was heard for 30 s".into());
    assert_eq!(outputs[outputs.len() - 2..], ended(error, true));
}

#[test]
fn a_host_that_does_not_begin_or_answer_is_noticed() {
    let mut scene = Scene::new(config(Some("p")));
    assert_eq!(scene.timeout(), Duration::from_secs(18));
    assert!(matches!(
        scene.outputs()[..],
        [Output::Event(Event::Ended { error: RemoteError::TimedOut(_), .. }), Output::Close]
    ));
    let mut scene = Scene::new(config(Some("p")));
    scene.hash();
    scene.outputs();
    assert_eq!(scene.timeout(), Duration::from_secs(18));
    assert_eq!(
        scene.outputs(),
        [state(SessionState::AwaitingApproval)],
        "somebody there has to do something"
    );
}

#[test]
fn video_is_handed_on_without_a_copy_and_only_if_it_makes_sense() {
    let mut scene = Scene::live(config(Some("p")), info(1));
    let frame = |display, data: &[u8]| {
        let frames = vec![EncodedVideoFrame { data: Bytes::copy_from_slice(data), key: true, pts: 5 }];
        let union = Some(video_frame::Union::Av1s(EncodedVideoFrames { frames }));
        message::Union::VideoFrame(VideoFrame { display, union })
    };
    let packet: Bytes = Message { union: Some(frame(0, &[7; 100])) }.encode_to_vec().into();
    scene.client.handle_packet(packet.clone(), scene.now);
    let outputs = scene.outputs();
    let [Output::Event(Event::Video(video))] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((video.display, video.codec, video.len()), (DisplayId(0), VideoCodec::Av1, 100));
    assert!(packet.as_ptr_range().contains(&video.packets[0].data.as_ptr()), "the packet's own memory");
    scene.host(frame(1, b"x"));
    scene.host(frame(-1, b"x"));
    scene.host(message::Union::VideoFrame(VideoFrame::default()));
    assert_eq!(scene.outputs(), []);
    assert_eq!(scene.client.refused().unexpected_video, 3);
}

#[test]
fn nonsense_is_counted_and_too_much_of_it_ends_the_session() {
    let mut scene = Scene::live(config(Some("p")), info(1));
    for _ in 0..100 {
        scene.client.handle_packet(Bytes::from_static(b"\xff\xff\xff"), scene.now);
    }
    assert_eq!(scene.outputs(), []);
    scene.host(message::Union::PeerInfo(info(100_000)));
    assert_eq!(scene.client.refused(), Refused { undecodable: 100, oversized: 1, ..Refused::default() });
    let error = RemoteError::SessionClosed("the peer does not speak the protocol".into());
    assert_eq!(scene.outputs(), ended(error, false));
    scene.hash();
    assert_eq!(scene.outputs(), [], "nothing follows the end");
}

#[test]
fn permissions_come_before_the_login_and_later_and_stop_input() {
    let mut scene = Scene::new(config(Some("p")));
    let keyboard = |enabled| misc::Union::PermissionInfo(PermissionInfo { permission: 0, enabled });
    scene.hash();
    scene.misc(keyboard(false));
    scene.welcome(info(1));
    scene.outputs();
    let press = [Input::Press { key: Key::Named(NamedKey::Enter), held: vec![] }];
    assert_eq!(scene.client.input(&press), Err(RemoteError::PermissionDenied(Permission::Keyboard)));
    assert_eq!(scene.outputs(), []);
    scene.misc(keyboard(true));
    assert_eq!(scene.outputs(), [Output::Event(Event::Permissions(Permissions::default()))]);
    assert_eq!(scene.client.input(&press), Ok(()));
    assert_eq!(scene.sent().len(), 1);
    scene.misc(misc::Union::ForegroundWindowElevated(true));
    assert_eq!(scene.client.input(&press), Err(RemoteError::ElevatedWindow));
}

#[test]
fn displays_are_subscribed_when_wanted_and_again_when_the_list_changes() {
    let mut scene = Scene::live(config(Some("p")), info(2));
    let capture = |set: &[i32]| {
        misc::Union::CaptureDisplays(CaptureDisplays { set: set.to_vec(), ..Default::default() })
    };
    assert_eq!(scene.client.subscribe(DisplayId(0)), Ok(false));
    assert_eq!(scene.client.subscribe(DisplayId(1)), Ok(true));
    assert_eq!(scene.sent_misc(), [capture(&[0, 1])]);
    assert_eq!(scene.client.subscribe(DisplayId(2)), Err(RemoteError::NoSuchDisplay(DisplayId(2))));
    scene.host(message::Union::PeerInfo(info(1)));
    assert_eq!(scene.sent_misc(), [capture(&[0])]);
    scene.host(message::Union::PeerInfo(info(0)));
    assert_eq!(scene.client.state(), &SessionState::NoDisplay);
    scene.host(message::Union::PeerInfo(info(1)));
    assert_eq!(scene.client.state(), &SessionState::Ready);
    scene.outputs();
    scene.client.refresh(DisplayId(0)).unwrap();
    assert_eq!(scene.sent_misc(), [misc::Union::RefreshVideoDisplay(0)]);
}

#[test]
fn a_windows_session_is_the_one_we_are_in() {
    let sessions =
        vec![WindowsSession { sid: 1, name: "a".into() }, WindowsSession { sid: 3, name: "b".into() }];
    let mut scene = Scene::new(config(Some("p")));
    scene.hash();
    scene.outputs();
    let windows_sessions = Some(WindowsSessions { sessions, current_sid: 3 });
    scene.welcome(PeerInfo { windows_sessions, ..info(1) });
    assert_eq!(scene.sent_misc(), [misc::Union::SelectedSid(3)]);
}

#[test]
fn screenshots_are_matched_by_what_they_were_asked_with() {
    let mut scene = Scene::live(config(Some("p")), info(1));
    let number = scene.client.screenshot(DisplayId(0)).unwrap();
    assert_eq!(scene.client.screenshot(DisplayId(0)), Ok(number), "the pending one is shared");
    let want = ScreenshotRequest { display: 0, sid: "7-1".into() };
    assert_eq!(scene.sent(), [message::Union::ScreenshotRequest(want)]);
    let answer = |sid: &str, msg: &str| {
        let data = Bytes::from_static(b"png");
        message::Union::ScreenshotResponse(ScreenshotResponse { sid: sid.into(), msg: msg.into(), data })
    };
    scene.host(answer("8-1", ""));
    scene.host(answer("7-2", ""));
    assert_eq!(scene.outputs(), []);
    scene.host(answer("7-1", ""));
    let png = Ok(Bytes::from_static(b"png"));
    assert_eq!(scene.outputs(), [Output::Event(Event::Screenshot { request: number, png })]);
    let number = scene.client.screenshot(DisplayId(0)).unwrap();
    scene.outputs();
    scene.host(answer("7-2", "Please change codec and try again."));
    let png = Err(RemoteError::UnsupportedByPeer("Please change codec and try again.".into()));
    assert_eq!(scene.outputs(), [Output::Event(Event::Screenshot { request: number, png })]);
    let old = PeerInfo { version: "1.3.9".into(), ..info(1) };
    let mut scene = Scene::live(config(Some("p")), old);
    assert!(matches!(scene.client.screenshot(DisplayId(0)), Err(RemoteError::UnsupportedByPeer(_))));
}

#[test]
fn a_codec_that_fails_is_not_announced_any_more() {
    let mut scene = Scene::live(Config { prefer: Some(VideoCodec::Av1), ..config(Some("p")) }, info(1));
    scene.client.give_up_codec(VideoCodec::Vp9);
    assert_eq!(scene.outputs(), [], "hosts fall back to VP9 whatever we say");
    scene.client.give_up_codec(VideoCodec::Av1);
    let sent = scene.sent_misc();
    let [misc::Union::Option(option)] = &sent[..] else { panic!("{sent:?}") };
    let decoding = option.supported_decoding.as_ref().unwrap();
    assert_eq!((decoding.ability_vp9, decoding.ability_av1, decoding.prefer), (1, 0, 0));
}

#[test]
fn leaving_says_so_and_a_lost_stream_may_be_made_again() {
    let mut scene = Scene::live(config(Some("p")), info(1));
    scene.client.close();
    let outputs = scene.outputs();
    let farewell = Misc { union: Some(misc::Union::CloseReason(String::new())) };
    let farewell = Message { union: Some(message::Union::Misc(farewell)) }.encode_to_vec();
    assert_eq!(outputs, [Output::Send(farewell.into()), Output::Close]);
    let mut scene = Scene::live(config(Some("p")), info(1));
    scene.client.handle_end("reset");
    assert!(matches!(scene.outputs()[..], [Output::Event(Event::Ended { retry: true, .. }), Output::Close]));
    let mut scene = Scene::live(config(Some("p")), info(1));
    scene.misc(misc::Union::CloseReason("Connection failed due to inactivity".into()));
    let error = RemoteError::SessionClosed("Connection failed due to inactivity".into());
    assert_eq!(scene.outputs(), ended(error, false));
}
