//! HTTP.
//!
//! Who may call ([`auth`], [`oauth`], [`oidc`]) and from where ([`guard`]); what a person sees and does in a
//! browser ([`viewer`]); sockets ([`listener`]), health and
//! metrics ([`health`], [`scrape`]), and the trace that a request belongs to ([`trace`]).

pub mod auth;
pub mod certificate;
mod clock;
pub mod fetch;
mod form;
pub mod guard;
pub mod health;
pub mod listener;
pub mod oauth;
pub mod oidc;
mod pages;
pub mod scrape;
pub mod trace;
pub mod viewer;

pub use clock::Clock;
pub use reqwest::Url;

#[cfg(test)]
mod tests;
