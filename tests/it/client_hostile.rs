//! Hosts that lie, stall and flood: the session ends with a clear error, nothing else happens.

use bytes::{Bytes, BytesMut};
use client::{Config, RustDesk, RustDeskSession};
use hbb_common::packet;
use hbb_common::packet::Deframer;
use hbb_common::session::{
    DisplayInfo, EncodedVideoFrame, EncodedVideoFrames, Hash, LoginResponse, Message, PeerInfo, VideoFrame,
    login_response, message, misc, video_frame,
};
use prost::Message as _;
use remote::{Desktop as _, DisplayId, RemoteError, Secret, Session as _, SessionState, Target};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const LIMIT: Duration = Duration::from_secs(30);

/// A host played by the test.
struct Liar {
    stream: TcpStream,
    deframer: Deframer,
}

impl Liar {
    /// Accepts our client.
    async fn meet(target: Target) -> (Self, RustDeskSession) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let target = Target { address, password: Some(Secret::new("pw")), allow_unencrypted: true, ..target };
        let session = RustDesk::new(Config::default()).open_session(target).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (Self { stream, deframer: Deframer::new(1 << 20) }, session)
    }

    /// Accepts our client and lets it in.
    async fn let_in() -> (Self, RustDeskSession) {
        let (mut liar, session) = Self::meet(Target::default()).await;
        liar.say(message::Union::Hash(Hash { salt: "s".into(), challenge: "c".into() })).await;
        liar.hear(|m| matches!(m, message::Union::LoginRequest(_))).await;
        let display = DisplayInfo { width: 64, height: 48, name: "D".into(), ..Default::default() };
        let info = PeerInfo {
            version: "1.4.9".into(),
            platform: "Linux".into(),
            displays: vec![display],
            ..Default::default()
        };
        let union = Some(login_response::Union::PeerInfo(info));
        liar.say(message::Union::LoginResponse(LoginResponse { union, ..Default::default() })).await;
        (liar, session)
    }

    async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn packet(&mut self, payload: &[u8]) {
        let mut out = BytesMut::new();
        packet::encode(payload, &mut out);
        self.raw(&out).await;
    }

    async fn say(&mut self, union: message::Union) {
        self.packet(&Message { union: Some(union) }.encode_to_vec()).await;
    }

    async fn video(&mut self, data: &[u8], key: bool) {
        let frames = vec![EncodedVideoFrame { data: Bytes::copy_from_slice(data), key, pts: 0 }];
        let union = Some(video_frame::Union::Vp9s(EncodedVideoFrames { frames }));
        self.say(message::Union::VideoFrame(VideoFrame { union, display: 0 })).await;
    }

    /// Waits for a message of the client that `wanted` accepts; `false` at the end of the stream.
    async fn hear(&mut self, wanted: impl Fn(&message::Union) -> bool) -> bool {
        loop {
            while let Some(packet) = self.deframer.next_packet().unwrap() {
                if Message::decode(packet).unwrap().union.is_some_and(|union| wanted(&union)) {
                    return true;
                }
            }
            let read = tokio::time::timeout(LIMIT, self.stream.read_buf(self.deframer.buffer())).await;
            if read.expect("in time").unwrap_or(0) == 0 {
                return false;
            }
        }
    }

    async fn hear_refresh(&mut self) -> bool {
        self.hear(|m| matches!(m, message::Union::Misc(m) if matches!(m.union, Some(misc::Union::RefreshVideoDisplay(0))))).await
    }
}

async fn end(session: &RustDeskSession) -> RemoteError {
    let mut state = session.state();
    loop {
        match state {
            SessionState::Closed(error) => return error,
            SessionState::Reconnecting { reason, .. } => return RemoteError::SessionClosed(reason),
            _ => {}
        }
        let seen = state.clone();
        state = tokio::time::timeout(LIMIT, session.state_after(&seen)).await.expect("another state");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announced_gigabyte_is_refused_before_it_comes() {
    let (mut liar, session) = Liar::meet(Target::default()).await;
    liar.raw(&[0xff, 0xff, 0xff, 0xff]).await;
    let error = end(&session).await;
    assert!(error.to_string().contains("over the limit"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_place_of_messages_ends_the_session() {
    let (mut liar, session) = Liar::let_in().await;
    for _ in 0..200 {
        let mut out = BytesMut::new();
        packet::encode(b"\xff\xff\xff\xff", &mut out);
        if liar.stream.write_all(&out).await.is_err() {
            break;
        }
    }
    assert_eq!(
        end(&session).await,
        RemoteError::SessionClosed("the peer does not speak the protocol".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn video_that_is_none_is_asked_for_again_and_given_up_at_last() {
    let (mut liar, session) = Liar::let_in().await;
    liar.video(b"no keyframe", false).await;
    assert!(liar.hear_refresh().await, "nothing can be decoded before a keyframe");
    // The pauses between the requests grow, so only the first few are waited for.
    for _ in 0..2 {
        liar.video(&[0x55; 300], true).await;
        assert!(liar.hear_refresh().await);
    }
    for _ in 0..8 {
        liar.video(&[0x55; 300], true).await;
    }
    let error = end(&session).await;
    assert!(
        matches!(&error, RemoteError::UnsupportedByPeer(why) if why.contains("can not be decoded")),
        "{error}"
    );
    assert!(matches!(session.frame(DisplayId(0)).await, Err(RemoteError::SessionClosed(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_only_sends_is_read_and_one_that_leaves_is_noticed() {
    let (mut liar, session) = Liar::let_in().await;
    let noise = message::Union::CursorId(5);
    for _ in 0..20_000 {
        liar.say(noise.clone()).await;
    }
    assert_eq!(session.state(), SessionState::Ready);
    drop(liar);
    let error = end(&session).await;
    assert!(error.to_string().contains("lost"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_does_not_wait_for_a_host_that_says_nothing() {
    let (liar, session) = Liar::let_in().await;
    let began = std::time::Instant::now();
    tokio::time::timeout(LIMIT, session.close()).await.expect("it ends");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop(liar);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_codec_that_fails_three_times_is_not_asked_for_any_more() {
    let (mut liar, session) = Liar::let_in().await;
    for _ in 0..3 {
        let frames = vec![EncodedVideoFrame { data: Bytes::from_static(&[0x55; 64]), key: true, pts: 0 }];
        let union = Some(video_frame::Union::Av1s(EncodedVideoFrames { frames }));
        liar.say(message::Union::VideoFrame(VideoFrame { union, display: 0 })).await;
    }
    let without_av1 = |m: &message::Union| match m {
        message::Union::Misc(m) => match &m.union {
            Some(misc::Union::Option(option)) => {
                option.supported_decoding.as_ref().is_some_and(|d| d.ability_av1 == 0)
            }
            _ => false,
        },
        _ => false,
    };
    assert!(liar.hear(without_av1).await);
    assert_eq!(session.state(), SessionState::Ready);
}
