//! Key exchange and login (rendezvous §6.1, §6.3; session §2).

use super::passwords::SessionKey;
use super::{
    ApproveMode, Authorisation, ClientInfo, CloseCause, Event, Host, LAST_WORDS, Phase, SessionKind,
};
use bytes::Bytes;
use hbb_common::handshake::HostOutcome;
use hbb_common::peer_id::PeerAddress;
use hbb_common::seal::Seal;
use hbb_common::session::{
    Hash, LoginRequest, LoginResponse, Message, PermissionInfo, login_request, login_response, message, misc,
    permission_info,
};
use hbb_common::version;
use prost::Message as _;
use remote::Permission;
use std::time::Instant;

/// Clients before this know no "No Password Access" (session §2.4).
const KNOWS_CLICK_ONLY: i64 = 1_002_000;

/// Texts that a client shows are cut here; they come from strangers.
const LONGEST_NAME: usize = 256;

impl Host {
    /// What the client made of our `SignedId`.
    pub(super) fn finish_exchange(&mut self, plain: &Bytes, now: Instant) {
        let Phase::Exchange { handshake, .. } = std::mem::replace(&mut self.phase, Phase::Login) else {
            return;
        };
        let Ok(message) = Message::decode(plain.clone()) else {
            self.refusals.undecodable += 1;
            return self.end(CloseCause::Insecure("not a message".into()));
        };
        // Any other message means that the client goes on in the clear.
        let outcome = match message.union {
            Some(message::Union::PublicKey(answer)) => handshake.finish(&answer),
            _ => Ok(HostOutcome::Plain),
        };
        match outcome {
            Ok(HostOutcome::Sealed(key)) => self.seal = Some(Seal::new(key)),
            Ok(HostOutcome::Plain) if self.context.allow_plain => {}
            Ok(HostOutcome::Plain) => {
                return self.end(CloseCause::Insecure("the client encrypts nothing".into()));
            }
            Err(error) => return self.end(CloseCause::Insecure(error.to_string())),
        }
        self.event(Event::Secured { sealed: self.seal.is_some() });
        self.greet(now);
    }

    /// The first words of a session: `Hash`, what is not permitted, the first probe.
    pub(super) fn greet(&mut self, now: Instant) {
        let hash = Hash { salt: self.context.salt.clone(), challenge: self.challenge.clone() };
        self.send(message::Union::Hash(hash));
        for permission in self.context.permissions.denied.clone() {
            self.announce(permission, false);
        }
        self.probe(now);
    }

    pub(super) fn announce(&mut self, permission: Permission, enabled: bool) {
        let permission = wire_permission(permission) as i32;
        self.send_misc(misc::Union::PermissionInfo(PermissionInfo { permission, enabled }));
    }

    pub(super) fn login_request(&mut self, request: LoginRequest, now: Instant) {
        if !self.is_for_us(&request.username) {
            return self.refuse_login("Offline");
        }
        let client = introduce(&request);
        match &self.client {
            None => {
                self.client = Some(client.clone());
                self.event(Event::Introduced(client.clone()));
            }
            // A second attempt under another name would inherit what was decided for the first.
            Some(first) if (&first.id, first.kind) != (&client.id, client.kind) => {
                return self.refuse_login("Connection not allowed");
            }
            Some(_) => {}
        }
        let refusal = match client.kind {
            SessionKind::Desktop => None,
            SessionKind::Files => Some("No permission of file transfer"),
            SessionKind::Forward => Some("No permission of IP tunneling"),
            SessionKind::Camera => Some("No permission of viewing camera"),
            SessionKind::Terminal => Some("No permission of terminal"),
        };
        if let Some(text) = refusal {
            return self.refuse_login(text);
        }
        let proof = request.password.clone();
        self.request = Some(request);
        self.decide(&proof, &client, now);
    }

    /// Password, local user, or both (session §2.4).
    fn decide(&mut self, proof: &[u8], client: &ClientInfo, now: Instant) {
        let click_only = match self.context.approve {
            ApproveMode::Password => false,
            ApproveMode::Click => true,
            ApproveMode::Both => self.context.passwords.is_empty(),
        };
        if click_only {
            if version::number(&client.version) >= KNOWS_CLICK_ONLY {
                self.answer("No Password Access");
            }
            return self.ask();
        }
        let ask = self.context.approve == ApproveMode::Both;
        if proof.is_empty() {
            if ask {
                self.ask();
            }
            return;
        }
        if let Err(limit) = self.context.attempts.check(self.context.remote_ip, now) {
            let text = limit.to_string();
            self.answer(&text);
            return self.event(Event::LoginRefused(text));
        }
        let key = SessionKey::of(client);
        match self.context.passwords.check(&key, &self.challenge, proof, now) {
            Some(how) => {
                self.context.attempts.succeeded(self.context.remote_ip);
                if matches!(how, Authorisation::OneTimePassword | Authorisation::RecentSession) {
                    self.remembered = Some(key);
                }
                self.authorise(how, now);
            }
            None => {
                self.context.attempts.failed(self.context.remote_ip, now);
                self.event(Event::WrongPassword);
                self.answer("Wrong Password");
                if ask {
                    self.ask();
                }
            }
        }
    }

    /// Lets the client in: `PeerInfo`, its options, then the first subscription (session §3.12).
    pub(super) fn authorise(&mut self, how: Authorisation, now: Instant) {
        let Some(request) = self.request.take() else { return };
        self.phase = Phase::Live;
        let peer_info = self.peer_info();
        self.send(message::Union::LoginResponse(LoginResponse {
            union: Some(login_response::Union::PeerInfo(peer_info)),
            ..Default::default()
        }));
        self.pictures.ack_required = request.video_ack_required;
        self.event(Event::Authorised(how));
        if let Some(option) = &request.option {
            self.apply_options(option);
        }
        self.subscribe_primary();
        self.probe(now);
    }

    /// Whether `username` is this host: its id, or what somebody typed who dialled an address.
    fn is_for_us(&self, username: &str) -> bool {
        match username.parse() {
            Ok(PeerAddress::Id(address)) => address.id == self.context.id,
            Ok(PeerAddress::Direct { .. }) => true,
            Err(_) => false,
        }
    }

    fn ask(&mut self) {
        if !self.asked {
            self.asked = true;
            self.event(Event::ApprovalWanted);
        }
    }

    fn answer(&mut self, error: &str) {
        self.send(message::Union::LoginResponse(LoginResponse {
            union: Some(login_response::Union::Error(error.into())),
            ..Default::default()
        }));
    }

    /// Tells the client why, and closes a second later.
    fn refuse_login(&mut self, text: &str) {
        self.answer(text);
        self.event(Event::LoginRefused(text.into()));
        self.phase = Phase::LastWords { until: self.heard + LAST_WORDS };
    }
}

fn introduce(request: &LoginRequest) -> ClientInfo {
    use login_request::Union;
    let kind = match &request.union {
        None => SessionKind::Desktop,
        Some(Union::FileTransfer(_)) => SessionKind::Files,
        Some(Union::PortForward(_)) => SessionKind::Forward,
        Some(Union::ViewCamera(_)) => SessionKind::Camera,
        Some(Union::Terminal(_)) => SessionKind::Terminal,
    };
    ClientInfo {
        id: cut(&request.my_id),
        name: cut(&request.my_name),
        platform: cut(&request.my_platform),
        version: cut(&request.version),
        session: request.session_id,
        kind,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST_NAME).collect()
}

fn wire_permission(permission: Permission) -> permission_info::Permission {
    use permission_info::Permission as Wire;
    match permission {
        Permission::Keyboard => Wire::Keyboard,
        Permission::Clipboard => Wire::Clipboard,
        Permission::Audio => Wire::Audio,
        Permission::File => Wire::File,
        Permission::Restart => Wire::Restart,
        Permission::Recording => Wire::Recording,
        Permission::BlockInput => Wire::BlockInput,
        Permission::PrivacyMode => Wire::PrivacyMode,
    }
}
