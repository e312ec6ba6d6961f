//! Every recorded message, read with our definitions, says what the independent reader wrote down beside
//! it: member, field names, values.

use deskhand_tests::recording::Recording;
use deskhand_tests::{protos, recordings};
use hbb_common::session::Message;
use prost::Message as _;
use protox::prost_reflect::{DescriptorPool, DynamicMessage, MapKey, ReflectMessage as _, Value};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};

/// Our definitions, with names.
fn definitions() -> DescriptorPool {
    let files = protox::compile(["rendezvous.proto", "session.proto"], [protos()]).expect("our .proto files");
    DescriptorPool::from_file_descriptor_set(files).expect("our .proto files")
}

/// Longer byte strings stand as length and hash in the outlines.
const LONG: usize = 64;

fn digest(bytes: &[u8]) -> Json {
    let hash: String = Sha256::digest(bytes).iter().take(8).map(|b| format!("{b:02x}")).collect();
    json!({ "len": bytes.len(), "sha256": hash })
}

fn bytes(bytes: &[u8]) -> Json {
    if bytes.len() > LONG {
        return digest(bytes);
    }
    bytes.iter().map(|b| format!("{b:02x}")).collect::<String>().into()
}

fn value(value: &Value, kind: &protox::prost_reflect::Kind) -> Json {
    match value {
        Value::Bool(v) => (*v).into(),
        Value::I32(v) => (*v).into(),
        Value::I64(v) => (*v).into(),
        Value::U32(v) => (*v).into(),
        Value::U64(v) => (*v).into(),
        Value::F32(v) => (*v).into(),
        Value::F64(v) => (*v).into(),
        Value::String(v) => v.as_str().into(),
        Value::Bytes(v) => bytes(v),
        Value::EnumNumber(number) => {
            let named = kind.as_enum().and_then(|e| e.get_value(*number)).map(|v| v.name().to_owned());
            named.map_or_else(|| (*number).into(), Into::into)
        }
        Value::Message(v) => fields(v),
        Value::List(items) => items.iter().map(|item| self::value(item, kind)).collect(),
        Value::Map(entries) => {
            let entry = |(key, item): (&MapKey, &Value)| (format!("{key:?}"), self::value(item, kind));
            Json::Object(entries.iter().map(entry).collect())
        }
    }
}

fn fields(message: &DynamicMessage) -> Json {
    let named = |(field, v): (protox::prost_reflect::FieldDescriptor, &Value)| {
        (field.name().to_owned(), value(v, &field.kind()))
    };
    Json::Object(message.fields().map(named).collect::<Map<_, _>>())
}

/// The names of the members chosen, from the outside in.
fn kind(message: &DynamicMessage) -> String {
    let mut path: Vec<String> = Vec::new();
    let mut message = message.clone();
    loop {
        let descriptor = message.descriptor();
        let mut unions = descriptor.oneofs().filter(|o| !o.is_synthetic());
        let (Some(union), None) = (unions.next(), unions.next()) else { break };
        let Some(member) = union.fields().find(|field| message.has_field(field)) else { break };
        path.push(member.name().to_owned());
        let Value::Message(inner) = message.get_field(&member).into_owned() else { break };
        message = inner;
    }
    if path.is_empty() { "(none)".into() } else { path.join(".") }
}

fn frames(message: &Message) -> Json {
    let Some(hbb_common::session::message::Union::VideoFrame(video)) = &message.union else {
        panic!("{message:?} is no picture")
    };
    use hbb_common::session::video_frame::Union;
    let frames = match video.union.as_ref().expect("a codec") {
        Union::Vp9s(f) | Union::Vp8s(f) | Union::Av1s(f) | Union::H264s(f) | Union::H265s(f) => &f.frames,
        other => panic!("{other:?}"),
    };
    let row = |frame: &hbb_common::session::EncodedVideoFrame| {
        let mut row = digest(&frame.data);
        row["key"] = frame.key.into();
        row["pts"] = frame.pts.into();
        row
    };
    frames.iter().map(row).collect()
}

/// What ours makes of an entry, without the number and the time.
fn outline(definition: &protox::prost_reflect::MessageDescriptor, entry: &[u8]) -> Json {
    let dynamic = DynamicMessage::decode(definition.clone(), entry).expect("the generated reader took it");
    let kind = kind(&dynamic);
    if kind.starts_with("video_frame.") {
        let message = Message::decode(entry).expect("decoded before");
        let display = match &message.union {
            Some(hbb_common::session::message::Union::VideoFrame(video)) => video.display,
            _ => -1,
        };
        return json!({ "kind": kind, "display": display, "frames": frames(&message) });
    }
    json!({ "kind": kind, "fields": fields(&dynamic) })
}

fn check(recording: &Recording, definition: &protox::prost_reflect::MessageDescriptor, path: &str) -> usize {
    let rows = recording.sidecar["outline"].as_array().unwrap_or_else(|| panic!("{path} has no outline"));
    assert_eq!(rows.len(), recording.entries.len(), "{path}");
    let mut messages = 0;
    for (nth, (row, entry)) in rows.iter().zip(&recording.entries).enumerate() {
        let direction = if entry.direction == 0 { "c>h" } else { "h>c" };
        assert_eq!(row["i"], nth, "{path}");
        assert_eq!(row["ms"], entry.at_ms, "{path} {nth}");
        assert_eq!(row["dir"], direction, "{path} {nth}");
        assert_eq!(row["size"], entry.bytes.len(), "{path} {nth}");
        if row["kind"] == "(tunnel bytes)" {
            continue;
        }
        let Ok(message) = Message::decode(entry.bytes.clone()) else {
            assert_eq!(row["kind"], "(not a message)", "{path} {nth}");
            continue;
        };
        let ours = outline(definition, &entry.bytes);
        // The generated reader and the one with names agree.
        let again = outline(definition, &message.encode_to_vec());
        assert_eq!(ours, again, "{path} {nth}");
        for (key, value) in ours.as_object().expect("an object") {
            assert_eq!(row[key], *value, "{path} {nth}: {key}");
        }
        messages += 1;
    }
    messages
}

#[test]
fn our_definitions_read_every_recorded_message_as_the_independent_reader_did() {
    let pool = definitions();
    let definition = pool.get_message_by_name("hbb.session.Message").expect("the top-level message");
    let mut messages = 0;
    let mut pending = vec![recordings()];
    while let Some(folder) = pending.pop() {
        for item in std::fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "rdrec") {
                let recording = Recording::read(&path);
                if recording.header["kind"] == "session" {
                    messages += check(&recording, &definition, &path.display().to_string());
                }
            }
        }
    }
    assert!(messages > 3_600, "only {messages} messages");
}
