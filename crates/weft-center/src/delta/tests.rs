//! Messages as bytes: how large deltas are cut, and what is joined.

use super::*;
use weft_api::sync::Instance;

fn decoded(frames: &[Bytes]) -> Vec<from_center::Kind> {
    let mut decoder = grpc::Decoder::new(grpc::MESSAGE_BYTES_MAX);
    let mut kinds = Vec::new();
    for frame in frames {
        decoder.push(frame);
        while let Some(message) = decoder.next::<sync::FromCenter>().unwrap() {
            kinds.push(message.kind.unwrap());
        }
    }
    assert_eq!(decoder.pending(), 0);
    kinds
}

fn deltas(frames: &[Bytes]) -> Vec<sync::Delta> {
    let kinds = decoded(frames).into_iter();
    kinds
        .map(|kind| match kind {
            from_center::Kind::Delta(delta) => delta,
            other => panic!("{other:?} is no delta"),
        })
        .collect()
}

#[test]
fn a_large_delta_is_cut_into_pieces_of_which_only_the_first_replaces() {
    let big = "x".repeat(300 * 1024);
    let ids: Vec<String> = (0..7).map(|number| number.to_string()).collect();
    let instances: Vec<Bytes> = ids
        .iter()
        .map(|id| {
            let instance = Instance {
                id: id.clone(),
                zone: big.clone(),
                ..Instance::default()
            };
            frame::instance_bytes(&instance).into()
        })
        .collect();
    let head = sync::Delta {
        service: "orders".into(),
        full: true,
        removed: vec!["gone".into()],
        ..sync::Delta::default()
    };
    let cut = frames(head, instances.iter().collect());
    assert!(
        cut.iter()
            .all(|piece| piece.len() <= DELTA_BYTES_MAX + 1024)
    );
    let pieces = deltas(&cut);
    let lengths: Vec<_> = pieces.iter().map(|piece| piece.upserted.len()).collect();
    assert_eq!(lengths, [3, 3, 1]);
    assert!(pieces.iter().all(|piece| piece.service == "orders"));
    let full: Vec<_> = pieces.iter().map(|piece| piece.full).collect();
    assert_eq!(full, [true, false, false]);
    let removed: Vec<_> = pieces.iter().map(|piece| piece.removed.len()).collect();
    assert_eq!(removed, [1, 0, 0]);
    let kept = pieces
        .iter()
        .flat_map(|piece| &piece.upserted)
        .map(|i| &i.id);
    assert!(kept.eq(&ids));
}

#[test]
fn an_empty_delta_stays_one_piece() {
    let head = sync::Delta {
        full: true,
        ..sync::Delta::default()
    };
    assert_eq!(deltas(&frames(head.clone(), Vec::new())), [head]);
}

#[test]
fn small_messages_leave_together_and_large_ones_are_not_copied() {
    let names = |count: u64| {
        encoded(from_center::Kind::Names(sync::NameSet {
            added: (0..count).collect(),
            ..sync::NameSet::default()
        }))
    };
    let large = names(10_000);
    for messages in [
        vec![],
        vec![names(1)],
        vec![names(1), names(2), names(3)],
        vec![names(1), large.clone(), names(2), names(3)],
        vec![large.clone(), large.clone()],
        (0..100).map(|_| names(100)).collect(),
    ] {
        let expect = decoded(&messages);
        let joined = joined(messages);
        assert_eq!(decoded(&joined), expect);
        for piece in &joined {
            assert!(piece.len() <= JOINED_BYTES_MAX || piece.as_ptr() == large.as_ptr());
        }
    }
    assert_eq!(joined(vec![names(1), names(2), large, names(3)]).len(), 3);
}
