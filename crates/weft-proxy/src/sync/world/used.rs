//! Which keys this sidecar's app calls, and how far a center has answered them.
//!
//! A center tells only of what is used. A key is asked about at its first call, and given up when nothing it
//! leads to was called for [`IDLE`]. Never in here: what a key leads to (`world.rs`), calls.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use weft_api::saved;
use weft_api::sync;
use weft_model::{Family, Key};

/// A service that was not called this long is no longer told of.
pub(crate) const IDLE: Duration = Duration::from_mins(10);

/// What was told of a service last is kept this long after its last call, for when no center is there.
pub(crate) const STALE_KEPT: Duration = Duration::from_hours(24);

/// Keys used at a time; calls of further ones are not served.
pub(crate) const USED_KEYS_MAX: usize = 16_384;

/// How far a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// No center was asked on the present stream.
    Unsaid,
    /// The Subscribe with this sequence asked.
    Asked { sequence: u64 },
    /// What it leads to is held, and kept up to date while a center is there.
    Answered,
}

#[derive(Clone, Debug)]
struct UsedKey {
    key: Key,
    /// When a caller named it last, in milliseconds since 1970.
    used_at_ms: u64,
    word: Word,
}

/// The keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Used {
    keys: BTreeMap<u64, UsedKey>,
    /// Of the last Subscribe of this stream.
    sequence: u64,
    /// Whether the last Subscribe named just these keys.
    is_said: bool,
    /// Whether [`Used::new_answered`] has told what is answered now.
    is_told: bool,
}

impl Used {
    /// A caller names this key. False when there are too many.
    pub(super) fn name(&mut self, key: Key, unix_ms: u64) -> bool {
        let hash = key.hash64();
        if let Some(known) = self.keys.get_mut(&hash) {
            known.used_at_ms = known.used_at_ms.max(unix_ms);
            return true;
        }
        if self.keys.len() >= USED_KEYS_MAX {
            return false;
        }
        self.insert(key, unix_ms, Word::Unsaid);
        self.is_said = false;
        true
    }

    fn insert(&mut self, key: Key, used_at_ms: u64, word: Word) {
        let used = UsedKey {
            key,
            used_at_ms,
            word,
        };
        self.keys.insert(used.key.hash64(), used);
        self.is_told = false;
    }

    /// Another center, or the same one anew, knows nothing of what was said.
    pub(super) fn unsay(&mut self) {
        self.sequence = 0;
        self.is_said = false;
        for used in self.keys.values_mut() {
            if let Word::Asked { .. } = used.word {
                used.word = Word::Unsaid;
            }
        }
    }

    /// The Subscribe that is due.
    pub(super) fn say(&mut self) -> Option<sync::Subscribe> {
        if self.is_said {
            return None;
        }
        self.is_said = true;
        self.sequence += 1;
        let mut fresh = Vec::new();
        for (hash, used) in &mut self.keys {
            if used.word == Word::Unsaid {
                used.word = Word::Asked {
                    sequence: self.sequence,
                };
            }
            if used.word != Word::Answered {
                fresh.push(*hash);
            }
        }
        Some(sync::Subscribe {
            keys: self.keys.keys().copied().collect(),
            all: false,
            sequence: self.sequence,
            fresh,
        })
    }

    /// A batch answers every Subscribe up to this one. Returns the keys that it answers for the first time.
    pub(super) fn take_answered(&mut self, subscribed: u64) -> Vec<Key> {
        let mut answered = Vec::new();
        for used in self.keys.values_mut() {
            if let Word::Asked { sequence } = used.word
                && sequence <= subscribed
            {
                used.word = Word::Answered;
                answered.push(used.key.clone());
            }
        }
        self.is_told &= answered.is_empty();
        answered
    }

    /// One key stands for another from now on, and is answered like it.
    pub(super) fn replace(&mut self, key: &Key, by: Key) {
        let Some(used) = self.keys.remove(&key.hash64()) else {
            return;
        };
        let used_at_ms = match self.keys.get(&by.hash64()) {
            Some(known) => known.used_at_ms.max(used.used_at_ms),
            None => used.used_at_ms,
        };
        self.insert(by, used_at_ms, Word::Answered);
        self.is_said = false;
    }

    /// Gives up the keys of which `last_use` says that they, and what they lead to, were idle too long. True
    /// when there were any.
    pub(super) fn give_up_idle(&mut self, unix_ms: u64, last_use: impl Fn(&Key) -> u64) -> bool {
        let before = self.keys.len();
        self.keys.retain(|_, used| {
            let last = used.used_at_ms.max(last_use(&used.key));
            unix_ms.saturating_sub(last) < IDLE.as_millis() as u64
        });
        let has_changed = self.keys.len() != before;
        self.is_said &= !has_changed;
        self.is_told &= !has_changed;
        has_changed
    }

    /// Whether the key with this hash is used and answered.
    pub(super) fn is_answered(&self, hash: u64) -> bool {
        let used = self.keys.get(&hash);
        used.is_some_and(|used| used.word == Word::Answered)
    }

    /// The hashes of all that is answered, when that may have changed since this was asked last.
    pub(super) fn new_answered(&mut self) -> Option<HashSet<u64>> {
        if std::mem::replace(&mut self.is_told, true) {
            return None;
        }
        let answered = self.keys.iter();
        let answered = answered.filter(|(_, used)| used.word == Word::Answered);
        Some(answered.map(|(hash, _)| *hash).collect())
    }

    /// For the disk.
    pub(super) fn to_saved(&self) -> Vec<saved::UsedKey> {
        let keys = self.keys.values().map(|used| saved::UsedKey {
            family: used.key.family as u32,
            name: used.key.name.to_string(),
            namespace: used.key.namespace.to_string(),
            used_at_ms: used.used_at_ms,
            held: used.word == Word::Answered,
        });
        keys.collect()
    }

    /// From the disk; a family of a later version is passed over.
    pub(super) fn of_saved(saved: &[saved::UsedKey]) -> Self {
        let mut used = Self::default();
        for key in saved.iter().take(USED_KEYS_MAX) {
            let (name, namespace) = (key.name.as_str(), key.namespace.as_str());
            let family = [Family::Host, Family::Address, Family::Rpc]
                .into_iter()
                .find(|family| *family as u32 == key.family);
            let word = if key.held {
                Word::Answered
            } else {
                Word::Unsaid
            };
            if let Some(family) = family {
                used.insert(Key::bare(family, name, namespace), key.used_at_ms, word);
            }
        }
        used
    }
}
