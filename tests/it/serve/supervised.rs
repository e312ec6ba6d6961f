//! Under systemd: what it is told.

use super::{PATIENCE, Served};
use deskhand_tests::eventually;
use nix::sys::signal::Signal;
use std::os::unix::net::UnixDatagram;

/// Everything that was told so far, one assignment a line.
fn told(socket: &UnixDatagram, so_far: &mut Vec<String>) {
    let mut datagram = [0; 4096];
    while let Ok(length) = socket.recv(&mut datagram) {
        so_far.extend(String::from_utf8_lossy(&datagram[..length]).lines().map(str::to_owned));
    }
}

#[test]
fn it_says_when_it_is_ready_alive_reloading_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), "").unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut child = Served::spawn(folder.path(), &[], |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    });
    let mut lines = Vec::new();
    let mut wait = |what: &str| {
        eventually(what, PATIENCE, || {
            told(&socket, &mut lines);
            let at = lines.iter().position(|line| line == what)?;
            // What comes later is looked for behind it.
            Some(lines.drain(..=at).count())
        });
    };
    wait("READY=1");
    wait("WATCHDOG=1");
    wait("WATCHDOG=1");
    child.signal(Signal::SIGHUP);
    wait("RELOADING=1");
    wait("READY=1");
    child.signal(Signal::SIGTERM);
    wait("STOPPING=1");
    assert!(child.ended(PATIENCE).success());
}
