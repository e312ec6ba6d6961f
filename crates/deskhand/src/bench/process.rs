//! The measured program as a process of its own, on a CPU of its own.

use super::{BenchError, system};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::ClockId,
    unistd::Pid,
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

/// CPU time that this process has used, all its threads together.
pub(crate) fn own_cpu() -> nix::Result<Duration> {
    Ok(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into())
}

/// How many for each second of CPU time.
pub(crate) fn per_cpu(count: f64, cpu: Duration) -> f64 {
    // Before anything was done there is nothing to divide by.
    count / cpu.as_secs_f64().max(1e-6)
}

/// A server under measurement. Ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    /// What else it said, after its address.
    pub(crate) said: Vec<String>,
    pid: i32,
    child: Option<Child>,
}

impl Server {
    /// Starts this program again with `args`. It must print a line that begins with the address it listens
    /// on, and end when its standard input does.
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
        let addr = SocketAddr::from(([0; 4], 0));
        let mut server = Self { addr, said: Vec::new(), pid, child: Some(child) };
        let mut words = line.split_whitespace();
        server.addr = words.next().and_then(|word| word.parse().ok()).ok_or(BenchError::NoServer)?;
        server.said = words.map(str::to_owned).collect();
        Ok(server)
    }

    /// One that runs already and is left alone.
    pub(crate) fn running(target: super::Target) -> Self {
        Self { addr: target.addr, said: Vec::new(), pid: target.pid, child: None }
    }

    /// CPU time it has used.
    pub(crate) fn cpu(&self) -> Result<Duration, BenchError> {
        let gone = |_| BenchError::ServerGone { pid: self.pid };
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(self.pid)).map_err(gone)?;
        Ok(clock.now().map_err(gone)?.into())
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
    announce_with(addr, &[]);
}

/// As [`announce`], with words for [`Server::said`].
pub(crate) fn announce_with(addr: SocketAddr, words: &[&str]) {
    let mut line = addr.to_string();
    for word in words {
        line.push(' ');
        line.push_str(word);
    }
    #[expect(clippy::print_stdout, reason = "the parent reads this line")]
    {
        println!("{line}");
    }
    std::io::stdin().read_to_end(&mut Vec::new()).ok();
}
