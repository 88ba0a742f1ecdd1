//! From a set of wishes to what is declared: planned, made durable, and only then taken, and what it means told to
//! the catalog.
//!
//! One set at a time: the next is planned on what the last became. Never in here: HTTP, the shapes of answers.

use crate::declared::compiled::{self, Compiled};
use crate::declared::plan::{Finding, Occasion, Outcome, Wish};
use crate::store::StoreError;
use crate::{Center, clock};
use weft_api::sync::Version;

/// Why a set was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// All that is wrong with it.
    Faults(Vec<Finding>),
    /// It could not be made durable.
    Store(StoreError),
}

/// What became of a set, or would become of it.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) version: Version,
}

impl Center {
    /// Does all of it or nothing; with `dry_run` nothing, but says what it would do.
    pub(crate) async fn intake(
        &self,
        wishes: Vec<Wish>,
        author: &str,
        dry_run: bool,
    ) -> Result<Taken, Refused> {
        let _turn = self.turn.lock().await;
        let (plan, version) = {
            let mut catalog = self.catalog();
            let present = catalog.version();
            let mut version = Version {
                revision: present.revision + 1,
                ..present
            };
            let when = Occasion {
                author,
                at_ms: clock::unix_millis(),
                version,
            };
            let plan = self
                .declared()
                .plan(wishes, when)
                .map_err(Refused::Faults)?;
            if dry_run || plan.is_empty() {
                return Ok(Taken {
                    outcomes: plan.outcomes,
                    version: present,
                });
            }
            // What is durable at a revision is all that came before it.
            self.save(&mut catalog);
            for _ in 0..plan.revisions() {
                version.revision = catalog.claim_revision();
            }
            (plan, version)
        };
        let committed = self.writer.now(plan.changes(), version.revision).await;
        committed.map_err(Refused::Store)?;
        let outcomes = plan.outcomes.clone();
        self.declared().take(plan);
        self.compile(&outcomes);
        self.watchers.changed();
        Ok(Taken { outcomes, version })
    }

    /// Makes what was taken true of the mesh: only what these outcomes touch changes.
    fn compile(&self, outcomes: &[Outcome]) {
        let now = clock::now();
        let mut declared = self.declared();
        let mut catalog = self.catalog();
        let mut policies_changed = false;
        for outcome in outcomes.iter().filter(|outcome| outcome.deed.is_some()) {
            let before = outcome.before.as_ref().map(compiled::of);
            let after = outcome.after.as_ref().map(compiled::of);
            let stays = |before: &Compiled| after.as_ref().is_some_and(|a| a.replaces(before));
            let undone = before.filter(|before| !stays(before));
            for means in undone.map(Compiled::undone).into_iter().chain(after) {
                match means {
                    Compiled::Instance(record) => catalog.declare_instance(*record, now),
                    Compiled::NoInstance(service, id) => {
                        catalog.undeclare_instance(&service, &id, now);
                    }
                    Compiled::Service(name, ports) => {
                        catalog.declare_service(&name, ports, now);
                        policies_changed = true;
                    }
                    Compiled::Policy => policies_changed = true,
                    Compiled::Nothing => {}
                }
            }
        }
        if policies_changed {
            let sidecars = catalog.sidecars();
            let own: Vec<_> = sidecars
                .map(|(stream, sidecar)| (stream, declared.own_policy(&sidecar.service)))
                .collect();
            for (stream, policy) in own {
                catalog.tell_policy(stream, policy);
            }
        }
        if let Some(given_way) = catalog.take_overridden() {
            declared.gave_way(given_way);
        }
        self.changed.notify_one();
    }
}
