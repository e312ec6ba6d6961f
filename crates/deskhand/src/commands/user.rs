//! `deskhand user`: people who sign in with a browser.

use crate::commands::grant::{GrantArgs, ago, now, open};
use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use store::UserRow;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a person. The password is the first line of a file or of standard input.
    Add(AddArgs),
    /// Set another password and sign the person out everywhere.
    Password(PasswordArgs),
    /// List the people.
    List(StateArgs),
    /// Remove a person, with everything granted to clients. Exit status 1 if there is none.
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    name: String,

    #[command(flatten)]
    grant: GrantArgs,

    /// File whose first line is the password. Without it, standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    name: String,

    /// File whose first line is the password. Without it, standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    name: String,

    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Where the state is kept.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

pub(crate) async fn run(command: UserCommand) -> anyhow::Result<bool> {
    match command {
        UserCommand::Add(args) => add(args).await,
        UserCommand::Password(args) => password(args).await,
        UserCommand::List(args) => list(args).await,
        UserCommand::Remove(args) => remove(args).await,
    }
}

async fn add(args: AddArgs) -> anyhow::Result<bool> {
    let named = |c: char| c.is_alphanumeric() || "._@-".contains(c);
    let short = (1..=64).contains(&args.name.len());
    ensure!(short && args.name.chars().all(named), "a name is letters, digits and ._@-, at most 64 bytes");
    let password = read_password(args.password_file.as_deref())?;
    let user = UserRow {
        name: args.name.clone(),
        password: web::auth::hash_password(&password)?,
        grant: args.grant.into(),
        created_at: now(),
    };
    let added = open(args.state.state.as_deref())?.add_user(user).await?;
    ensure!(added, "there is a user {:?} already", args.name);
    Ok(true)
}

async fn password(args: PasswordArgs) -> anyhow::Result<bool> {
    let password = read_password(args.password_file.as_deref())?;
    let hash = web::auth::hash_password(&password)?;
    let set = open(args.state.state.as_deref())?.set_password(&args.name, hash).await?;
    ensure!(set, "there is no user {:?}", args.name);
    Ok(true)
}

async fn list(args: StateArgs) -> anyhow::Result<bool> {
    let now = now();
    let mut out = std::io::stdout().lock();
    for UserRow { name, grant, created_at, .. } in open(args.state.as_deref())?.users().await? {
        let (classes, targets, mode) = (grant.classes, &grant.targets, grant.mode);
        writeln!(out, "{name}  [{classes}] on {targets}, mode {mode}  added {}", ago(now - created_at))?;
    }
    Ok(true)
}

async fn remove(args: RemoveArgs) -> anyhow::Result<bool> {
    let removed = open(args.state.state.as_deref())?.remove_user(&args.name).await?;
    if !removed {
        writeln!(std::io::stderr(), "deskhand: there is no user {:?}", args.name)?;
    }
    Ok(removed)
}

fn read_password(file: Option<&Path>) -> anyhow::Result<String> {
    let mut text = String::new();
    match file {
        Some(path) => {
            text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        }
        None => {
            std::io::stdin().lock().read_line(&mut text).context("the password on standard input")?;
        }
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
