//! The app `stock`: Motan2, interface `stock`, method `count`: how many of an item are there.

use crate::app::{self, StartError};
use crate::motan::{self, Frame};
use crate::simple;

/// The interface that is served.
const INTERFACE: &str = "stock";

/// Serves on this port of loopback until the process ends.
pub fn run(port: u16) -> Result<(), StartError> {
    app::block_on(motan::serve(port, |frame| async move { answer(&frame) }))
}

fn answer(frame: &Frame) -> Frame {
    let interface = frame.value("M_p").unwrap_or_default();
    if interface != INTERFACE {
        let group = frame.value("M_g").unwrap_or_default();
        let text = format!("provider not exist serviceKey={group}_{interface}");
        return frame.exception(404, &text, 1);
    }
    match frame.value("M_m") {
        Some("count") => match simple::read_string(&frame.body) {
            Some(item) => {
                let mut body = Vec::new();
                simple::write_int64(count(item), &mut body);
                let mut reply = frame.reply(body);
                reply.header.serialize = simple::SERIALIZE;
                reply
            }
            None => frame.exception(500, "count takes one string", 1),
        },
        other => {
            let text = format!(
                "method {} is not found in {INTERFACE}",
                other.unwrap_or("(none)")
            );
            frame.exception(500, &text, 1)
        }
    }
}

/// A number between 1 and 100 that is always the same for an item.
pub(crate) fn count(item: &str) -> i64 {
    let sum = item.bytes().fold(7u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    i64::from(sum % 100) + 1
}
