//! The messages of a sidecar, one after the other, from the body of its request.

use super::{End, GrpcStatus};
use axum::body::Body;
use http_body_util::BodyExt as _;
use weft_api::grpc;
use weft_api::sync::{self, from_sidecar};

/// Bytes of one message of a sidecar.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// The messages of a request's body.
pub(super) struct Incoming {
    body: Body,
    decoder: grpc::Decoder,
}

impl Incoming {
    pub(super) fn new(body: Body) -> Self {
        Self {
            body,
            decoder: grpc::Decoder::new(MESSAGE_BYTES_MAX),
        }
    }

    /// The next message of a known kind; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<from_sidecar::Kind>, End> {
        loop {
            let message = self.decoder.next::<sync::FromSidecar>();
            let message =
                message.map_err(|why| End::with(GrpcStatus::InvalidArgument, why.to_string()))?;
            match message {
                // A kind of a later version is nothing to this center.
                Some(sync::FromSidecar { kind: None }) => continue,
                Some(sync::FromSidecar { kind: Some(kind) }) => return Ok(Some(kind)),
                None => {}
            }
            match self.body.frame().await {
                None | Some(Err(_)) => return Ok(None),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.decoder.push(data);
                    }
                }
            }
        }
    }
}
