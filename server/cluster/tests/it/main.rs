//! The replicated state through its public face.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod caps;
mod codec;
mod penalties;
mod plan;
mod properties;
mod script;

/// Runs every script beside this file: commands in, replies and state out. `UPDATE_EXPECT=1` writes
/// them anew.
#[test]
fn scripts() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/testdata");
    let mut scripts: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() >= 8, "the scripts are gone");
    for path in scripts {
        let text = std::fs::read_to_string(&path).unwrap();
        expect_test::expect_file![&path].assert_eq(&script::run(&text));
    }
}
