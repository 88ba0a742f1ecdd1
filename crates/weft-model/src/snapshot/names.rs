//! The hashes of all keys that are services: a large set, of which copies share what is equal. Sorted, for a hash
//! of a hash would only take room.

use std::sync::Arc;

/// Parts of the set: a change copies one of them.
const SHARDS: usize = 64;

/// Hashes for which a full part makes room: doubling would leave half of each part empty.
const GROWTH: usize = 16;

/// A set of key hashes.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// None before the first. Shared as a whole by copies between which nothing changed.
    shards: Arc<Vec<Arc<Vec<u64>>>>,
    length: usize,
}

impl Names {
    /// Whether the key with this hash is one.
    pub fn contains(&self, hash: u64) -> bool {
        let shard = self.shards.get(shard_of(hash));
        shard.is_some_and(|shard| shard.binary_search(&hash).is_ok())
    }

    /// Hashes in the set.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// All hashes, in no order.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.shards.iter().flat_map(|shard| shard.iter().copied())
    }

    /// Adds one.
    pub fn insert(&mut self, hash: u64) {
        if self.contains(hash) {
            return;
        }
        if self.shards.is_empty() {
            self.shards = Arc::new(vec![Arc::default(); SHARDS]);
        }
        if let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(shard_of(hash)) {
            let shard = Arc::make_mut(shard);
            let at = shard.partition_point(|known| *known < hash);
            if shard.len() == shard.capacity() {
                shard.reserve_exact(GROWTH);
            }
            shard.insert(at, hash);
            self.length += 1;
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, hash: u64) {
        if !self.contains(hash) {
            return;
        }
        if let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(shard_of(hash)) {
            Arc::make_mut(shard).retain(|known| *known != hash);
            self.length -= 1;
        }
    }
}

impl FromIterator<u64> for Names {
    fn from_iter<I: IntoIterator<Item = u64>>(hashes: I) -> Self {
        // Each part is sorted once: one by one, a large set would be moved about for each hash.
        let mut shards = vec![Vec::new(); SHARDS];
        for hash in hashes {
            if let Some(shard) = shards.get_mut(shard_of(hash)) {
                shard.push(hash);
            }
        }
        let mut length = 0;
        let shards = shards.into_iter().map(|mut shard| {
            shard.sort_unstable();
            shard.dedup();
            shard.shrink_to_fit();
            length += shard.len();
            Arc::new(shard)
        });
        let shards = Arc::new(shards.collect());
        if length == 0 {
            return Self::default();
        }
        Self { shards, length }
    }
}

/// The low bits of a key's hash are not mixed by its high ones: both are taken.
fn shard_of(hash: u64) -> usize {
    ((hash ^ (hash >> 32)) % SHARDS as u64) as usize
}

#[cfg(test)]
mod tests;
