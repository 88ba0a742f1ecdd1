//! Whoever follows changes sees each once and in order, over every break of the connection.

use super::*;
use crate::declared::ObjectKey;
use crate::declared::plan::{Occasion, Wish};
use crate::declared::recent::RECENT_MAX;
use std::collections::BTreeMap;
use weft_api::kinds::{API_VERSION, Object};

const EPOCH: u64 = 7;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

/// What is declared, and the changes of services in order as (version, word, name).
struct Writer {
    declared: Declared,
    revision: u64,
    changes: Vec<(String, String, String)>,
}

impl Writer {
    fn new() -> Self {
        let mut declared = Declared::default();
        declared.starts_at(Version {
            epoch: EPOCH,
            revision: 3,
        });
        Self {
            declared,
            revision: 3,
            changes: Vec::new(),
        }
    }

    fn given(&self) -> Version {
        Version {
            epoch: EPOCH,
            revision: self.revision,
        }
    }

    fn write(&mut self, wishes: Vec<Wish>) {
        // Others take revisions too: instances come and go.
        self.revision += 1;
        let version = Version {
            epoch: EPOCH,
            revision: self.revision + 1,
        };
        let when = Occasion {
            author: "test",
            at_ms: 1,
            version,
        };
        let Ok(plan) = self.declared.plan(wishes, when) else {
            return;
        };
        let mut revision = self.revision;
        for outcome in plan
            .outcomes
            .iter()
            .filter(|outcome| outcome.deed.is_some())
        {
            revision += 1;
            if let (Kind::MeshService, Some(deed)) = (outcome.key.kind, outcome.deed) {
                let name = outcome.key.name.clone();
                let change = (format!("{EPOCH}.{revision}"), word(deed).to_owned(), name);
                self.changes.push(change);
            }
        }
        self.revision += plan.revisions();
        assert_eq!(self.revision, revision);
        self.declared.take(plan);
    }

    fn some(&mut self, random: &mut Random) {
        let wishes = (0..=random.below(4)).map(|_| {
            let kind = [Kind::MeshService, Kind::Mesh][random.below(2) as usize];
            let name = match kind {
                Kind::Mesh => "default".to_owned(),
                _ => format!("s{}", random.below(6)),
            };
            if random.below(4) == 0 {
                return Wish::Delete(ObjectKey::new(kind, "default", &name), None);
            }
            let spec = match kind {
                Kind::Mesh => json!({}),
                _ => json!({ "ports": [{ "port": 1 + random.below(9) }] }),
            };
            let value = json!({
                "apiVersion": API_VERSION, "kind": kind.name(),
                "metadata": { "name": name, "labels": { "n": random.below(9).to_string() } },
                "spec": spec,
            });
            Wish::Put(Box::new(Object::from_json(&value, "default").unwrap()))
        });
        let wishes = wishes.collect();
        self.write(wishes);
    }

    fn listed(&self) -> BTreeMap<String, Value> {
        let objects = self.declared.objects(Kind::MeshService, "default");
        objects
            .map(|stored| (stored.key.name.clone(), stored.spec.clone()))
            .collect()
    }
}

fn cursor(from: Option<&str>) -> Cursor {
    Cursor {
        kind: Kind::MeshService,
        namespace: "default".to_owned(),
        position: Position::At(from.map(|from| version(from).unwrap())),
    }
}

/// Somebody who lists, follows, loses the connection and follows on.
struct Follower {
    cursor: Cursor,
    held: String,
    objects: BTreeMap<String, Value>,
    seen: Vec<(String, String, String)>,
    /// How many changes were before the last list.
    skipped: usize,
    relisted: u32,
}

impl Follower {
    fn list(writer: &Writer) -> Self {
        let held = resource_version(writer.declared.recent().version());
        Self {
            cursor: cursor(Some(&held)),
            held,
            objects: writer.listed(),
            seen: Vec::new(),
            skipped: writer.changes.len(),
            relisted: 0,
        }
    }

    /// Reads what there is; of the last piece maybe only a part arrives.
    fn read(&mut self, writer: &Writer, random: &mut Random) {
        let piece = self.cursor.lines(&writer.declared, writer.given());
        let breaks = random.below(4) == 0;
        let whole = piece.lines().count() as u64;
        let arrived = if breaks {
            random.below(whole + 1)
        } else {
            whole
        };
        for line in piece.lines().take(arrived as usize) {
            let value: Value = serde_json::from_str(line).unwrap();
            let (word, object) = (value["type"].as_str().unwrap(), &value["object"]);
            if word == "ERROR" {
                assert_eq!(object["code"], 410);
                let relisted = self.relisted + 1;
                *self = Self {
                    relisted,
                    ..Self::list(writer)
                };
                return;
            }
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            self.held = text(&object["metadata"]["resourceVersion"]);
            let name = text(&object["metadata"]["name"]);
            if word == "DELETED" {
                assert!(self.objects.remove(&name).is_some());
            } else {
                let before = self.objects.insert(name.clone(), object["spec"].clone());
                assert_eq!(before.is_none(), word == "ADDED");
            }
            self.seen.push((self.held.clone(), word.to_owned(), name));
        }
        if breaks {
            self.cursor = cursor(Some(&self.held));
        }
    }

    fn catch_up(&mut self, writer: &Writer) {
        let mut steady = Random(1);
        for _ in 0..1_000 {
            if self.seen.len() + self.skipped == writer.changes.len() {
                break;
            }
            self.read(writer, &mut steady);
        }
        assert_eq!(self.objects, writer.listed());
        assert_eq!(self.seen, writer.changes[self.skipped..]);
    }
}

#[test]
fn every_change_is_seen_once_and_in_order_over_every_break() {
    for seed in 0..100 {
        let mut random = Random(seed);
        let mut writer = Writer::new();
        let mut followers = Vec::new();
        for _ in 0..120 {
            writer.some(&mut random);
            if followers.is_empty() || random.below(20) == 0 {
                followers.push(Follower::list(&writer));
            }
            let at = random.below(followers.len() as u64) as usize;
            followers[at].read(&writer, &mut random);
        }
        for follower in &mut followers {
            follower.catch_up(&writer);
            assert_eq!(follower.relisted, 0, "seed {seed}: nothing was forgotten");
        }
    }
}

#[test]
fn who_falls_behind_what_is_remembered_is_told_and_lists_anew() {
    let mut random = Random(5);
    let mut writer = Writer::new();
    let mut follower = Follower::list(&writer);
    while writer.changes.len() <= 2 * RECENT_MAX {
        writer.some(&mut random);
    }
    follower.read(&writer, &mut Random(1));
    follower.catch_up(&writer);
    assert_eq!(follower.relisted, 1);
}

#[test]
fn a_version_of_another_epoch_or_of_the_future_is_told_to_list_anew() {
    let writer = Writer::new();
    for from in ["6.3", "8.3", "7.2", "7.4"] {
        let mut cursor = cursor(Some(from));
        let lines = cursor.lines(&writer.declared, writer.given());
        assert!(lines.contains("\"code\":410"), "{from}: {lines}");
        assert_eq!(cursor.position, Position::Lost);
    }
    let lines = cursor(Some("7.3")).lines(&writer.declared, writer.given());
    assert_eq!(lines, "");
}

#[test]
fn without_a_version_all_objects_come_first_and_then_the_version_to_go_on_from() {
    let mut writer = Writer::new();
    let mut random = Random(3);
    while writer.listed().len() < 3 {
        writer.some(&mut random);
    }
    let mut cursor = cursor(None);
    let lines = cursor.lines(&writer.declared, writer.given());
    let words: Vec<_> = lines
        .lines()
        .map(|line| line.contains("\"ADDED\""))
        .collect();
    assert_eq!(
        words,
        [vec![true; writer.listed().len()], vec![false]].concat()
    );
    let version = resource_version(writer.declared.recent().version());
    assert!(lines.ends_with("\"type\":\"BOOKMARK\"}\n") && lines.contains(&version));
}
