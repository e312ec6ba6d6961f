//! Tokens of an external issuer.

use super::*;
use crate::oidc::OidcConfig;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rand::RngCore as _;

const ISSUER: &str = "https://id.example/realm";
const DISCOVERY: &str = "https://id.example/realm/.well-known/openid-configuration";
const KEYS: &str = "https://id.example/keys";

struct Signer {
    key: EncodingKey,
    jwk: Value,
    id: String,
}

impl Signer {
    fn new(id: &str) -> Self {
        // PKCS #8 of an Ed25519 key: a fixed beginning and the seed.
        let mut der = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
        ];
        let mut seed = [0; 32];
        rand::rng().fill_bytes(&mut seed);
        der.extend_from_slice(&seed);
        let key = EncodingKey::from_ed_der(&der);
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::EdDSA).unwrap()).unwrap();
        jwk["kid"] = json!(id);
        jwk["use"] = json!("sig");
        Self { key, jwk, id: id.into() }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, claims, &self.key).unwrap()
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": ["https://desk.example/mcp"], "sub": "u1", "preferred_username": "carol",
        "exp": NOW + 300, "nbf": NOW, "iat": NOW, "scope": "openid observe desk:use",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

async fn world(signers: &[&Signer], change: impl Fn(&mut OidcConfig)) -> World {
    let table = Table::default();
    table.put(DISCOVERY, &json!({ "issuer": ISSUER, "jwks_uri": KEYS }));
    publish(&table, signers);
    let source = table.clone();
    let mut world = World::with(|config, _| {
        let mut oidc = OidcConfig::new(ISSUER.into());
        oidc.source = Some(Arc::new(source.clone()));
        oidc.scopes.insert("desk:use".into(), "interact clipboard".parse().unwrap());
        change(&mut oidc);
        config.issuer = Issuer::External(Box::new(oidc));
    })
    .await;
    world.table = table;
    world
}

fn publish(table: &Table, signers: &[&Signer]) {
    let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
    table.put(KEYS, &json!({ "keys": keys }));
}

#[tokio::test]
async fn a_token_of_the_issuer_stands_for_its_scopes() {
    let signer = Signer::new("k1");
    let world = world(&[&signer], |config| config.targets_claim = Some("machines".into())).await;
    let resource = world.get("/.well-known/oauth-protected-resource/mcp", &[]).await.json();
    assert_eq!(resource["authorization_servers"], json!([ISSUER]));
    assert_eq!(world.get("/authorize", &[]).await.status, StatusCode::NOT_FOUND, "people sign in elsewhere");
    let me = world.whoami(&signer.sign(&claims())).await.json();
    assert_eq!((me["credential"].as_str(), me["name"].as_str()), (Some("oidc:u1"), Some("carol")));
    assert_eq!(me["classes"], "observe interact clipboard");
    assert_eq!(me["targets"], "all");
    let me = world.whoami(&signer.sign(&with("machines", json!("tag:lab")))).await.json();
    assert_eq!(me["targets"], "tag:lab");
    assert_eq!(world.table.asked(), [DISCOVERY, KEYS], "once for both");
    let scp = with("scp", json!(["execute"]));
    assert_eq!(
        world.whoami(&signer.sign(&scp)).await.json()["classes"],
        "observe interact clipboard execute"
    );
}

#[tokio::test]
async fn what_is_not_for_us_now_is_refused() {
    let (signer, other) = (Signer::new("k1"), Signer::new("k1"));
    let world = world(&[&signer], |config| config.targets_claim = Some("machines".into())).await;
    let refused = async |token: &str| {
        let reply = world.whoami(token).await;
        reply.status == StatusCode::UNAUTHORIZED || reply.status == StatusCode::TOO_MANY_REQUESTS
    };
    for (what, claims) in [
        ("issuer", with("iss", json!("https://evil.example"))),
        ("audience", with("aud", json!("https://other.example/mcp"))),
        ("no audience", with("aud", Value::Null)),
        ("expired", with("exp", json!(NOW - 60))),
        ("no end", with("exp", Value::Null)),
        ("end of the wrong kind", with("exp", json!("tomorrow"))),
        ("not yet", with("nbf", json!(NOW + 61))),
        ("issued in the future", with("iat", json!(NOW + 61))),
        ("no scope", with("scope", json!("openid profile"))),
        ("no subject", with("sub", Value::Null)),
        ("machines of the wrong kind", with("machines", json!(7))),
        ("machines that can not be read", with("machines", json!("color:red"))),
    ] {
        assert!(refused(&signer.sign(&claims)).await, "{what}");
    }
    for (what, claims) in [
        ("within the skew", with("exp", json!(NOW - 59))),
        ("almost yet", with("nbf", json!(NOW + 60))),
        ("half seconds", with("exp", json!(NOW as f64 + 0.5))),
    ] {
        assert_eq!(world.whoami(&signer.sign(&claims)).await.status, StatusCode::OK, "{what}");
    }
    assert!(refused(&other.sign(&claims())).await, "another's signature under the same name");
    let good = signer.sign(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let header = |text: &str| URL_SAFE_NO_PAD.encode(text);
    assert!(refused(&format!("{}.{}.", header(r#"{"alg":"none"}"#), parts[1])).await, "unsigned");
    assert!(refused(&format!("{}.{}.{}", header(r#"{"alg":"RS256","kid":"k1"}"#), parts[1], parts[2])).await);
    let symmetric = EncodingKey::from_secret(signer.jwk["x"].as_str().unwrap().as_bytes());
    let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::HS256) };
    assert!(refused(&encode(&header, &claims(), &symmetric).unwrap()).await, "signed with the public key");
}

#[tokio::test]
async fn keys_are_rotated_and_looked_for_seldom() {
    let (first, second, third) = (Signer::new("k1"), Signer::new("k2"), Signer::new("k3"));
    let world = world(&[&first], |_| {}).await;
    let status =
        async |signer: &Signer| world.whoami(&signer.sign(&with("exp", json!(NOW + 9000)))).await.status;
    assert_eq!(status(&first).await, StatusCode::OK);
    world.table.asked();
    publish(&world.table, &[&second]);
    assert_eq!(status(&second).await, StatusCode::UNAUTHORIZED, "just looked");
    world.pass(30);
    assert_eq!(status(&second).await, StatusCode::OK);
    assert_eq!(status(&first).await, StatusCode::UNAUTHORIZED, "withdrawn");
    for _ in 0..5 {
        assert_eq!(status(&third).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(world.table.asked(), [KEYS], "not for each token that names any key");
    publish(&world.table, &[&third]);
    world.pass(3600);
    assert_eq!(status(&second).await, StatusCode::UNAUTHORIZED, "old keys are not believed for ever");
    assert_eq!(status(&third).await, StatusCode::OK);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_told_apart_from_a_wrong_token() {
    let signer = Signer::new("k1");
    let world = world(&[&signer], |_| {}).await;
    world.table.documents.lock().unwrap().clear();
    assert_eq!(world.whoami(&signer.sign(&claims())).await.status, StatusCode::SERVICE_UNAVAILABLE);
    world.pass(30);
    world.table.put(DISCOVERY, &json!({ "issuer": "https://evil.example", "jwks_uri": KEYS }));
    assert_eq!(world.whoami(&signer.sign(&claims())).await.status, StatusCode::SERVICE_UNAVAILABLE);
    world.pass(30);
    world.table.put(DISCOVERY, &json!({ "issuer": ISSUER, "jwks_uri": KEYS }));
    publish(&world.table, &[&signer]);
    assert_eq!(world.whoami(&signer.sign(&claims())).await.status, StatusCode::OK);
    world.table.documents.lock().unwrap().clear();
    world.pass(3700);
    let long = signer.sign(&with("exp", json!(NOW + 9000)));
    assert_eq!(world.whoami(&long).await.status, StatusCode::OK, "known keys last over an outage");
}
