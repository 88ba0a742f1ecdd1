//! Questions and changes to the center, and what its refusals become.
//!
//! Never in here: how an answer is shown.

use crate::center_address;
use crate::failure::Failure;
use crate::http_client;
use crate::values;
use clap::Args;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use weft_api::kinds::Kind;
use weft_host::{CenterFile, Folders};
use weft_model::instance::NAMESPACE_DEFAULT;

/// The beginning of all paths of objects.
const BASE: &str = "/apis/mesh.weft.dev/v1alpha1";

/// Bytes of one line of an answer that is followed.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of a refusal that are read.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// Which center and which namespace.
#[derive(Debug, Args)]
pub(crate) struct CenterArguments {
    /// The namespace.
    #[arg(long, short, value_name = "NAME", default_value = NAMESPACE_DEFAULT, value_parser = values::name)]
    pub(crate) namespace: String,

    /// The center, host:port [default: WEFT_CENTER, else the center of this machine].
    #[arg(long, value_name = "ADDRESS", value_parser = values::center)]
    pub(crate) center: Option<String>,

    /// A file with the center's token, which changes need, and all that is asked from another machine [default: the
    /// one of the center of this machine].
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// The way to a center.
pub(crate) struct Client {
    address: String,
    token: Option<String>,
    runtime: tokio::runtime::Runtime,
}

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// Faults of a set: place, field, reason.
    pub(crate) causes: Vec<(usize, String, String)>,
}

impl Client {
    /// The way to the center that was named, or to the one of this machine.
    pub(crate) fn new(arguments: &CenterArguments) -> Result<Self, Failure> {
        let folders = Folders::of_this_user();
        let named: Vec<String> = arguments.center.iter().cloned().collect();
        let centers = center_address::centers(&named, &folders)?;
        let Some(address) = centers.into_iter().next() else {
            return Err(Failure::center(
                "cannot find the center: neither --center nor WEFT_CENTER names one, and none runs on this machine \
                 (no center.json in the runtime folder); start one with \"weft center\"",
            ));
        };
        let token = match &arguments.token_file {
            None => token_of(&address, &folders),
            Some(file) => Some(fs::read_to_string(file).map_err(|error| {
                Failure::usage(format!(
                    "cannot read the token in {}: {error}; copy the file that center.json on the center's machine \
                     names (token_file)",
                    file.display()
                ))
            })?),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::refused(format!("cannot start the runtime: {error}")))?;
        Ok(Self {
            token: token.map(|token| token.trim().to_owned()),
            address,
            runtime,
        })
    }

    /// Asks; the answer as text.
    pub(crate) fn text(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Result<String, Refusal>, Failure> {
        let path = format!("{BASE}{path}");
        let sent = http_client::send(&self.address, method, &path, self.token.as_deref(), body);
        let answer = self.runtime.block_on(sent).map_err(|error| {
            Failure::center(format!(
                "cannot reach the center at {}: {error}; is it running? (weft center)",
                self.address
            ))
        })?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if (200..300).contains(&answer.status) {
            return Ok(Ok(text));
        }
        Ok(Err(Refusal::of(answer.status, &text)))
    }

    /// Asks; the answer as JSON.
    pub(crate) fn json(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Result<Value, Refusal>, Failure> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        match self.text(method, path, body.as_bytes())? {
            Err(refusal) => Ok(Err(refusal)),
            Ok(text) => serde_json::from_str(&text).map(Ok).map_err(|error| {
                Failure::refused(format!(
                    "the center at {} answered no JSON: {error}",
                    self.address
                ))
            }),
        }
    }

    /// Follows an answer of lines as long as `take` wants more.
    pub(crate) fn follow(
        &self,
        path: &str,
        mut take: impl FnMut(&str) -> bool,
    ) -> Result<(), Failure> {
        let path = format!("{BASE}{path}");
        let mut text = Vec::new();
        let mut refused = 0;
        let mut piece = |status: u16, bytes: &[u8]| {
            text.extend_from_slice(bytes);
            if status != 200 {
                refused = status;
                return text.len() < REFUSAL_BYTES_MAX;
            }
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                if !take(String::from_utf8_lossy(&line).trim_end()) {
                    return false;
                }
            }
            text.len() < LINE_BYTES_MAX
        };
        let token = self.token.as_deref();
        let followed = http_client::follow(&self.address, &path, token, &mut piece);
        self.runtime.block_on(followed).map_err(|error| {
            Failure::center(format!(
                "cannot follow the center at {}: {error}; is it running? (weft center)",
                self.address
            ))
        })?;
        if refused != 0 {
            let text = String::from_utf8_lossy(&text).into_owned();
            return Err(Refusal::of(refused, &text).failure());
        }
        Ok(())
    }

    /// Reads; a refusal is a failure.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json("GET", path, None)?
            .map_err(|refusal| refusal.failure())
    }
}

impl Refusal {
    fn of(status: u16, text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let causes = value["details"]["causes"].as_array();
        let causes = causes.into_iter().flatten().map(|cause| {
            let text = |name: &str| cause[name].as_str().unwrap_or("").to_owned();
            (
                cause["index"].as_u64().unwrap_or(0) as usize,
                text("field"),
                text("message"),
            )
        });
        Self {
            status,
            message: value["message"].as_str().unwrap_or(text).to_owned(),
            causes: causes.collect(),
        }
    }

    /// What a person is told.
    pub(crate) fn failure(&self) -> Failure {
        Failure::refused(format!(
            "the center refused ({}): {}",
            self.status, self.message
        ))
    }
}

/// The path of a kind's objects in a namespace, or of one of them.
pub(crate) fn object_path(kind: Kind, namespace: &str, name: Option<&str>) -> String {
    let list = format!("/namespaces/{namespace}/{}", kind.plural());
    match name {
        None => list,
        Some(name) => format!("{list}/{name}"),
    }
}

/// Who changes things, as the history tells: user@host. Nothing is proven by it.
pub(crate) fn author() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let user = user.unwrap_or_else(|_| format!("uid-{}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let plain = |text: String| -> String {
        let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        text.chars().filter(fits).take(60).collect()
    };
    format!("{}@{}", plain(user), plain(host))
}

/// The kind that a person names on the command line.
pub(crate) fn kind(text: &str) -> Result<Kind, String> {
    Kind::from_name(text).ok_or_else(|| format!("the kinds are {}", Kind::names()))
}

/// The token of the center of this machine, when that is the one we ask and it has one.
fn token_of(center: &str, folders: &Folders) -> Option<String> {
    let file = CenterFile::read(folders)?;
    if values::center(&file.url).ok()? != center {
        return None;
    }
    fs::read_to_string(file.token_file?).ok()
}
