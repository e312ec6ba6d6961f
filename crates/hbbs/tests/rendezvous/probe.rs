//! The independent probe asks our running hbbs and hbbr what it asked the stock ones.

use deskhand_tests::{net::own_address, pyref};
use hbbs::relay::{Relay, RelayConfig};
use hbbs::{Server, ServerConfig};
use serde_json::Value;
use std::time::Duration;

/// Asks one scenario; gives the rows that differ from stock: what was asked, what ours answered.
async fn differences(scenario: &str) -> Vec<(String, Value)> {
    let state = tempfile::tempdir().unwrap();
    let ip = own_address();
    let server = Server::spawn(ServerConfig {
        listen: vec![ip.into()],
        state_dir: Some(state.path().into()),
        relays: vec![ip.to_string()],
        ..ServerConfig::default()
    })
    .unwrap();
    let key = server.required_key().unwrap().to_owned();
    let relay = RelayConfig { key: Some(key.clone()), ..RelayConfig::on(ip.into(), 21117) };
    let relay = Relay::spawn(relay).unwrap();
    let [a, b] = [own_address().to_string(), own_address().to_string()];
    let [hbbs, hbbr, ip] = [format!("{ip}:21116"), format!("{ip}:21117"), ip.to_string()];
    let arguments = ["--hbbs", &hbbs, "--hbbr", &hbbr, "--server", &ip, "--key", &key, "--a", &a, "--b", &b];
    let rows = pyref::probe(&[scenario], &arguments, Duration::from_secs(120)).await;
    assert_eq!(rows[0]["result"], "ok", "{:#}", rows[0]);
    server.shutdown().await;
    relay.shutdown().await;
    let rows = rows[0]["different"].as_array().unwrap().clone();
    rows.iter().map(|row| (row[0].as_str().unwrap().to_owned(), row[1].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn punches_queries_and_nat_tests_are_answered_as_by_stock() {
    for scenario in ["nat-test", "online", "punch", "same-address", "web"] {
        assert_eq!(differences(scenario).await, [], "{scenario}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_are_answered_as_by_stock_but_for_a_datagram_that_asks_for_its_port() {
    let found = differences("register").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "TestNatRequest over UDP");
    assert_eq!(found[0].1[0], "test_nat_response");
}

/// Stock closes all of these; ours serves hosts without UDP, and clients whose only port this is.
#[tokio::test(flavor = "multi_thread")]
async fn registrations_over_tcp_are_where_ours_serves_more() {
    let found = differences("tcp-registration").await;
    let answers: Vec<(&str, &Value)> = found.iter().map(|(what, answer)| (&what[..], &answer[0])).collect();
    assert_eq!(
        answers,
        [
            ("RegisterPk over TCP", &Value::from("register_pk_response")),
            // Kept open.
            ("then", &Value::Null),
            ("RegisterPeer over TCP", &Value::from("register_peer_response")),
            ("OnlineRequest on 21116", &Value::from("online_response")),
        ]
    );
    assert_eq!(found[1].1, "silence");
}
