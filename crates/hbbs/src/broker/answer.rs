//! Hosts that answer a push: PunchHoleSent, LocalAddr and RelayResponse (rendezvous §5.17).
//!
//! # Whose answer counts
//!
//! An answer names the client by its address, so anybody who guesses a waiting client's port could send
//! it elsewhere. It would not get far (the signed key is the host's, and the handshake fails without the
//! secret one), but an answer without `version` makes the session plain. So an answer counts if
//!
//! - it names the id that the client asked for, or none, and
//! - its connection comes from the address that the host registered with (for IPv6: the same /64), **or**
//!   it repeats the pushed address bit for bit.
//!
//! The second way is for hosts whose connections leave by several addresses, behind carrier NAT or with
//! two uplinks: the pushed form of an IPv4 address has 32 random bits that only the host was sent, and
//! PunchHoleSent and RelayResponse echo it unchanged. LocalAddr encodes it anew, but is only asked for
//! when host and client share one address. What does not count leaves the request open for the host.

use super::waiting::Asked;
use super::{Broker, Output, Stream, encode};
use crate::clock::Moment;
use crate::limits::Network;
use bytes::Bytes;
use hbb_common::addr::{demangle, mangle, normalize};
use hbb_common::rendezvous::{
    LocalAddr, PunchHoleResponse, PunchHoleSent, RelayResponse, punch_hole_response, relay_response,
    rendezvous_message::Union,
};
use hbb_common::rewrite::edit_member;
use std::net::SocketAddr;

/// Numbers of the member and fields that are edited in place.
const RELAY_RESPONSE: u32 = 19;
const SOCKET_ADDR: u32 = 1;
const RELAY_SERVER: u32 = 3;
const ID: u32 = 4;
const PK: u32 = 5;

impl Broker {
    pub(super) fn punch_hole_sent(
        &self,
        stream: &Stream,
        m: PunchHoleSent,
        at: Moment,
        out: &mut Vec<Output>,
    ) {
        if let Some((asked, client)) = self.expected(stream, &m.socket_addr, &m.id) {
            let answer = PunchHoleResponse {
                // The client dials where the host's connection comes from: there it listens.
                socket_addr: mangle(stream.addr, at.random).into(),
                pk: self.vouch_for(&asked, &m.version),
                relay_server: m.relay_server,
                union: Some(punch_hole_response::Union::NatType(m.nat_type)),
                ..Default::default()
            };
            self.pass(&asked, client, encode(Union::PunchHoleResponse(answer)), out);
        }
        out.push(Output::Close);
    }

    pub(super) fn local_addr(&self, stream: &Stream, m: LocalAddr, out: &mut Vec<Output>) {
        if let Some((asked, client)) = self.expected(stream, &m.socket_addr, &m.id) {
            let answer = PunchHoleResponse {
                socket_addr: m.local_addr,
                pk: self.vouch_for(&asked, &m.version),
                relay_server: m.relay_server,
                union: Some(punch_hole_response::Union::IsLocal(true)),
                ..Default::default()
            };
            self.pass(&asked, client, encode(Union::PunchHoleResponse(answer)), out);
        }
        out.push(Output::Close);
    }

    pub(super) fn relay_response(
        &self,
        stream: &Stream,
        m: &RelayResponse,
        packet: &Bytes,
        out: &mut Vec<Output>,
    ) {
        let id = match &m.union {
            Some(relay_response::Union::Id(id)) => Some(&id[..]),
            _ => None,
        };
        if let Some((asked, client)) = self.expected(stream, &m.socket_addr, id.unwrap_or_default()) {
            let relay = self.relay_for(client, &m.relay_server);
            let edited = edit_member(packet, RELAY_RESPONSE, |fields| {
                fields.remove(SOCKET_ADDR);
                // Only the server vouches.
                fields.remove(PK);
                if id.is_some() {
                    fields.remove(ID);
                    fields.set_bytes(PK, self.vouch_for(&asked, &m.version));
                }
                if let Some(relay) = relay {
                    fields.set_bytes(RELAY_SERVER, relay);
                }
            });
            // It was decoded before, so it can be edited.
            if let Ok(edited) = edited {
                self.pass(&asked, client, edited, out);
            }
        }
        out.push(Output::Close);
    }

    /// The request that this is the answer to, and where it is filed.
    fn expected(&self, stream: &Stream, echoed: &Bytes, id: &str) -> Option<(Asked, SocketAddr)> {
        let client = normalize(demangle(echoed));
        let Some(asked) = self.waiting.get(client) else {
            self.counters.answers_unexpected.one();
            return None;
        };
        let same_id = id.is_empty() || id == asked.target.as_str();
        let same_network = || {
            let host = self.registry.get(asked.target.as_str());
            host.is_some_and(|host| Network::from(host.addr.ip()) == stream.addr.ip().into())
        };
        let echoes = client.is_ipv4() && *echoed == asked.pushed;
        if same_id && (echoes || same_network()) {
            return Some((asked, client));
        }
        self.counters.answers_implausible.one();
        None
    }

    /// To the client, whose request is answered by that.
    fn pass(&self, asked: &Asked, client: SocketAddr, packet: Bytes, out: &mut Vec<Output>) {
        if self.waiting.forget(client, asked.connection) {
            self.counters.answers_forwarded.one();
            out.push(Output::Pass(asked.connection, packet));
        } else {
            self.counters.answers_unexpected.one();
        }
    }

    /// Hosts that name no version (before 1.1.9) know no encryption.
    fn vouch_for(&self, asked: &Asked, version: &str) -> Bytes {
        if version.is_empty() {
            return Bytes::new();
        }
        if let Ok(number @ 1..) = u32::try_from(hbb_common::version::number(version)) {
            self.registry.runs(asked.target.as_str(), number);
        }
        self.vouch(asked.target.as_str())
    }

    /// Another name for the relay, where client and relay are on different sides of the local network's
    /// edge.
    fn relay_for(&self, client: SocketAddr, named: &str) -> Option<String> {
        let local = self.policy.local_network.as_ref()?;
        if named.is_empty() {
            None
        } else if self.is_inside(client.ip()) {
            Some(local.relay.clone())
        } else if named == local.relay {
            Some(self.relays.pick())
        } else {
            None
        }
    }
}
