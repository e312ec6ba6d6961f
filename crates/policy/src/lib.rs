//! Who may do what on which machine.
//!
//! Everything that can be done belongs to a [`Class`]. A [`Caller`] is whoever a credential stands for; its
//! [`Grant`] names classes, machines (a [`Selector`]) and the highest [`Mode`]. [`Policy::decide`] puts the
//! grant and the operator's own rules together. The answer is a [`Decision`]: a value with its reason, which
//! every edge translates once.

mod caller;
mod class;
mod decision;
mod mode;
mod selector;

pub use caller::{Caller, CallerKind, Grant};
pub use class::{Class, Classes, UnknownClass};
pub use decision::{Decision, Policy, Refusal, Rule, Verdict};
pub use mode::{Mode, UnknownMode};
pub use selector::{Machine, Selector, SelectorError};
