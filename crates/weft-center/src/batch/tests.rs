//! Batches: how they are cut, and when one serves many.

use super::*;

#[test]
fn a_large_delta_is_cut_into_pieces_of_which_only_the_first_replaces() {
    let big = "x".repeat(300 * 1024);
    let instance = |id: &str| sync::Instance {
        id: id.into(),
        zone: big.clone(),
        ..sync::Instance::default()
    };
    let ids: Vec<String> = (0..7).map(|number| number.to_string()).collect();
    let delta = sync::Delta {
        service: "orders".into(),
        full: true,
        upserted: ids.iter().map(|id| instance(id)).collect(),
        removed: vec!["gone".into()],
        ..sync::Delta::default()
    };
    let pieces = split(delta);
    assert_eq!(
        pieces
            .iter()
            .map(|piece| piece.upserted.len())
            .collect::<Vec<_>>(),
        [3, 3, 1]
    );
    for piece in &pieces {
        let message = encoded(from_center::Kind::Delta(piece.clone()));
        assert!(message.len() <= DELTA_BYTES_MAX + 1024);
    }
    assert!(pieces.iter().all(|piece| piece.service == "orders"));
    assert_eq!(
        pieces.iter().map(|piece| piece.full).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert_eq!(pieces[0].removed, ["gone"]);
    let kept: Vec<_> = pieces
        .iter()
        .flat_map(|piece| &piece.upserted)
        .map(|i| &i.id)
        .collect();
    assert_eq!(kept, ids.iter().collect::<Vec<_>>());
}

#[test]
fn an_empty_delta_stays_one_piece() {
    let delta = sync::Delta {
        full: true,
        ..sync::Delta::default()
    };
    assert_eq!(split(delta.clone()), [delta]);
}

#[test]
fn a_batch_is_encoded_once_for_all_who_hold_the_same() {
    let mut batches = Batches::default();
    let first = batches.since(Some(3), 4, Changes::default);
    let again = batches.since(Some(3), 4, || panic!("it is kept"));
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!((first.revision, first.messages.len()), (4, 1));
    let later = batches.since(Some(3), 5, Changes::default);
    assert!(!Arc::ptr_eq(&first, &later), "there is a newer revision");
}

#[test]
fn few_batches_are_kept() {
    let mut batches = Batches::default();
    for held in 0..100 {
        batches.since(Some(held), 200, Changes::default);
        assert!(batches.kept.len() <= BATCHES_KEPT_MAX);
    }
}
