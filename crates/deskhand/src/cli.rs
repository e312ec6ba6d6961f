//! What the command line accepts.

use crate::config::LogFormat;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// See and operate any remote machine: for AI models, people and scripts.
#[derive(Debug, Parser)]
#[command(name = "deskhand", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to log: a level, or levels by module ("warn,client=debug"). Else as configured.
    #[arg(long, global = true, env = "DESKHAND_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// How to write log lines. Else as configured.
    #[arg(long, global = true, value_enum)]
    pub(crate) log_format: Option<LogFormat>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show everything on this machine: a rendezvous, a host with a real desktop, and an MCP client at work.
    Demo(DemoArgs),
    /// Serve MCP over HTTP, metrics and health, and a rendezvous server where one is configured.
    Serve(ServeArgs),
    /// Serve MCP over standard input and output: for the `deskhand serve` of this machine, or alone.
    Mcp(McpArgs),
    /// Call tools from the shell, in order, over one set of sessions.
    Call(CallArgs),
    /// See and decide which keys of peers are trusted.
    Peer(PeerArgs),
    /// Share this machine's screen with RustDesk clients and Deskhand.
    Host(HostArgs),
    /// Run a rendezvous (ID) server and relay, also for stock RustDesk programs.
    Rendezvous(RendezvousArgs),
    /// Check the configuration, show it, or get an example or the schema of it.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say what is wrong on this machine; exit status 1 if something is.
    Doctor(DoctorArgs),
    /// Make, list and revoke bearer tokens.
    #[command(subcommand)]
    Token(crate::commands::token::TokenCommand),
    /// Add, list and remove people who sign in with a browser.
    #[command(subcommand)]
    User(crate::commands::user::UserCommand),
    /// Measure, as JSON lines.
    Bench(crate::bench::BenchArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Stop after one round, with exit code 0 if the typed text was proved to arrive and to be seen.
    #[arg(long)]
    pub(crate) once: bool,

    /// Where the pictures go.
    #[arg(long, value_name = "DIR", default_value = "deskhand-demo")]
    pub(crate) out: PathBuf,

    /// Size of the virtual desktop.
    #[arg(long, value_name = "WxH", default_value = "1280x800", value_parser = parse_size)]
    pub(crate) virtual_size: remote::Size,
}

/// Where peers are looked up, and which machines have names.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConnectionArgs {
    /// Configuration file (TOML). Without it: $DESKHAND_CONFIG, else deskhand/config.toml in the user's
    /// configuration folder, if there.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Rendezvous server for peers named by id.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) server: Option<String>,

    /// That server's public key.
    #[arg(long, value_name = "KEY", requires = "server")]
    pub(crate) key: Option<String>,

    /// Where is kept what has to outlive the program, pinned peer keys for example.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// A key of the configuration, over what file and environment say; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
}

impl ConnectionArgs {
    /// Whether an option says what to work with, other than the usual.
    pub(crate) fn says_what(&self) -> bool {
        self.config.is_some() || self.server.is_some() || self.key.is_some() || !self.set.is_empty()
    }
}

/// `section.key=value`.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Setting {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or("write section.key=value")?;
        if !key.contains('.') || key.split('.').any(|part| part.trim().is_empty()) {
            return Err("write section.key=value; `deskhand config example` shows the keys");
        }
        Ok(Self { key: key.trim().to_owned(), value: value.trim().to_owned() })
    }
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    /// Where to listen for MCP clients and browsers; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// Where to listen for Prometheus; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) metrics_listen: Option<SocketAddr>,

    /// Tools to offer: toolset names separated by commas, or "all".
    #[arg(long, value_name = "NAMES")]
    pub(crate) toolsets: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Tell everything that is wrong with it; exit status 1 if something is.
    Check(ConnectionArgs),
    /// Print what is in force and where it comes from, without secrets.
    Show(ConnectionArgs),
    /// Print a file with every key, explained.
    Example,
    /// Print its JSON Schema.
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    /// One JSON object a line instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct McpArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    /// Do not use the `deskhand serve` that runs on this machine. Implied by every option that says what to
    /// work with.
    #[arg(long)]
    pub(crate) alone: bool,

    /// Tools to offer: toolset names separated by commas, or "all".
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) toolsets: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    /// Print results as JSON, one object a line, instead of text.
    #[arg(long)]
    pub(crate) json: bool,

    /// Where pictures are written.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,

    /// A tool's name, then its arguments as a JSON object; again for the next call. The object may be
    /// left out where a tool needs none.
    #[arg(value_name = "TOOL [JSON]", required = true)]
    pub(crate) calls: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PeerArgs {
    /// Where pinned peer keys are kept.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: PeerCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeerCommand {
    /// List the peers with the key that each had at its first session, and the one that was refused since.
    List,
    /// Trust the key that was refused last. Compare it first with the one that the machine itself shows.
    Accept(PeerArg),
    /// Forget the key, so that whatever key comes next is trusted.
    Forget(PeerArg),
}

#[derive(Debug, Args)]
pub(crate) struct PeerArg {
    /// The id; ID@SERVER where several servers have one like it.
    #[arg(value_name = "PEER")]
    pub(crate) peer: String,
}

#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// Rendezvous server to register with.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) server: Option<String>,

    /// That server's public key.
    #[arg(long, value_name = "KEY", requires = "server")]
    pub(crate) key: Option<String>,

    /// Relay to use, whatever the server announces.
    #[arg(long, value_name = "HOST[:PORT]", requires = "server")]
    pub(crate) relay: Option<String>,

    /// The id to be known by. Without it one is chosen once and kept.
    #[arg(long)]
    pub(crate) id: Option<String>,

    /// File whose first line is the password that lets clients in. Its hash is kept: once given, it counts
    /// until another is.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,

    /// Also let clients in by a password that is made here and printed, and replaced after each session.
    #[arg(long, value_name = "LENGTH", num_args = 0..=1, require_equals = true, default_missing_value = "6",
        value_parser = clap::value_parser!(u8).range(6..=64))]
    pub(crate) one_time_password: Option<u8>,

    /// Make one-time passwords of digits.
    #[arg(long, requires = "one_time_password")]
    pub(crate) digits: bool,

    /// What lets a client in: its password, a person's yes here, or either.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Approve::Password)]
    pub(crate) approve: Approve,

    /// Program to ask the person by, in place of the terminal: exit code 0 is a yes. $DESKHAND_CLIENT_ID, _NAME,
    /// _PLATFORM and _ADDRESS say who wants in; all but the address is what the client says.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) ask: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) screen: ScreenArgs,

    /// Also accept clients directly on this TCP port; such sessions are not encrypted by the protocol.
    #[arg(long, value_name = "N")]
    pub(crate) direct_port: Option<u16>,

    /// Where identity and password hash are kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct ScreenArgs {
    /// Share this X display. The default is $DISPLAY.
    #[arg(long, value_name = ":N")]
    pub(crate) display: Option<String>,

    /// Start a virtual X display of this size and share it.
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    pub(crate) r#virtual: Option<remote::Size>,

    /// Share a built-in interactive picture; needs no X server.
    #[arg(long, value_enum, value_name = "NAME")]
    pub(crate) screen: Option<BuiltInScreen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Approve {
    Password,
    /// A person's word only.
    Click,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BuiltInScreen {
    TestCard,
}

#[derive(Debug, Args)]
pub(crate) struct RendezvousArgs {
    /// Where the key and the database are kept. Hosts of a stock hbbs whose db_v2.sqlite3 lies there are
    /// taken over at the first start, and its id_ed25519 is used.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Addresses to listen on; may be given several times. The default is every address.
    #[arg(long, value_name = "IP")]
    pub(crate) listen: Vec<IpAddr>,

    /// Rendezvous port; NAT test is one below, relay one above, WebSocket two and three above. 0 picks free
    /// ones.
    #[arg(long, default_value_t = hbb_common::defaults::RENDEZVOUS_PORT)]
    pub(crate) port: u16,

    /// Secret key file in the form of hbbs's id_ed25519; made if there is none.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// Relay addresses to announce to clients; without it they use this machine's.
    #[arg(long, value_name = "HOST[:PORT]", value_delimiter = ',')]
    pub(crate) relay: Vec<String>,
}

/// `WIDTHxHEIGHT`, within what an X server takes.
fn parse_size(text: &str) -> Result<remote::Size, String> {
    let wrong = || format!("{text:?} is no size; write it like 1280x800");
    let (width, height) = text.split_once(['x', 'X']).ok_or_else(wrong)?;
    let parse =
        |side: &str| side.trim().parse::<u32>().ok().filter(|n| (16..=16_384).contains(n)).ok_or_else(wrong);
    Ok(remote::Size::new(parse(width)?, parse(height)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("1280x800"), Ok(remote::Size::new(1280, 800)));
        for wrong in ["", "x", "1280", "1280x", "0x5", "99999x5", "axb"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
