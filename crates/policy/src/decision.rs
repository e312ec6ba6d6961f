//! Putting a caller's grant and the operator's rules together.

use crate::{Caller, Class, Classes, Machine, Mode, Selector};
use serde::{Deserialize, Serialize};

/// What a rule says of the operations that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Refused, in every mode, to everybody.
    Deny,
    /// A person has to agree first; not in [`Mode::Bypass`].
    Ask,
}

/// One of the operator's rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub targets: Selector,
    pub classes: Classes,
    pub verdict: Verdict,
    /// Why, for whoever is refused.
    #[serde(default)]
    pub reason: String,
}

/// The operator's part of every decision.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The highest mode of anybody.
    pub mode: Mode,
    pub rules: Vec<Rule>,
}

/// Whether an operation may go ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allowed,
    /// A person has to agree first.
    NeedsApproval {
        reason: String,
    },
    Refused(Refusal),
}

/// Why not. Only a person can change any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this credential does not have the scope {class}")]
    Class { class: Class },
    #[error("this credential is not good for {machine}; it is limited to: {targets}")]
    Machine { machine: String, targets: String },
    #[error("the mode is {mode}, which leaves no {class}")]
    Mode { mode: Mode, class: Class },
    #[error("a rule of the operator forbids {class} on {machine}{}", because(.reason))]
    Rule { class: Class, machine: String, reason: String },
}

impl Refusal {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Class { .. } => "class",
            Self::Machine { .. } => "machine",
            Self::Mode { .. } => "mode",
            Self::Rule { .. } => "rule",
        }
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

impl Policy {
    /// The mode in which the caller acts.
    pub fn mode_of(&self, caller: &Caller) -> Mode {
        self.mode.min(caller.grant.mode)
    }

    /// Whether the caller may do what belongs to `class` on `machine`.
    ///
    /// What is not known of a machine never helps the caller: a grant has to select the machine for
    /// certain, while a rule covers every machine that it may select.
    pub fn decide(&self, caller: &Caller, class: Class, machine: &Machine<'_>) -> Decision {
        self.decide_within(Mode::Bypass, caller, class, machine)
    }

    /// Like [`decide`](Self::decide) for a caller who acts in `ceiling` at most.
    pub fn decide_within(
        &self,
        ceiling: Mode,
        caller: &Caller,
        class: Class,
        machine: &Machine<'_>,
    ) -> Decision {
        let covering = |verdict| {
            let covers = move |rule: &&Rule| {
                rule.verdict == verdict && rule.classes.contains(class) && rule.targets.may_match(machine)
            };
            self.rules.iter().find(covers)
        };
        if let Err(refusal) = self.granted_within(ceiling, caller, class) {
            return Decision::Refused(refusal);
        }
        if !caller.grant.targets.matches(machine) {
            let targets = caller.grant.targets.to_string();
            return Decision::Refused(Refusal::Machine { machine: machine.id.to_owned(), targets });
        }
        if let Some(rule) = covering(Verdict::Deny) {
            let (machine, reason) = (machine.id.to_owned(), rule.reason.clone());
            return Decision::Refused(Refusal::Rule { class, machine, reason });
        }
        match covering(Verdict::Ask) {
            Some(rule) if self.mode_of(caller).min(ceiling) < Mode::Bypass => {
                Decision::NeedsApproval { reason: rule.reason.clone() }
            }
            _ => Decision::Allowed,
        }
    }

    /// Whether the caller may do what belongs to `class` anywhere at all.
    pub fn granted(&self, caller: &Caller, class: Class) -> Result<(), Refusal> {
        self.granted_within(Mode::Bypass, caller, class)
    }

    /// Like [`granted`](Self::granted) for a caller who acts in `ceiling` at most.
    pub fn granted_within(&self, ceiling: Mode, caller: &Caller, class: Class) -> Result<(), Refusal> {
        let mode = self.mode_of(caller).min(ceiling);
        if !caller.grant.classes.contains(class) {
            return Err(Refusal::Class { class });
        }
        if !mode.classes().contains(class) {
            return Err(Refusal::Mode { mode, class });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CallerKind, Grant};

    fn caller(classes: &str, targets: &str, mode: Mode) -> Caller {
        let grant = Grant {
            classes: classes.parse().unwrap(),
            targets: targets.parse().unwrap(),
            mode,
            toolsets: Vec::new(),
        };
        Caller { credential: "t1".into(), name: "t".into(), kind: CallerKind::Model, grant }
    }

    fn rule(targets: &str, classes: &str, verdict: Verdict) -> Rule {
        let (targets, classes) = (targets.parse().unwrap(), classes.parse().unwrap());
        Rule { targets, classes, verdict, reason: "payroll".into() }
    }

    const OFFICE: Machine<'_> = Machine { id: "office", tags: &[], os: Some("linux"), online: None };

    fn kind(decision: &Decision) -> &'static str {
        match decision {
            Decision::Allowed => "allowed",
            Decision::NeedsApproval { .. } => "ask",
            Decision::Refused(refusal) => refusal.kind(),
        }
    }

    #[test]
    fn a_grant_names_classes_and_machines() {
        let policy = Policy { mode: Mode::Bypass, rules: Vec::new() };
        let decide = |caller: &Caller, class| kind(&policy.decide(caller, class, &OFFICE));
        let model = caller("observe interact", "id:office", Mode::Edit);
        assert_eq!(decide(&model, Class::Interact), "allowed");
        assert_eq!(decide(&model, Class::Execute), "class");
        assert_eq!(decide(&caller("all", "id:other", Mode::Edit), Class::Observe), "machine");
    }

    #[test]
    fn the_lower_mode_counts() {
        let decide = |policy, own| {
            let policy = Policy { mode: policy, rules: Vec::new() };
            kind(&policy.decide(&caller("all", "all", own), Class::Interact, &OFFICE))
        };
        assert_eq!(decide(Mode::Edit, Mode::Edit), "allowed");
        assert_eq!(decide(Mode::Plan, Mode::Bypass), "mode");
        assert_eq!(decide(Mode::Bypass, Mode::Plan), "mode");
        assert_eq!(decide(Mode::Disabled, Mode::Bypass), "mode");
    }

    #[test]
    fn denials_hold_in_every_mode_and_questions_in_all_but_bypass() {
        let rules =
            vec![rule("os:linux", "interact", Verdict::Ask), rule("id:office", "execute", Verdict::Deny)];
        let policy = Policy { mode: Mode::Bypass, rules };
        let decide = |mode, class| kind(&policy.decide(&caller("all", "all", mode), class, &OFFICE));
        assert_eq!(decide(Mode::Edit, Class::Interact), "ask");
        assert_eq!(decide(Mode::Bypass, Class::Interact), "allowed");
        assert_eq!(decide(Mode::Bypass, Class::Execute), "rule");
        assert_eq!(decide(Mode::Edit, Class::Observe), "allowed");
    }

    #[test]
    fn a_lowered_mode_counts_too() {
        let policy = Policy { mode: Mode::Bypass, rules: vec![rule("all", "interact", Verdict::Ask)] };
        let model = caller("all", "all", Mode::Bypass);
        let decide = |ceiling| kind(&policy.decide_within(ceiling, &model, Class::Interact, &OFFICE));
        assert_eq!(decide(Mode::Bypass), "allowed");
        assert_eq!(decide(Mode::Edit), "ask");
        assert_eq!(decide(Mode::Plan), "mode");
    }

    #[test]
    fn what_is_not_known_helps_nobody_around_a_rule() {
        let policy = Policy { mode: Mode::Edit, rules: vec![rule("os:windows", "interact", Verdict::Deny)] };
        let decide = |machine: &Machine<'_>, targets| {
            kind(&policy.decide(&caller("all", targets, Mode::Edit), Class::Interact, machine))
        };
        assert_eq!(decide(&OFFICE, "all"), "allowed", "it is known to run linux");
        assert_eq!(decide(&Machine::named("new"), "all"), "rule");
        assert_eq!(decide(&Machine::named("new"), "os:linux"), "machine");
    }

    #[test]
    fn a_refusal_says_why() {
        let rules = vec![rule("all", "observe", Verdict::Deny)];
        let policy = Policy { mode: Mode::Edit, rules };
        let Decision::Refused(refusal) =
            policy.decide(&caller("all", "all", Mode::Edit), Class::Observe, &OFFICE)
        else {
            panic!("allowed")
        };
        assert_eq!(refusal.to_string(), "a rule of the operator forbids observe on office: payroll");
    }
}
