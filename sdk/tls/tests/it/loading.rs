//! What is said of files that cannot be used: which setting, which file, what to do; never what is in it.

use sdk_config::TlsSettings;
use sdk_tls::{Client, ClientFiles, ServerTls};

use crate::certificates::{Ca, file};

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_setting_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new("CA");
    let (certificate, key) = ca.sign(&["node.test"], false);
    let (_, other_key) = ca.sign(&["node.test"], false);
    let at = |name: &str, text: &str| file(folder.path(), name, text).display().to_string();
    let (good, good_key) = (at("c.pem", &certificate), at("c.key", &key));
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
    let say = |certificate: &str, key: &str, client_ca: Option<&str>| {
        let settings = TlsSettings {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            client_ca: client_ca.map(str::to_owned),
            ..TlsSettings::default()
        };
        match ServerTls::load(&settings, "node.tls") {
            Ok(_) => "fine".to_owned(),
            Err(error) => error.to_string().replace(&format!("{}/", folder.path().display()), ""),
        }
    };
    assert_eq!(say(&good, &good_key, None), "fine");
    for (said, expected) in [
        (say("nowhere", &good_key, None), "`node.tls.certificate`, nowhere: cannot be read:"),
        (
            say(&good_key, &good_key, None),
            "`node.tls.certificate`, c.key: has no certificate in it:",
        ),
        (say(&good, &good, None), "`node.tls.key`, c.pem: has no private key in it:"),
        (
            say(&good, &at("e.key", encrypted), None),
            "`node.tls.key`, e.key: holds a key that needs a passphrase:",
        ),
        (
            say(&good, &at("o.key", &other_key), None),
            "`node.tls.key`, o.key: does not fit the certificate:",
        ),
        (say(&good, &good_key, Some(&good_key)), "`node.tls.client_ca`, c.key: has no certificate"),
    ] {
        assert!(said.starts_with(expected), "{said}");
        for line in key.lines().chain(other_key.lines()).filter(|line| !line.starts_with("---")) {
            assert!(!said.contains(line), "{said}");
        }
    }
}

#[test]
fn a_client_names_its_flags_and_never_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, _) = Ca::new("CA").sign(&["shop.test"], false);
    let certificate = file(folder.path(), "c.pem", &certificate);
    let files = ClientFiles { prefix: "--".to_owned(), ..ClientFiles::default() };
    let say = |files: ClientFiles| Client::new(files).expect_err("not usable").to_string();
    let alone = ClientFiles { certificate: Some(certificate), ..files.clone() };
    assert!(say(alone).starts_with("`--certificate`"));
    let short = Some(file(folder.path(), "t", "hunter2\n"));
    let said = say(ClientFiles { token_file: short, ..files.clone() });
    assert!(said.starts_with("`--token-file`") && said.contains("7 characters"), "{said}");
    let blank = Some(file(folder.path(), "t", "hunter2 hunter2 hunter2\n"));
    let said = say(ClientFiles { token_file: blank, ..files.clone() });
    assert!(said.contains("line 1 is no token") && !said.contains("hunter2"), "{said}");
    let secret = Some(file(folder.path(), "t", "0123456789abcdef\n"));
    let client = Client::new(ClientFiles { token_file: secret, ..files }).unwrap();
    assert!(!format!("{client:?}").contains("0123456789abcdef"));
}

#[tokio::test]
async fn a_token_is_not_sent_in_clear_over_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = Some(file(folder.path(), "t", "0123456789abcdef\n"));
    let client = Client::new(ClientFiles { token_file, ..ClientFiles::default() }).unwrap();
    let endpoint = tonic::transport::Endpoint::from_static("http://192.0.2.1:7400");
    let said = client.connect(&endpoint).await.unwrap_err();
    assert_eq!(said, "the token would go over the network unencrypted: write `https://`");
}
