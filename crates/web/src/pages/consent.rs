//! The page on which a person decides what a client gets.

use super::{Html, esc, page};
use crate::oauth::Vouched;
use axum::http::StatusCode;
use axum::response::Response;
use policy::{Class, Classes, Grant, Mode};
use store::Seconds;

const DAY: Seconds = 24 * 3600;

/// How long a consent can last: the word in the form, what people read, and the seconds.
pub(crate) const LIFETIMES: [(&str, &str, Option<Seconds>); 4] = [
    ("day", "one day", Some(DAY)),
    ("month", "30 days", Some(30 * DAY)),
    ("year", "a year", Some(365 * DAY)),
    ("revoked", "until I revoke it", None),
];

/// What a person is shown.
#[derive(Debug)]
pub(crate) struct ConsentPage<'a> {
    pub(crate) client: &'a str,
    pub(crate) vouched: &'a Vouched,
    /// Where the answer goes.
    pub(crate) redirect_host: &'a str,
    pub(crate) loopback: bool,
    /// As a source of a content security policy.
    pub(crate) redirect_source: &'a str,
    pub(crate) user: &'a str,
    /// The most that this person can give.
    pub(crate) most: &'a Grant,
    /// What is asked for, within that.
    pub(crate) classes: Classes,
    pub(crate) machines: &'a [String],
    pub(crate) csrf: &'a str,
    /// The client's request, to be brought back with the answer.
    pub(crate) request: &'a str,
    pub(crate) choices: Choices,
    /// What was wrong with the last answer.
    pub(crate) wrong: Option<String>,
}

/// What is ticked, filled in and selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choices {
    pub(crate) classes: Classes,
    pub(crate) all_machines: bool,
    pub(crate) machines: Vec<String>,
    pub(crate) selector: String,
    pub(crate) mode: Mode,
    /// A word of [`LIFETIMES`].
    pub(crate) lifetime: String,
}

/// What a class is, for people.
const fn described(class: Class) -> (&'static str, &'static str) {
    match class {
        Class::Observe => ("See the screen", "pictures, lists of machines and sessions"),
        Class::Interact => ("Use mouse and keyboard", "whatever a person could do in front of the screen"),
        Class::Clipboard => ("Use the clipboard", "read and set it"),
        Class::FilesRead => ("Read files", "lists, contents, copies"),
        Class::FilesWrite => ("Write files", "create, change, delete"),
        Class::Execute => ("Run commands", "in terminals, as the machine's user"),
        Class::Network => ("Open network connections", "forward ports through the machine, make them public"),
        Class::Fleet => ("Act on many machines at once", "one call for all that are selected"),
        Class::Schedule => ("Act later", "without anybody being there"),
        Class::Admin => ("Administer Deskhand", "tokens, keys, approvals, the audit log"),
    }
}

pub(crate) fn consent(status: StatusCode, show: &ConsentPage<'_>) -> Response {
    let body = format!(
        "<h1>Allow <em>{client}</em> to use your machines?</h1>{wrong}{facts}\
         <form method=\"post\" action=\"/authorize\">\
         <input type=\"hidden\" name=\"csrf\" value=\"{csrf}\">\
         <input type=\"hidden\" name=\"request\" value=\"{request}\">\
         {scopes}{machines}{limits}\
         <p class=\"buttons\"><button name=\"decision\" value=\"refuse\">Refuse</button>\
         <button class=\"primary\" name=\"decision\" value=\"allow\">Allow</button></p></form>",
        client = esc(show.client),
        wrong = show
            .wrong
            .as_ref()
            .map(|text| format!("<p class=\"wrong\" role=\"alert\">{}</p>", esc(text)))
            .unwrap_or_default(),
        facts = facts(show),
        csrf = esc(show.csrf),
        request = esc(show.request),
        scopes = scopes(show),
        machines = machines(show),
        limits = limits(show),
    );
    page(status, "Allow access?", &body, Some(show.redirect_source))
}

fn facts(show: &ConsentPage<'_>) -> Html {
    let said = match show.vouched {
        Vouched::Operator => "known to this server".to_owned(),
        Vouched::Site { host } => format!("as described by {}", esc(host)),
        Vouched::Nobody => "it calls itself so; nobody has checked".to_owned(),
    };
    let name = format!("{}<br><small>{said}</small>", esc(show.client));
    let host = if show.loopback {
        format!(
            "a program on the device you are using ({})<br><small>Go on only if you have just started it \
             yourself.</small>",
            esc(show.redirect_host)
        )
    } else {
        format!(
            "{}<br><small>Go on only if you know this site and come from there.</small>",
            esc(show.redirect_host)
        )
    };
    format!(
        "<dl class=\"facts\"><div><dt>Client</dt><dd>{name}</dd></div>\
         <div><dt>Access goes to</dt><dd>{host}</dd></div>\
         <div><dt>Signed in as</dt><dd>{user}</dd></div></dl>",
        user = esc(show.user)
    )
}

fn checked(ticked: bool) -> &'static str {
    if ticked { " checked" } else { "" }
}

fn scopes(show: &ConsentPage<'_>) -> Html {
    let rows: Html = show
        .classes
        .iter()
        .map(|class| {
            let (title, text) = described(class);
            format!(
                "<label><input type=\"checkbox\" name=\"scope\" value=\"{class}\"{ticked}>\
                 <span>{title}<small>{text} ({class})</small></span></label>",
                ticked = checked(show.choices.classes.contains(class)),
            )
        })
        .collect();
    format!("<fieldset><legend>It may</legend>{rows}</fieldset>")
}

fn machines(show: &ConsentPage<'_>) -> Html {
    let choices = &show.choices;
    let names: Html = show
        .machines
        .iter()
        .map(|name| {
            format!(
                "<label><input type=\"checkbox\" name=\"machine\" value=\"{name}\"{ticked}>\
                 <span>{name}</span></label>",
                name = esc(name),
                ticked = checked(choices.machines.contains(name)),
            )
        })
        .collect();
    let limit = show.most.targets.to_string();
    let limit = if limit == "all" {
        String::new()
    } else {
        format!("<p class=\"dim\">Your own account is limited to: {}</p>", esc(&limit))
    };
    format!(
        "<fieldset><legend>On</legend>\
         <label><input type=\"radio\" name=\"machines\" value=\"all\"{all}><span>all my machines</span></label>\
         <label><input type=\"radio\" name=\"machines\" value=\"some\"{some}><span>only these</span></label>\
         <fieldset class=\"some\">{names}\
         <p class=\"dim\">or those that a selector names, for example <code>tag:office and os:windows</code>\
         <input name=\"selector\" value=\"{selector}\" aria-label=\"Selector\" autocapitalize=\"none\" \
         spellcheck=\"false\" maxlength=\"4096\"></p></fieldset>{limit}</fieldset>",
        all = checked(choices.all_machines),
        some = checked(!choices.all_machines),
        selector = esc(&choices.selector),
    )
}

fn limits(show: &ConsentPage<'_>) -> Html {
    let selected = |is: bool| if is { " selected" } else { "" };
    let modes: Html = [
        (Mode::Plan, "look only"),
        (Mode::Edit, "act; ask me where a rule says so"),
        (Mode::Bypass, "act without asking, without backups"),
    ]
    .into_iter()
    .filter(|(mode, _)| *mode <= show.most.mode)
    .map(|(mode, text)| {
        format!("<option value=\"{mode}\"{}>{mode}: {text}</option>", selected(mode == show.choices.mode))
    })
    .collect();
    let lifetimes: Html = LIFETIMES
        .iter()
        .map(|(word, text, _)| {
            format!("<option value=\"{word}\"{}>{text}</option>", selected(*word == show.choices.lifetime))
        })
        .collect();
    format!(
        "<label>Mode<select name=\"mode\">{modes}</select></label>\
         <label>For<select name=\"lifetime\">{lifetimes}</select></label>"
    )
}
