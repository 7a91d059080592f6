//! Compiles every `.proto` file of `collector/v1` without protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;
use prost_types::field_descriptor_proto::Type;

const FOLDER: &str = "collector/v1";

#[expect(clippy::disallowed_methods, reason = "a build script is neither log nor sink")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={FOLDER}");
    let mut files: Vec<PathBuf> = fs::read_dir(FOLDER)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "proto"));
    files.sort();
    let mut descriptors = protox::compile(&files, ["."])?;

    let mut config = tonic_prost_build::configure().bytes(".").btree_map(".");
    // What the admin service answers is printed as JSON under the names of its fields.
    for file in descriptors.file.iter().filter(|file| file.name().ends_with("admin.proto")) {
        for message in &file.message_type {
            let path = format!(".{}.{}", file.package(), message.name());
            config = config
                .type_attribute(&path, "#[derive(serde::Serialize, serde::Deserialize)]")
                .message_attribute(&path, "#[serde(default)]");
            for field in message.field.iter().filter(|field| field.r#type() == Type::Bytes) {
                let field = format!("{path}.{}", field.name());
                config = config.field_attribute(field, "#[serde(with = \"crate::text\")]");
            }
        }
        for each in &file.enum_type {
            let path = format!(".{}.{}", file.package(), each.name());
            config = config.enum_attribute(path, "#[derive(serde::Serialize, serde::Deserialize)]");
        }
    }
    config.compile_fds(descriptors.clone())?;

    // Reflection serves the shapes, not the comments.
    descriptors.file.iter_mut().for_each(|file| file.source_code_info = None);
    let out = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(out, descriptors.encode_to_vec())?;
    Ok(())
}
