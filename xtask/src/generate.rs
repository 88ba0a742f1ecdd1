//! Rust from the `.proto` files of weft-api, without `protoc`, into `crates/weft-api/src/gen`.
//!
//! The output is committed so that a build needs neither this nor a compiler of protobuf; `check` keeps it
//! fresh. Never edits anything outside that folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The `.proto` files, as they import each other.
const PROTOS: &[&str] = &[
    "weft/link/v1/link.proto",
    "weft/sync/v1/sync.proto",
    "weft/saved/v1/saved.proto",
];

/// Writes the generated files; with `check` compares them with the committed ones instead.
pub(crate) fn run(check: bool) -> Result<(), String> {
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/weft-api");
    let folder = api.join("src/gen");
    let files = generated(&api.join("proto"))?;
    if check {
        return compare(&folder, &files);
    }
    fs::create_dir_all(&folder)
        .map_err(|error| format!("create folder \"{}\": {error}", folder.display()))?;
    for (name, text) in &files {
        let path = folder.join(name);
        // Unchanged files keep their time, so that cargo rebuilds nothing.
        if fs::read_to_string(&path).is_ok_and(|old| old == *text) {
            continue;
        }
        fs::write(&path, text).map_err(|error| format!("write \"{}\": {error}", path.display()))?;
    }
    Ok(())
}

/// File name -> text.
fn generated(protos: &Path) -> Result<BTreeMap<String, String>, String> {
    let set = protox::compile(PROTOS, [protos]).map_err(|error| {
        format!(
            "compile the .proto files in \"{}\": {error}",
            protos.display()
        )
    })?;
    let mut config = prost_build::Config::new();
    // Bytes of a received message are shared, not copied; maps have one order, so that bytes repeat.
    config.bytes(["."]).btree_map(["."]);
    let requests = set
        .file
        .into_iter()
        .map(|file| {
            (
                prost_build::Module::from_protobuf_package_name(file.package()),
                file,
            )
        })
        .collect();
    let modules = config
        .generate(requests)
        .map_err(|error| format!("generate Rust from .proto: {error}"))?;
    Ok(modules
        .into_iter()
        .map(|(module, text)| (module.to_file_name_or("weft"), text))
        .collect())
}

fn compare(folder: &Path, files: &BTreeMap<String, String>) -> Result<(), String> {
    let stale: Vec<PathBuf> = files
        .iter()
        .map(|(name, text)| (folder.join(name), text))
        .filter(|(path, text)| fs::read_to_string(path).ok().as_ref() != Some(*text))
        .map(|(path, _)| path)
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = stale
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| format!("\"{}\"", name.to_string_lossy()))
        .collect();
    Err(format!(
        "generated code differs from the .proto files: {}; run cargo xtask generate",
        names.join(", ")
    ))
}
