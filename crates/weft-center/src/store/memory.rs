//! Stores without a file: of a center that may forget, and of a simulated one.
//!
//! Never in here: files.

use super::{Change, Rows, Store, StoreError};
use std::sync::{Arc, Mutex, PoisonError};

/// Takes every commit and keeps none: what the center needs while it runs, it holds itself.
#[derive(Debug, Default)]
pub(crate) struct Forgetful;

impl Store for Forgetful {
    fn rows(&mut self) -> Result<Rows, StoreError> {
        Ok(Rows::new())
    }

    fn commit(&mut self, _: &[Change]) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Rows that outlive the center that has them, in the same process: each commit is whole.
#[derive(Debug)]
pub(crate) struct SharedRows(pub(crate) Arc<Mutex<Rows>>);

impl Store for SharedRows {
    fn rows(&mut self) -> Result<Rows, StoreError> {
        Ok(self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let key = (change.table, change.key.clone());
            match &change.value {
                Some(value) => rows.insert(key, value.clone()),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }
}
