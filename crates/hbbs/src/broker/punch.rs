//! Clients that want to reach a host: PunchHoleRequest and RequestRelay (rendezvous §5.15, §5.17).

use super::{Broker, Output, Port, RelayKey, Stream, encode};
use crate::clock::{Moment, Tick};
use crate::registry::{Peer, Route};
use bytes::Bytes;
use hbb_common::rendezvous::punch_hole_response::Failure;
use hbb_common::rendezvous::{
    FetchLocalAddr, NatType, PunchHole, PunchHoleRequest, PunchHoleResponse, RelayResponse, RequestRelay,
    rendezvous_message::Union,
};
use hbb_common::rewrite::edit_member;
use std::net::IpAddr;

/// Numbers of the members and fields that are edited in place.
const REQUEST_RELAY: u32 = 18;
const REQUEST_RELAY_SOCKET_ADDR: u32 = 3;

/// Texts that stock clients know and translate.
const KEY_MISMATCH: &str = "Key mismatch";
const UNKNOWN_ID: &str = "ID does not exist";
const OFFLINE: &str = "Remote desktop is offline";

impl Broker {
    pub(super) fn punch_request(
        &self,
        stream: &mut Stream,
        m: &PunchHoleRequest,
        at: Moment,
        out: &mut Vec<Output>,
    ) {
        let (peer, route) = match self.punchable(stream, m, at.tick) {
            Ok(found) => found,
            Err(failure) => {
                let answer = PunchHoleResponse { failure: failure.into(), ..Default::default() };
                return out.push(Output::Reply(encode(Union::PunchHoleResponse(answer))));
            }
        };
        let socket_addr = self.waiting.file(stream, &peer.id, at);
        let push = self.invitation(stream, &peer, m, socket_addr);
        self.counters.punches_forwarded.one();
        out.push(Output::Push(route, encode(push)));
    }

    fn punchable(&self, stream: &Stream, m: &PunchHoleRequest, now: Tick) -> Result<(Peer, Route), Failure> {
        if !self.key.accepts(&m.licence_key) {
            self.counters.punches_wrong_key.one();
            return Err(Failure::LicenseMismatch);
        }
        if self.key.required().is_some() && self.policy.relay_key == RelayKey::NamedBefore {
            *self.proofs().entry(stream.addr.ip().into(), now) = now;
        }
        let Some(peer) = self.registry.get(&m.id) else {
            self.counters.punches_unknown_id.one();
            return Err(Failure::IdNotExist);
        };
        match peer.route.filter(|_| peer.is_online(now)) {
            Some(route) => Ok((peer, route)),
            None => {
                self.counters.punches_offline.one();
                Err(Failure::Offline)
            }
        }
    }

    /// What the host is asked to do: name its local address, punch, or go to the relay.
    fn invitation(&self, stream: &Stream, peer: &Peer, m: &PunchHoleRequest, socket_addr: Bytes) -> Union {
        let (client, host) = (stream.addr.ip(), peer.addr.ip());
        let (client_inside, host_inside) = (self.is_inside(client), self.is_inside(host));
        let mut relay_server = self.relays.pick();
        let mut nat_type = m.nat_type;
        if self.policy.always_use_relay || client_inside != host_inside {
            nat_type = NatType::Symmetric.into();
            if host_inside && let Some(local) = &self.policy.local_network {
                relay_server.clone_from(&local.relay);
            }
        }
        let neighbours = (client_inside && host_inside) || client == host;
        if neighbours && stream.port != Port::WebSocket && !self.policy.always_use_relay {
            return Union::FetchLocalAddr(FetchLocalAddr { socket_addr, relay_server, ..Default::default() });
        }
        Union::PunchHole(PunchHole { socket_addr, relay_server, nat_type, ..Default::default() })
    }

    pub(super) fn is_inside(&self, ip: IpAddr) -> bool {
        self.policy.local_network.as_ref().is_some_and(|local| local.contains(ip))
    }

    pub(super) fn relay_request(
        &self,
        stream: &mut Stream,
        m: &RequestRelay,
        packet: &Bytes,
        at: Moment,
        out: &mut Vec<Output>,
    ) {
        let pushed = self.relayable(stream, m, at.tick).and_then(|(peer, route)| {
            let socket_addr = self.waiting.file(stream, &peer.id, at);
            let edited = edit_member(packet, REQUEST_RELAY, |fields| {
                fields.set_bytes(REQUEST_RELAY_SOCKET_ADDR, socket_addr);
            });
            // It was decoded before, so it can be edited.
            Ok(Output::Push(route, edited.map_err(|_| UNKNOWN_ID)?))
        });
        match pushed {
            Ok(push) => {
                self.counters.relays_forwarded.one();
                out.push(push);
            }
            Err(reason) => {
                self.counters.relays_refused.one();
                let answer = RelayResponse { refuse_reason: reason.into(), ..Default::default() };
                out.push(Output::Reply(encode(Union::RelayResponse(answer))));
            }
        }
    }

    fn relayable(&self, stream: &Stream, m: &RequestRelay, now: Tick) -> Result<(Peer, Route), &'static str> {
        if !self.may_ask_for_relay(stream, m, now) {
            return Err(KEY_MISMATCH);
        }
        let peer = self.registry.get(&m.id).ok_or(UNKNOWN_ID)?;
        let route = peer.route.filter(|_| peer.is_online(now)).ok_or(OFFLINE)?;
        Ok((peer, route))
    }

    fn may_ask_for_relay(&self, stream: &Stream, m: &RequestRelay, now: Tick) -> bool {
        let named_before = || {
            let proofs = self.proofs();
            let at = proofs.get(&stream.addr.ip().into());
            at.is_some_and(|at| at.within(super::PROOF_HOLDS, now))
        };
        match self.policy.relay_key {
            RelayKey::Ignored => true,
            RelayKey::Named => self.key.accepts(&m.licence_key),
            RelayKey::NamedBefore => {
                self.key.accepts(&m.licence_key) || (m.licence_key.is_empty() && named_before())
            }
        }
    }
}
