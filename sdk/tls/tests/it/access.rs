//! Who may do what.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};
use sdk_config::{AccessSpec, AdminAccess};
use sdk_tls::{Access, Denied, Gate};

use crate::certificates::file;

const SHOP: &str = "0123456789abcdef-shop";
const OPERATOR: &str = "0123456789abcdef-operator";
const NEW: &str = "0123456789abcdef-new";

fn headers(token: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(http::header::AUTHORIZATION, value)])
}

#[test]
fn a_token_may_do_what_its_tables_say_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let spec = |name: &str, tokens: &str, send: &[&str], admin| AccessSpec {
        token_file: Some(file(folder.path(), name, tokens).display().to_string()),
        send: send.iter().map(|flow| (*flow).to_owned()).collect(),
        admin,
        ..AccessSpec::default()
    };
    let specs = BTreeMap::from([
        (
            "shop".to_owned(),
            spec("shop", &format!("# of the shop\n{SHOP}\n"), &["a"], AdminAccess::None),
        ),
        ("ops".to_owned(), spec("ops", OPERATOR, &["*"], AdminAccess::Full)),
        (
            "eyes".to_owned(),
            AccessSpec { anyone: true, admin: AdminAccess::View, ..AccessSpec::default() },
        ),
    ]);
    let access = Access::load(&specs, "node.access").unwrap().expect("tables");
    let shop = access.caller(&headers(SHOP), None).unwrap();
    assert_eq!(shop.may_send("a"), Ok(()));
    let denied = shop.may_send("b").unwrap_err();
    assert_eq!(denied, Denied::Forbidden("`shop` may not send to flow `b`".to_owned()));
    assert!(shop.may_administer(AdminAccess::View).is_err());
    let operator = access.caller(&headers(OPERATOR), None).unwrap();
    assert_eq!(operator.may_send("b"), Ok(()));
    assert_eq!(operator.may_administer(AdminAccess::Full), Ok(()));
    let nobody = access.caller(&HeaderMap::new(), None).unwrap();
    assert_eq!(nobody.may_administer(AdminAccess::View), Ok(()));
    assert!(nobody.may_administer(AdminAccess::Full).is_err() && nobody.may_send("a").is_err());
    // Every wrong token, an almost right one too, is the same to a caller.
    for wrong in ["", "x", &SHOP[1..], &format!("{SHOP}x"), &SHOP.to_uppercase()] {
        let denied = access.caller(&headers(wrong), None).unwrap_err();
        assert!(matches!(&denied, Denied::Unknown(_)), "{wrong}: {denied}");
    }
}

#[test]
fn tokens_are_replaced_while_they_are_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "shop", SHOP);
    let spec = AccessSpec {
        token_file: Some(path.display().to_string()),
        send: vec!["a".to_owned()],
        ..AccessSpec::default()
    };
    let specs = BTreeMap::from([("shop".to_owned(), spec)]);
    let gate = Gate::load(None, &specs, "node").unwrap();
    let ask = |token: &str| gate.caller(&headers(token), None);
    let old = ask(SHOP).unwrap().expect("somebody");
    file(folder.path(), "shop", &format!("{SHOP}\n{NEW}\n"));
    gate.refresh();
    assert!(ask(SHOP).is_ok() && ask(NEW).is_ok() && old.still().is_ok());
    // A file that is being written has nothing in it.
    file(folder.path(), "shop", "");
    gate.refresh();
    assert!(ask(NEW).is_ok());
    assert!(gate.reasons(0)[0].contains("`node.access.shop.token_file`"), "{:?}", gate.reasons(0));
    file(folder.path(), "shop", NEW);
    gate.refresh();
    assert!(ask(SHOP).is_err() && old.still().is_err() && ask(NEW).is_ok());
    assert!(gate.reasons(0).is_empty());
}
