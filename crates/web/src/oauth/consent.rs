//! From what a person ticked to a grant.

use super::request::AuthorizationRequest;
use crate::auth::{AuthState, is_loopback};
use crate::form::Form;
use crate::pages::{Choices, LIFETIMES};
use policy::{Class, Classes, Grant, Mode, Selector};
use reqwest::Url;
use store::Seconds;

/// The choices of a page that nobody has filled in yet.
pub(super) fn suggested(most: &Grant, classes: Classes, preselected: Classes) -> Choices {
    Choices {
        classes: classes.and(preselected),
        all_machines: true,
        machines: Vec::new(),
        selector: String::new(),
        mode: Mode::Edit.min(most.mode),
        lifetime: "month".into(),
    }
}

/// What a person filled in, as far as it can be read.
pub(super) fn choices(form: &Form) -> Result<Choices, String> {
    let one = |name| form.one(name).map_err(|error| error.to_string());
    let classes = form.all("scope").map(str::parse::<Class>).collect::<Result<Classes, _>>();
    Ok(Choices {
        classes: classes.map_err(|error| error.to_string())?,
        all_machines: one("machines")? == Some("all"),
        machines: form.all("machine").map(str::to_owned).collect(),
        selector: one("selector")?.unwrap_or_default().to_owned(),
        mode: one("mode")?
            .unwrap_or("edit")
            .parse()
            .map_err(|error: policy::UnknownMode| error.to_string())?,
        lifetime: one("lifetime")?.unwrap_or("day").to_owned(),
    })
}

impl Choices {
    /// The grant and its time, within `most` and what was `asked`. Says what is wrong, for the person.
    pub(super) fn grant(&self, most: &Grant, asked: Classes) -> Result<(Grant, Option<Seconds>), String> {
        let classes = self.classes.and(asked).and(most.classes);
        if classes.is_empty() {
            return Err("Tick at least one thing that it may do, or refuse.".into());
        }
        let lifetime = LIFETIMES.iter().find(|(word, _, _)| *word == self.lifetime);
        let (_, _, lifetime) = lifetime.ok_or("Choose for how long.")?;
        // The person's own limit of machines counts when the tokens are used, as it is then.
        let targets = self.targets()?;
        let mode = self.mode.min(most.mode);
        Ok((Grant { classes, targets, mode, toolsets: most.toolsets.clone() }, *lifetime))
    }

    fn targets(&self) -> Result<Selector, String> {
        if self.all_machines {
            let none_named = self.machines.is_empty() && self.selector.trim().is_empty();
            // Whoever ticks one machine does not mean all of them.
            return if none_named { Ok(Selector::all()) } else { Err("Choose all machines or some.".into()) };
        }
        let mut parts: Vec<String> =
            self.machines.iter().map(|name| Selector::id(name.as_str()).to_string()).collect();
        let own = self.selector.trim();
        if !own.is_empty() {
            let own: Selector =
                own.parse().map_err(|error| format!("The selector can not be read: {error}."))?;
            parts.push(format!("({own})"));
        }
        if parts.is_empty() {
            return Err("Choose the machines, or all.".into());
        }
        parts.join(" or ").parse().map_err(|error| format!("The machines can not be selected: {error}."))
    }
}

impl AuthState {
    /// The host to which a code goes, whether that is this device, and the source for the page's policy.
    pub(super) fn destination(request: &AuthorizationRequest) -> (String, bool, String) {
        let url = &request.redirect;
        let Some(host) = url.host_str() else {
            return (format!("{}:", url.scheme()), false, format!("{}:", url.scheme()));
        };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        (format!("{host}{port}"), is_loopback(url), source(url, host, &port))
    }
}

fn source(url: &Url, host: &str, port: &str) -> String {
    let scheme = url.scheme();
    // A policy can not name an IPv6 address, nor a host of schemes it does not know.
    if host.starts_with('[') || !matches!(scheme, "http" | "https") {
        return format!("{scheme}:");
    }
    format!("{scheme}://{host}{port}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::Machine;

    fn most() -> Grant {
        Grant { mode: Mode::Edit, ..Grant::everything() }
    }

    fn read(form: &str) -> Result<(Grant, Option<Seconds>), String> {
        let asked: Classes = "observe interact execute".parse().unwrap();
        choices(&Form::parse(form.as_bytes()).unwrap())?.grant(&most(), asked)
    }

    #[test]
    fn a_grant_is_what_was_ticked_within_what_was_asked() {
        let (grant, lifetime) =
            read("scope=observe&scope=admin&machines=all&mode=bypass&lifetime=day").unwrap();
        assert_eq!(grant.classes.to_string(), "observe");
        assert_eq!(grant.targets, Selector::all());
        assert_eq!(grant.mode, Mode::Edit, "not above the person's own");
        assert_eq!(lifetime, Some(24 * 3600));
    }

    #[test]
    fn machines_are_ticked_or_selected() {
        let form =
            "scope=observe&machines=some&machine=office&machine=a+%22b%22&selector=tag%3Ax+and+os%3Alinux";
        let (grant, _) = read(form).unwrap();
        let tags = ["x".to_owned()];
        let is_in = |machine: Machine<'_>| grant.targets.matches(&machine);
        assert!(is_in(Machine::named("office")) && is_in(Machine::named("a \"b\"")));
        assert!(is_in(Machine { id: "z", tags: &tags, os: Some("linux"), online: None }));
        assert!(!is_in(Machine { id: "z", tags: &tags, os: Some("windows"), online: None }));
        assert!(!is_in(Machine::named("other")));
    }

    #[test]
    fn what_can_not_be_meant_is_said() {
        for (form, wrong) in [
            ("scope=admin&machines=all", "Tick at least one"),
            ("machines=all", "Tick at least one"),
            ("scope=observe&machines=some", "Choose the machines"),
            ("scope=observe", "Choose the machines"),
            ("scope=observe&machines=all&machine=office", "all machines or some"),
            ("scope=observe&machines=all&selector=office", "all machines or some"),
            ("scope=observe&machines=some&selector=color%3Ared", "The selector can not be read"),
            ("scope=observe&machines=all&lifetime=ever", "for how long"),
            ("scope=root&machines=all", "there is no class"),
            ("scope=observe&machines=all&mode=god", "there is no mode"),
            ("scope=observe&machines=all&machines=some", "more than once"),
        ] {
            let error = read(form).unwrap_err();
            assert!(error.contains(wrong), "{form}: {error}");
        }
    }

    #[test]
    fn dangerous_classes_are_not_ticked_beforehand() {
        let asked: Classes = "observe execute".parse().unwrap();
        let preselected = super::super::OAuthConfig::default().preselected;
        assert_eq!(suggested(&most(), asked, preselected).classes.to_string(), "observe");
        assert_eq!(suggested(&most(), "execute".parse().unwrap(), preselected).classes, Classes::NONE);
    }
}
