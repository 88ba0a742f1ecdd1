//! What a center says, what a sidecar saved, what people write.

use prost::Message as _;
use weft_api::kinds::document;
use weft_api::saved;
use weft_api::sync::arriving::{Heard, InstanceReader, read_message};
use weft_api::sync::{FromCenter, Instance, instance_from_wire, instance_to_wire};
use weft_model::PortSpec;

/// The reader that leaves instances as bytes against the generated one.
pub(crate) fn sync_message(bytes: &[u8]) {
    let Ok(heard) = read_message(bytes) else {
        return;
    };
    let Heard::Delta(delta) = heard else {
        return;
    };
    let mut reader = InstanceReader::default();
    let mut read = 0;
    for instance in delta.upserted() {
        read += 1;
        // A wrong one is refused by name.
        let _ = reader.read(instance, || "upserted".to_owned());
    }
    assert_eq!(read, delta.count());
    let Ok(whole) = FromCenter::decode(bytes) else {
        return;
    };
    assert!(whole.kind.is_some());
}

/// An instance by the reader that remembers against the one that does not, twice, so that it remembers.
pub(crate) fn sync_instance(bytes: &[u8]) {
    let mut reader = InstanceReader::default();
    let plain = Instance::decode(bytes)
        .ok()
        .and_then(|wire| instance_from_wire(&wire, "i").ok());
    for _ in 0..2 {
        let read = reader.read(bytes, || "i".to_owned()).ok();
        assert_eq!(
            read, plain,
            "the reader that remembers reads another instance"
        );
    }
    if let Some(instance) = plain {
        let again = instance_from_wire(&instance_to_wire(&instance), "i");
        assert_eq!(again.ok(), Some(instance));
    }
}

pub(crate) fn saved(bytes: &[u8]) {
    // As a file, and as the content of one whose checksum is right.
    let _ = saved::decode(bytes);
    let Ok(content) = saved::Saved::decode(bytes) else {
        return;
    };
    let file = saved::encode(&content);
    assert_eq!(saved::decode(&file).ok(), Some(content));
    let at = file.len() / 2;
    let mut harmed = file;
    if let Some(byte) = harmed.get_mut(at) {
        *byte ^= 1;
        assert!(
            saved::decode(&harmed).is_err(),
            "a flipped bit was not seen"
        );
    }
}

pub(crate) fn kinds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(documents) = document::read(text) else {
        return;
    };
    for document in documents {
        let _ = weft_api::kinds::Object::from_json(&document.value, "default");
    }
}

pub(crate) fn port_argument(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(spec) = text.parse::<PortSpec>() else {
        return;
    };
    let again: Result<PortSpec, _> = spec.to_string().parse();
    assert_eq!(again.ok(), Some(spec));
}
