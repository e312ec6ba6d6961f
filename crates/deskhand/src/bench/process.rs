//! The measured program as a process of its own, on a CPU of its own.

use super::{BenchError, system};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::{Pid, SysconfVar, sysconf},
};
use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The CPU of the measured server; the load runs on the next one.
pub(crate) const SERVER_CPU: usize = 0;
pub(crate) const LOAD_CPU: usize = 1;

/// Keeps the calling thread, and those it will start, on one CPU. A machine without that CPU is left as
/// it is: ratios still hold there, if less well.
pub(crate) fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    if set.set(cpu).is_ok() {
        sched_setaffinity(Pid::from_raw(0), &set).ok();
    }
}

/// A server under measurement. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pid: i32,
    child: Option<Child>,
}

impl Server {
    /// Starts this program again with `args`. It must print the address it listens on, and end when its
    /// standard input does.
    pub(crate) fn start(args: &[&str]) -> Result<Self, BenchError> {
        let exe = std::env::current_exe().map_err(system("finding this program"))?;
        let mut command = Command::new(exe);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(system("starting the measured server"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(system("reading where it listens"))?;
        }
        let pid = child.id() as i32;
        let mut server = Self { addr: SocketAddr::from(([0; 4], 0)), pid, child: Some(child) };
        server.addr = line.trim().parse().map_err(|_| BenchError::NoServer)?;
        Ok(server)
    }

    /// One that runs already and is left alone.
    pub(crate) fn running(target: super::Target) -> Self {
        Self { addr: target.addr, pid: target.pid, child: None }
    }

    /// CPU time it has used, in ticks of usually 10 ms.
    pub(crate) fn cpu(&self) -> Result<Duration, BenchError> {
        let stat = self.proc("stat")?;
        // The name in brackets may contain anything; behind it, fields 14 and 15 are the 12th and 13th.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<f64, BenchError> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
        let kilobytes = line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok());
        Ok(kilobytes.unwrap_or_default() * 1024.0)
    }

    fn proc(&self, file: &str) -> Result<String, BenchError> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid))
            .map_err(|_| BenchError::ServerGone { pid: self.pid })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            child.wait().ok();
        }
    }
}

/// The server's end of [`Server::start`]: says where it listens, and waits until it is not needed.
pub(crate) fn announce(addr: SocketAddr) {
    #[expect(clippy::print_stdout, reason = "the parent reads this line")]
    {
        println!("{addr}");
    }
    std::io::stdin().read_to_end(&mut Vec::new()).ok();
}
