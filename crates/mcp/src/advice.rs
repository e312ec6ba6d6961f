//! What to try next, for every error code.

use policy::Refusal;
use remote::{RemoteError, SessionState};
use sessions::SessionsError;

/// The advice that always fits a code.
pub(crate) fn for_code(code: &str) -> &'static str {
    match code {
        "not_authenticated" => {
            "call connect with this session and a password, or ask the operator to configure one"
        }
        "not_permitted" => "this is refused by configuration or by the peer; ask the operator",
        "needs_approval" => {
            "tell your user what you want to do and that they are asked to agree; repeat exactly this call \
             after they did"
        }
        "human_in_control" => {
            "do nothing and tell your user; session_status says when control was given back, then look with \
             screenshot before you go on: the screen is another"
        }
        "unknown_target" => "call target_list for the configured names, or check the id",
        "unreachable" => "check that the machine is on and online, then call connect again",
        "wrong_password" => "call connect with this session and the right password; do not guess",
        "needs_2fa" => "a person has to enter the code from their authenticator",
        "awaiting_approval" => "ask the person at the machine to accept, then call connect with this session",
        "needs_os_login" => "a person has to log in to the machine's operating system first",
        "no_display" => "the machine shows no screen: attach a display, start a desktop, or log in there",
        "permission_denied_by_peer" => {
            "ask the person at the machine to allow keyboard and mouse for this session"
        }
        "elevated_window" => "a person at the machine has to answer or close the window in front",
        "session_closed" => "call session_list to see what is open and why others ended, or connect again",
        "stale_frame" => "call screenshot, then use positions of the new picture",
        "out_of_bounds" => "use positions within the bounds; they are pixels of the last whole picture",
        "budget_exceeded" => "ask for a region, for format jpeg or auto, or for a larger max_bytes",
        "timeout_unknown_outcome" => "look with screenshot before doing anything again: it may have happened",
        "cancelled" => "look with screenshot before doing it again: a part may have happened",
        "rate_limited" => "wait, or disconnect sessions that are not needed",
        "unsupported_by_peer" => "leave the option out; this peer can not do it",
        _ => "correct the arguments; tools/list shows every tool's schema",
    }
}

/// Advice for a session that is not ready.
pub(crate) fn for_state(state: &SessionState) -> String {
    match state {
        SessionState::Connecting => {
            "it is still being connected: call connect with this session to go on waiting, or disconnect"
                .to_owned()
        }
        SessionState::Reconnecting { .. } => {
            "wait with connect and this session until the connection is back".to_owned()
        }
        SessionState::Closed(error) => for_remote(error).unwrap_or_else(|| for_code(error.kind()).to_owned()),
        state => for_code(sessions::error::state_kind(state)).to_owned(),
    }
}

/// Advice that fits an error of a driver better than that for its code.
fn for_remote(error: &RemoteError) -> Option<String> {
    match error {
        RemoteError::PeerKeyChanged { peer, .. } => Some(format!(
            "this may be another machine in its place. A person who knows why the key changed, and has compared \
             it with the one that the machine shows, runs: deskhand peer accept {peer}"
        )),
        _ => None,
    }
}

/// Advice that fits an error better than that for its code.
pub(crate) fn for_error(error: &SessionsError) -> Option<String> {
    let advice = match error {
        SessionsError::Remote(error) | SessionsError::Closed { cause: Some(error), .. } => {
            return for_remote(error);
        }
        SessionsError::TypingStopped { typed, .. } => {
            return Some(format!(
                "look with screenshot; {typed} characters were typed, so do not type those again"
            ));
        }
        SessionsError::NoPicture(_) => {
            "the peer has sent no picture yet: call screenshot again, then session_status"
        }
        SessionsError::SeveralOpen { .. } => "pass one of these handles as session",
        SessionsError::NoneOpen => "call connect first",
        SessionsError::NoSuchDisplay { .. } => {
            "session_status lists the displays; leave display out for the last one"
        }
        SessionsError::UnknownKey { .. } => {
            "use one of the similar names, a single character, or type_text for text"
        }
        SessionsError::ControlCharacter(_) => "leave it out of the text and use press_key for keys",
        SessionsError::TextTooLong { .. } => "type it in parts",
        SessionsError::NotPermitted(Refusal::Class { .. } | Refusal::Machine { .. }) => {
            "this credential does not reach that far; do without it, or ask the operator for another one"
        }
        SessionsError::NotPermitted(Refusal::Mode { .. }) => {
            "only a person can raise the mode; tell your user what you would do"
        }
        SessionsError::NotPermitted(Refusal::Rule { .. }) => {
            "leave it; only the operator can change the rule"
        }
        SessionsError::ApprovalRefused { .. } => "leave it, and ask your user how to go on",
        SessionsError::TooManyApprovals { .. } => "wait until a person answered what is asked already",
        SessionsError::Stopped { .. } => {
            "stop working and ask your user: only a person can let this credential go on"
        }
        SessionsError::Cancelled { .. } => {
            "stop working and ask your user; a part of it may have happened, so look before you ever repeat it"
        }
        SessionsError::ControlChanged => {
            "nothing of it was done: look with screenshot, the screen is another, then decide anew"
        }
        SessionsError::NotAudited(_) => {
            "nothing was done; ask the operator to make room for the audit log. Looking may still work"
        }
        SessionsError::PasswordNotAllowed => "leave the password out and ask the operator to configure one",
        SessionsError::TooManySessions { .. } => "disconnect a session that is not needed",
        _ => return None,
    };
    Some(advice.to_owned())
}
