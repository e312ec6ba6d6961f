//! `deskhand token`: bearer tokens for scripts, models and people without a browser.

use crate::commands::grant::{GrantArgs, Lifetime, ago, now, open};
use clap::{Args, Subcommand, ValueEnum};
use policy::CallerKind;
use std::io::Write as _;
use std::path::PathBuf;
use store::{Seconds, TokenRow};
use web::auth::tokens::{self, NewToken};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it, once: only its hash is kept.
    Create(CreateArgs),
    /// List the tokens, without their secrets.
    List(ListArgs),
    /// End a token at once, also in a running server. Exit status 1 if there is none.
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Whom or what it is for: in lists and the audit log.
    #[arg(long)]
    name: String,

    #[command(flatten)]
    grant: GrantArgs,

    /// How long it is good for: like 12h, 90d, or never.
    #[arg(long, value_name = "TIME", default_value = "90d")]
    expires: Lifetime,

    /// What uses it, for the audit log.
    #[arg(long, value_enum, default_value_t = Kind::Model)]
    kind: Kind,

    /// Where the state is kept.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Model,
    Person,
    Script,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Where the state is kept.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The token's id; or a name, for all tokens of that name.
    #[arg(value_name = "ID|NAME")]
    which: String,

    /// Where the state is kept.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

pub(crate) async fn run(command: TokenCommand) -> anyhow::Result<bool> {
    match command {
        TokenCommand::Create(args) => create(args).await,
        TokenCommand::List(args) => list(args).await,
        TokenCommand::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<bool> {
    let now = now();
    let token = NewToken {
        name: args.name,
        kind: match args.kind {
            Kind::Model => CallerKind::Model,
            Kind::Person => CallerKind::Person,
            Kind::Script => CallerKind::Script,
        },
        grant: args.grant.into(),
        expires_at: args.expires.end(now),
    };
    let (secret, _) = tokens::create(&open(args.state.as_deref())?, token, now).await?;
    writeln!(std::io::stdout(), "{}", secret.expose())?;
    Ok(true)
}

async fn list(args: ListArgs) -> anyhow::Result<bool> {
    let now = now();
    let mut out = std::io::stdout().lock();
    for token in tokens::list(&open(args.state.as_deref())?).await? {
        if args.json {
            let row = serde_json::json!({
                "id": token.id,
                "name": token.name,
                "kind": token.kind,
                "grant": token.grant,
                "created_at": token.created_at,
                "expires_at": token.expires_at,
                "revoked_at": token.revoked_at,
                "used_at": token.used_at,
                "live": token.is_live(now),
            });
            writeln!(out, "{row}")?;
        } else {
            let TokenRow { id, name, grant, .. } = &token;
            let (classes, targets) = (grant.classes, &grant.targets);
            let state = state(&token, now);
            writeln!(out, "{id}  {name}  [{classes}] on {targets}, mode {}  {state}", grant.mode)?;
        }
    }
    Ok(true)
}

fn state(token: &TokenRow, now: Seconds) -> String {
    let used = token.used_at.map_or("never used".to_owned(), |at| format!("used {}", ago(now - at)));
    match (token.revoked_at, token.expires_at) {
        (Some(at), _) => format!("revoked {}", ago(now - at)),
        (None, Some(end)) if end <= now => format!("expired {}", ago(now - end)),
        (None, Some(end)) => format!("{used}, {} days left", (end - now) / 86_400),
        (None, None) => used,
    }
}

async fn revoke(args: RevokeArgs) -> anyhow::Result<bool> {
    let revoked = tokens::revoke(&open(args.state.as_deref())?, &args.which, now()).await?;
    let mut out = std::io::stdout().lock();
    for token in &revoked {
        writeln!(out, "revoked {} ({})", token.id, token.name)?;
    }
    if revoked.is_empty() {
        writeln!(std::io::stderr(), "deskhand: there is no live token {:?}", args.which)?;
    }
    Ok(!revoked.is_empty())
}
