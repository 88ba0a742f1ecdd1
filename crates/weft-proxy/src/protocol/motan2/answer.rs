//! How a failure of the mesh is told to a Motan2 caller: an exception frame whose `M_e` holds the code of
//! Motan that fits best and the sentence, which names the failure's own code.

use weft_codec::Fields;
use weft_codec::motan2::{self, Header};
use weft_model::{Blame, Code, Failure};

/// The serialize byte of exceptions that an agent makes itself, as motan-go does.
const SERIALIZE_NONE: u8 = 0;

/// `errtype`: the framework failed.
const TYPE_FRAMEWORK: u8 = 0;

/// `errtype`: the called service failed, or is not there.
const TYPE_SERVICE: u8 = 1;

/// Appends the whole frame. `group` and `service` are what the caller asked for.
pub(crate) fn write_exception(
    failure: &Failure,
    request_id: u64,
    group: &[u8],
    service: &[u8],
    out: &mut Vec<u8>,
) {
    let errmsg = if failure.code == Code::NoService {
        // Clients test for this beginning.
        format!(
            "provider not exist serviceKey={}_{}: {failure}",
            String::from_utf8_lossy(group),
            String::from_utf8_lossy(service)
        )
    } else {
        failure.to_string()
    };
    let errtype = match failure.code.blame() {
        Blame::Upstream => TYPE_SERVICE,
        _ if failure.code == Code::NoService => TYPE_SERVICE,
        Blame::Caller | Blame::Policy | Blame::Mesh | Blame::Bug => TYPE_FRAMEWORK,
    };
    let json = motan2::exception_json(failure.code.motan_errcode(), &errmsg, errtype);
    let mut metadata = Fields::new();
    metadata.push(b"M_e", json.as_bytes());
    let header = Header {
        response: true,
        proxy: true,
        exception: true,
        serialize: SERIALIZE_NONE,
        request_id,
        ..Header::default()
    };
    motan2::write_head(header, &metadata, 0, out);
}
