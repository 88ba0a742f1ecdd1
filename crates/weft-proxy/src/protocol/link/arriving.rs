//! What arrives on a link: frames, each to its call. Never in here: where the bytes come from.

use crate::buffer::Chunk;
use crate::call::ReplyHead;
use crate::protocol::link::pulse::Word;
use crate::protocol::link::slot::{Event, Slot, wake};
use crate::protocol::link::wire::Core;
use std::rc::Rc;
use weft_codec::Fields;
use weft_codec::link::{self as codec, Frame, Health, HealthState, ResetReason, Step};
use weft_model::{Code, Failure, instance as model};

impl Core {
    /// Takes all whole frames at the beginning of `bytes`: how many bytes they were.
    pub(super) fn take_frames(
        &self,
        bytes: &[u8],
        open: &mut impl FnMut(&codec::Open<'_>, Fields) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let mut consumed = 0;
        let mut fields = self.ctx.fields();
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            match codec::decode(rest, &mut fields) {
                Err(refusal) => return Err(Failure::with(Code::LinkMalformed, refusal.0)),
                Ok(Step::Need) => break,
                Ok(Step::Frame(frame, count)) => {
                    consumed += count;
                    if let Frame::Open(call) = &frame {
                        open(call, std::mem::replace(&mut fields, self.ctx.fields()))?;
                    } else {
                        self.take_frame(frame, &mut fields)?;
                    }
                }
            }
        }
        self.ctx.recycle(fields);
        Ok(consumed)
    }

    fn take_frame(&self, frame: Frame<'_>, fields: &mut Fields) -> Result<(), Failure> {
        match frame {
            Frame::Hello(hello) => self.take_hello(&hello),
            Frame::Data(id, bytes, end) => {
                if let Some(slot) = self.slot(id) {
                    slot.receive(bytes.len())?;
                    slot.push_data(bytes);
                    if end {
                        slot.ended.set(true);
                        slot.push(Event::End(None));
                    }
                }
            }
            Frame::Reply(reply) => {
                if let Some(slot) = self.slot(reply.call_id) {
                    slot.receive(reply.body.len())?;
                    let mut head = ReplyHead {
                        fields: std::mem::replace(fields, self.ctx.fields()),
                        status: u16::try_from(reply.status).unwrap_or(502),
                        app_error: reply.status >= 500,
                        ..ReplyHead::default()
                    };
                    head.opaque = head.fields.store(reply.opaque);
                    if reply.informational {
                        slot.push(Event::Interim(head));
                    } else {
                        slot.ended.set(reply.end);
                        let body = (!reply.body.is_empty()).then(|| Chunk::copy_of(reply.body));
                        slot.push(Event::Reply {
                            head,
                            body,
                            end: reply.end,
                        });
                    }
                }
            }
            Frame::Trailers(id) => {
                if let Some(slot) = self.slot(id) {
                    slot.ended.set(true);
                    slot.push(Event::End(Some(std::mem::replace(
                        fields,
                        self.ctx.fields(),
                    ))));
                }
            }
            Frame::Reset(reset) => self.take_reset(&reset),
            Frame::Credit(id, bytes) => {
                if let Some(slot) = self.slot(id) {
                    slot.credit.set(slot.credit.get().saturating_add(bytes));
                    wake(&slot.sender);
                }
            }
            Frame::Goaway(last, _) => {
                self.leaving.set(true);
                self.refuse_above(last);
            }
            Frame::Health(health) => self.take_health(&health),
            // Of a later version; Open has been taken before.
            Frame::Unknown | Frame::Open(_) => {}
        }
        Ok(())
    }

    fn slot(&self, id: u64) -> Option<Rc<Slot>> {
        self.slots.borrow().get(&id).cloned()
    }

    fn take_health(&self, health: &Health<'_>) {
        let state = match health.state {
            HealthState::Unknown => return,
            HealthState::Ready => model::HealthState::Ready,
            HealthState::Warming => model::HealthState::Warming,
            HealthState::Overloaded => model::HealthState::Overloaded,
            HealthState::Draining => model::HealthState::Draining,
            HealthState::AppDead => model::HealthState::AppDead,
        };
        self.pulse.told(Word {
            incarnation: health.incarnation,
            sequence: health.sequence,
            state,
            share: health.weight,
        });
    }

    fn take_reset(&self, reset: &codec::Reset<'_>) {
        let Some(slot) = self.slot(reset.call_id) else {
            return;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let named = Code::from_text(&text(reset.code));
        let code = match reset.reason {
            ResetReason::NotDispatched => named.unwrap_or(Code::NotDispatched),
            ResetReason::Cancelled => Code::Cancelled,
            ResetReason::Failed | ResetReason::PeerReset | ResetReason::Unknown => named
                .filter(|code| !code.proves_not_dispatched())
                .unwrap_or(Code::LinkLost),
        };
        let is_peer = self
            .peer
            .borrow()
            .as_ref()
            .is_some_and(|peer| peer.instance.as_bytes() == reset.instance);
        let incarnation = (code == Code::WrongInstance && is_peer).then_some(reset.incarnation);
        if let Some(incarnation) = incarnation {
            self.peer_incarnation.set(incarnation);
        }
        slot.push(Event::Reset {
            failure: Failure::with(code, text(reset.detail)),
            incarnation,
        });
        wake(&slot.sender);
    }

    /// Calls above `last` were not dispatched.
    fn refuse_above(&self, last: u64) {
        let slots = self.slots.borrow();
        for slot in slots
            .iter()
            .filter(|(id, _)| **id > last)
            .map(|(_, slot)| slot)
        {
            let failure = Failure::with(Code::NotDispatched, "the peer is leaving");
            slot.push(Event::Reset {
                failure,
                incarnation: None,
            });
            wake(&slot.sender);
        }
    }
}
