//! Folders, secrets, certificates, clock, display.

use super::{Report, State};
use crate::config::Config;
use nix::unistd::{AccessFlags, access};
use sessions::{SecretRef, SecretSource as _};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Before it this program did not exist.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
/// A certificate that ends sooner should be renewed by now.
const SOON: i64 = 14;
/// Less than this fills up in a day.
const ROOM: u64 = 100 << 20;

/// Whether what has to outlive us can be kept, by us alone.
pub(super) fn state(root: &Path, report: &mut Report) {
    let shown = root.display();
    let about = match fs::metadata(root) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = root.ancestors().skip(1).find(|folder| folder.exists());
            match parent.map(|parent| access(parent, AccessFlags::W_OK)) {
                Some(Ok(())) => report.good("state", format!("{shown} will be made")),
                _ => report.broken("state", format!("{shown} can not be made here; give --state DIR")),
            }
            return;
        }
        Err(error) => return report.broken("state", format!("{shown}: {error}")),
    };
    if access(root, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        report.broken("state", format!("{shown} can not be written by this user; chown or chmod it"));
    } else if about.mode() & 0o022 != 0 {
        report.broken("state", format!("others can write to {shown}; chmod 700 it"));
    } else if about.mode() & 0o055 != 0 {
        report.doubtful("state", format!("others can read {shown}; chmod 700 it"));
    } else {
        report.good("state", shown.to_string());
    }
    if let Ok(disk) = nix::sys::statvfs::statvfs(root) {
        let room = disk.blocks_available().saturating_mul(disk.fragment_size());
        if room < ROOM {
            report.broken("disk", format!("{} MiB are left at {shown}; make room", room >> 20));
        }
    }
    let key = root.join("rendezvous/id_ed25519");
    if let Ok(about) = fs::metadata(&key)
        && about.mode() & 0o077 != 0
    {
        report.broken("key", format!("others can read {}; chmod 600 it, then rotate the key", key.display()));
    }
}

/// Whether every secret that is named can be read, and by nobody else.
pub(super) fn secrets(config: &Config, report: &mut Report) {
    let source = config.secret_source();
    let targets = config.targets();
    let mut named: Vec<(String, SecretRef)> = Vec::new();
    for entry in &targets {
        let part = format!("secret of {}", entry.target.name);
        named.extend(entry.password.clone().map(|reference| (part, reference)));
    }
    for (name, secret) in &source.named {
        named.push((format!("secret {name}"), secret.reference.clone()));
    }
    let token = config.metrics.token_file.clone();
    named.extend(token.map(|path| ("metrics token".to_owned(), SecretRef::File(path))));
    let total = named.len();
    let mut faulty = 0;
    for (part, reference) in named {
        let path = match &reference {
            SecretRef::File(path) => Some(path.clone()),
            SecretRef::Named(name) => source.folder.as_ref().map(|folder| folder.join(name)),
            SecretRef::Inline(_) => None,
        };
        if let Err(error) = source.read(&reference) {
            faulty += 1;
            report.broken(part, format!("{error}; put the secret there, readable by this user"));
            continue;
        }
        let open = path.and_then(|path| Some((fs::metadata(&path).ok()?.mode() & 0o044 != 0, path)));
        if let Some((true, path)) = open {
            faulty += 1;
            report.doubtful(part, format!("others can read {}; chmod 600 it", path.display()));
        }
    }
    if total > 0 && faulty == 0 {
        report.good("secrets", format!("{total} can be read, by this user alone"));
    }
}

/// Whether the certificate holds today and for a while.
pub(super) fn certificate(config: &Config, report: &mut Report) {
    let (Some(certificate), Some(key)) = (&config.http.tls_cert, &config.http.tls_key) else { return };
    let part = "certificate";
    if let Ok(about) = fs::metadata(key)
        && about.mode() & 0o044 != 0
    {
        report.doubtful("certificate key", format!("others can read {}; chmod 600 it", key.display()));
    }
    let loaded = web::certificate::inspect(certificate, key);
    match loaded {
        Err(error) => report.broken(part, format!("{}: {error}", certificate.display())),
        Ok(None) => report.doubtful(part, "its dates can not be read"),
        Ok(Some(validity)) => {
            let now = now().as_secs().cast_signed();
            let days = (validity.not_after - now) / 86_400;
            if now < validity.not_before {
                report.broken(part, "it is not valid yet; is the clock right?");
            } else if now >= validity.not_after {
                report.broken(part, format!("it ended {} days ago; renew it", -days));
            } else if days < SOON {
                report.doubtful(part, format!("it ends in {days} days; renew it, then send SIGHUP"));
            } else {
                report.good(part, format!("good for {days} days"));
            }
        }
    }
}

/// Tokens and certificates have dates: a clock that is years off makes them worthless.
pub(super) fn clock(report: &mut Report) {
    if now() < EARLIEST {
        report.broken("clock", "it is before this program was made; set it, or let NTP do so");
        return;
    }
    // 0 where the kernel knows that something keeps the clock right (adjtimex(2)).
    match synchronised() {
        Some(false) => {
            report.doubtful("clock", "nothing keeps it right; enable NTP (timedatectl set-ntp true)")
        }
        _ => report.good("clock", "plausible"),
    }
}

/// What systemd-timesyncd, or whoever else keeps the clock, says; `None` where nobody does.
fn synchronised() -> Option<bool> {
    let known = Path::new("/run/systemd/timesync");
    known.is_dir().then(|| known.join("synchronized").exists())
}

/// Whether there is an X display to share with `deskhand host`.
pub(super) fn display(report: &mut Report) {
    let Some(display) = std::env::var_os("DISPLAY") else {
        report.add("display", State::Unused, "no $DISPLAY: `deskhand host` starts one with --virtual");
        return;
    };
    let name = display.to_string_lossy().into_owned();
    match host::screen::X11Screen::open(Some(&name)) {
        Ok(_) => report.good("display", format!("{name} can be shared")),
        Err(error) => {
            report.doubtful("display", format!("{name}: {error}; is it yours, and is XAUTHORITY right?"));
        }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
