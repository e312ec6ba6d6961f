//! Whether the announced relays can be reached, so that peers are not sent to one that is down
//! (rendezvous §5.17).

use crate::broker::Broker;
use hbb_common::addr::split_host_port;
use hbb_common::defaults::RELAY_PORT;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Between two rounds, and for each try.
const PERIOD: Duration = Duration::from_secs(3);

/// Tries the relays for ever, if there are several to choose from.
pub(crate) async fn watch(broker: Arc<Broker>) {
    loop {
        let names = broker.relays().all();
        if names.len() > 1 {
            let mut tries: JoinSet<Option<String>> = names.iter().cloned().map(try_one).collect();
            let mut answered = Vec::new();
            while let Some(tried) = tries.join_next().await {
                answered.extend(tried.ok().flatten());
            }
            let reachable: Vec<String> = names.iter().filter(|n| answered.contains(n)).cloned().collect();
            broker.relays().set_reachable(&names, &reachable);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn try_one(name: String) -> Option<String> {
    let (host, port) = split_host_port(&name, RELAY_PORT)?;
    let connected = timeout(PERIOD, TcpStream::connect((host, port))).await;
    matches!(connected, Ok(Ok(_))).then_some(name)
}
