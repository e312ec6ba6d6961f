//! HTTP.
//!
//! Who may call ([`auth`], [`oauth`], [`oidc`]) and from where ([`guard`]).

pub mod auth;
mod clock;
pub mod fetch;
mod form;
pub mod guard;
pub mod oauth;
pub mod oidc;
mod pages;

pub use clock::Clock;

#[cfg(test)]
mod tests;
