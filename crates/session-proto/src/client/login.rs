//! What a host's refusals at login mean (session §2.6), and which ends forbid coming back (§10.6, §10.7).

use remote::RemoteError;

/// What to make of `LoginResponse.error`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    WrongPassword,
    SecondFactor {
        wrong: bool,
    },
    /// A person at the host decides.
    Approval,
    /// The host wants a user of its operating system.
    OsLogin,
    /// No attempt on this connection can succeed.
    Final(RemoteError),
}

pub(super) fn judge(text: &str, host_id: &str) -> Answer {
    match text {
        "Wrong Password" | "Empty Password" => Answer::WrongPassword,
        "2FA Required" => Answer::SecondFactor { wrong: false },
        "Wrong 2FA Code" => Answer::SecondFactor { wrong: true },
        "No Password Access" => Answer::Approval,
        "Offline" => Answer::Final(RemoteError::Offline(host_id.into())),
        "Desktop none" | "Desktop xorg not found" => {
            Answer::Final(RemoteError::UnsupportedByPeer(text.into()))
        }
        _ if text.starts_with("Desktop ") => Answer::OsLogin,
        _ if text.starts_with("Too many wrong attempts")
            || text.starts_with("Please try 1 minute later")
            || text.starts_with("Please try again in ") =>
        {
            Answer::Final(RemoteError::TooManyAttempts(text.into()))
        }
        _ if is_capture_failure(text) => Answer::Final(RemoteError::UnsupportedByPeer(text.into())),
        _ => Answer::Final(RemoteError::Refused(text.into())),
    }
}

/// Texts of a Linux host that let us in but can not capture its screen.
fn is_capture_failure(text: &str) -> bool {
    const PARTS: &[&str] = &["x11 expected", "wayland", "ubuntu-21-04-required", "xdp-portal-unavailable"];
    let text = text.to_ascii_lowercase();
    PARTS.iter().any(|part| text.contains(part))
}

/// Whether a connection that ended with this text may be made again (session §10.7).
pub(super) fn may_come_back(text: &str) -> bool {
    const FORBIDDING: &[&str] = &[
        "offline",
        "not exist",
        "handshake",
        "failed",
        "resolve",
        "mismatch",
        "manually",
        "restricted",
        "not allowed",
        "incoming only",
    ];
    let text = text.to_ascii_lowercase();
    !FORBIDDING.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_keep_the_connection() {
        assert_eq!(judge("Wrong Password", "1"), Answer::WrongPassword);
        assert_eq!(judge("2FA Required", "1"), Answer::SecondFactor { wrong: false });
        assert_eq!(judge("Wrong 2FA Code", "1"), Answer::SecondFactor { wrong: true });
        assert_eq!(judge("No Password Access", "1"), Answer::Approval);
        for text in [
            "Desktop session not ready",
            "Desktop session not ready, password empty",
            "Desktop session not ready, password wrong",
            "Desktop xsession failed",
            "Desktop session another user login",
        ] {
            assert_eq!(judge(text, "1"), Answer::OsLogin, "{text}");
        }
    }

    #[test]
    fn limits_end_the_session() {
        for text in [
            "Please try 1 minute later",
            "Too many wrong attempts",
            "Too many wrong attempts for IPv6 prefix /64",
            "Please try again in 30 seconds.",
        ] {
            assert_eq!(judge(text, "1"), Answer::Final(RemoteError::TooManyAttempts(text.into())));
        }
    }

    #[test]
    fn everything_else_is_final() {
        assert_eq!(judge("Offline", "1"), Answer::Final(RemoteError::Offline("1".into())));
        for text in [
            "Wayland login screen is not supported",
            "Unsupported display server type \"tty\", x11 or wayland expected",
        ] {
            assert_eq!(judge(text, "1"), Answer::Final(RemoteError::UnsupportedByPeer(text.into())));
        }
        for text in ["Your ip is blocked by the peer", "Someone turns on privacy mode, exit", "anything new"]
        {
            assert_eq!(judge(text, "1"), Answer::Final(RemoteError::Refused(text.into())));
        }
    }

    #[test]
    fn ends_that_forbid_coming_back() {
        for text in [
            "Closed manually by the peer",
            "Closed manually by web console",
            "Connection failed due to inactivity",
            "Connection not allowed",
        ] {
            assert!(!may_come_back(text), "{text}");
        }
        assert!(may_come_back("reset by peer"));
    }
}
