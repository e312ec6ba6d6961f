//! The server for the official MCP conformance suite, for runs by hand: it prints its URL and serves until
//! it is stopped. The tests serve the same within their own process.

use deskhand_tests::conformance::Fixtures;
use deskhand_tests::mcp_http;
use mcp::http::{HttpConfig, router_for};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the URL is its output")]
async fn main() {
    let fixtures = Fixtures::default();
    let served = mcp_http::serve(router_for(move || fixtures.handler(), HttpConfig::default())).await;
    println!("{}", served.url());
    std::future::pending::<()>().await;
}
