//! Who may ask the center: a web page never, a person on this machine always, anybody else with the token.
//!
//! A browser on this machine can be made to send requests to a loopback port. It gives itself away by an
//! `Origin`, or by a `Host` that is a name somebody else resolves to this address.

use crate::Center;
use crate::reply::refusal;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri, header};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The peer of the connection on which a request came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What the caller showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Absent,
    Wrong,
    Right,
}

/// Refuses web pages, for every path.
pub(crate) async fn refuse_web_pages(request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        let message = "this API does not answer web pages: the request has an Origin header; \
                       use weft, curl or another program that sends none";
        return refusal(StatusCode::FORBIDDEN, "Forbidden", message);
    }
    next.run(request).await
}

/// Lets readers through: on this machine under a name of this machine, else with the token.
pub(crate) async fn readers(
    State(center): State<Arc<Center>>,
    request: Request,
    next: Next,
) -> Response {
    let token = shown_token(request.headers(), center.token.as_deref());
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let host = host_of(request.uri(), request.headers());
    match (token, peer) {
        (Token::Right, _) => next.run(request).await,
        (Token::Wrong, _) => {
            let message = "the token is not this center's; take the one from the token file \
                           that the center's runtime file names (center.json, token_file)";
            refusal(StatusCode::UNAUTHORIZED, "Unauthorized", message)
        }
        (Token::Absent, Some(peer)) if peer.to_canonical().is_loopback() => {
            if host
                .as_deref()
                .is_some_and(|host| is_own_host(host, center.address.ip()))
            {
                return next.run(request).await;
            }
            let found = host.as_deref().unwrap_or("nothing");
            let message = format!(
                "this API answers only under a name of this machine: Host says \"{found}\"; \
                 ask for localhost, 127.0.0.1 or [::1], or send the center's token"
            );
            refusal(StatusCode::FORBIDDEN, "Forbidden", &message)
        }
        (Token::Absent, _) => {
            let message = "callers from other machines need the center's token: \
                           send \"Authorization: Bearer <token>\"";
            refusal(StatusCode::UNAUTHORIZED, "Unauthorized", message)
        }
    }
}

/// Refuses whoever wants to change something without the token, also on this machine: other users may be on it.
pub(crate) fn refuse_writer(center: &Center, headers: &HeaderMap) -> Option<Response> {
    if shown_token(headers, center.token.as_deref()) == Token::Right {
        return None;
    }
    let message = "changes need the center's token, also on this machine: send \"Authorization: Bearer <token>\" \
                   with what stands in the file that center.json names (token_file)";
    Some(refusal(StatusCode::UNAUTHORIZED, "Unauthorized", message))
}

fn shown_token(headers: &HeaderMap, own: Option<&str>) -> Token {
    let Some(shown) = headers.get(header::AUTHORIZATION) else {
        return Token::Absent;
    };
    let shown = shown.as_bytes().strip_prefix(b"Bearer ");
    match (shown, own) {
        (Some(shown), Some(own)) if same_bytes(shown, own.as_bytes()) => Token::Right,
        _ => Token::Wrong,
    }
}

/// Takes as long for any wrong token of the right length, so that it cannot be found byte by byte.
fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    let differing = left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b));
    left.len() == right.len() && differing == 0
}

/// The host a request names, without its port and brackets.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let named = match uri.authority() {
        Some(authority) => authority.as_str().to_owned(),
        None => headers.get(header::HOST)?.to_str().ok()?.to_owned(),
    };
    let authority: http::uri::Authority = named.parse().ok()?;
    let host = authority.host();
    Some(
        host.trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned(),
    )
}

/// A loopback name or address, the address bound, or, when all are bound, any address: only names can be
/// made to lead here by somebody else.
fn is_own_host(host: &str, bound: IpAddr) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            address.is_loopback() || address == bound || bound.is_unspecified()
        }
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}
