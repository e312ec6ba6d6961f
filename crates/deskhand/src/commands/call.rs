//! `deskhand call`: tools from the shell, in order over one set of sessions.

use crate::cli::CallArgs;
use crate::commands::gateway::{self, Parts};
use crate::config::{self, Loaded};
use crate::lifecycle;
use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use mcp::{CallOutcome, Gateway, Image};
use policy::{Caller, CallerKind};
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Exit code 0 if every call succeeded; the calls behind a failed one are not made.
pub(crate) async fn run(args: CallArgs, loaded: &Loaded) -> anyhow::Result<bool> {
    let calls = parse(&args.calls)?;
    let pins = config::state_dir(args.connection.state.as_deref(), "client");
    let toolsets = ["all".to_owned()];
    let parts = Parts::alone("call", &pins, &toolsets);
    let gateway = gateway::build(&loaded.config, parts)?;
    let caller = Arc::new(Caller::local("deskhand call", CallerKind::Script));
    let stop = lifecycle::stop_on_signal()?;
    let succeeded = tokio::select! {
        result = run_all(&gateway, &caller, &calls, &args) => result,
        () = stop.cancelled() => Err(anyhow::anyhow!("interrupted")),
    };
    gateway.sessions().shutdown().await;
    succeeded
}

async fn run_all(
    gateway: &Gateway,
    caller: &Arc<Caller>,
    calls: &[(String, Value)],
    args: &CallArgs,
) -> anyhow::Result<bool> {
    for (number, (tool, arguments)) in calls.iter().enumerate() {
        let spinner = spinner(tool);
        let outcome = gateway.call(caller, tool, arguments.clone()).await;
        spinner.finish_and_clear();
        let outcome = outcome?;
        let pictures = save(&outcome, &args.out, number + 1, tool)?;
        print(tool, &outcome, &pictures, args.json)?;
        if outcome.is_error {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tool names, each with the JSON object behind it, if there is one.
fn parse(words: &[String]) -> anyhow::Result<Vec<(String, Value)>> {
    let mut calls: Vec<(String, Value)> = Vec::new();
    for word in words {
        if !word.trim_start().starts_with('{') {
            calls.push((word.clone(), json!({})));
            continue;
        }
        let arguments: Value =
            serde_json::from_str(word).with_context(|| format!("arguments {word:?} are no JSON object"))?;
        match calls.last_mut() {
            Some((_, waiting)) if waiting.as_object().is_some_and(|object| object.is_empty()) => {
                *waiting = arguments;
            }
            _ => bail!("{word:?} stands behind no tool's name"),
        }
    }
    Ok(calls)
}

/// Writes the pictures of a call as `NUMBER-TOOL.png` (or `.jpg`).
fn save(outcome: &CallOutcome, folder: &Path, number: usize, tool: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (nth, image) in outcome.images.iter().enumerate() {
        std::fs::create_dir_all(folder).with_context(|| format!("folder {}", folder.display()))?;
        let suffix = if nth == 0 { String::new() } else { format!("-{}", nth + 1) };
        let path = folder.join(format!("{number:02}-{tool}{suffix}.{}", extension(image)));
        std::fs::write(&path, &image.data).with_context(|| format!("picture {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

fn extension(image: &Image) -> &'static str {
    if image.mime_type == "image/png" { "png" } else { "jpg" }
}

fn print(tool: &str, outcome: &CallOutcome, pictures: &[PathBuf], as_json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        let line = json!({
            "tool": tool,
            "ok": !outcome.is_error,
            "result": outcome.structured,
            "pictures": pictures,
        });
        writeln!(out, "{line}")?;
        return Ok(());
    }
    writeln!(out, "{tool}: {}", outcome.text())?;
    for path in pictures {
        writeln!(out, "  {}", path.display())?;
    }
    Ok(())
}

/// Turns on standard error once a call takes over a second; nothing where that is no terminal.
fn spinner(tool: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(tool.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> anyhow::Result<Vec<(String, Value)>> {
        parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn tools_and_their_arguments() {
        let calls = words(&["connect", r#"{"target":"a"}"#, "session_list", "screenshot", "{}"]).unwrap();
        assert_eq!(
            calls,
            [
                ("connect".into(), json!({"target": "a"})),
                ("session_list".into(), json!({})),
                ("screenshot".into(), json!({})),
            ]
        );
    }

    #[test]
    fn arguments_without_a_tool_and_broken_ones_are_refused() {
        assert!(words(&["{}"]).is_err());
        assert!(words(&["connect", "{"]).is_err());
        assert!(words(&["connect", r#"{"a":1}"#, r#"{"b":2}"#]).is_err());
    }
}
