//! Who may do what.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::{HeaderMap, StatusCode, header};
use sdk_config::{AccessSpec, AdminAccess};
use tonic::Status;
use tracing::{info, warn};

use crate::certificate::Peer;
use crate::files::{LoadError, Named, fingerprint};
use crate::tokens::{TokenDigest, digest_of, parse};

/// The rules of a process. Tokens are read from files that may be replaced while it runs.
pub struct Access {
    rules: Vec<Rule>,
    tokens: ArcSwap<Tokens>,
    trouble: Mutex<Option<String>>,
    denied: AtomicU64,
}

/// A table of the configuration.
struct Rule {
    name: String,
    token_file: Option<Named>,
    certificates: Vec<String>,
    anyone: bool,
    send: Vec<String>,
    admin: AdminAccess,
}

#[derive(Default)]
struct Tokens {
    fingerprint: [u8; 32],
    /// The rules whose files have the token.
    rules: HashMap<TokenDigest, Vec<usize>>,
}

/// Somebody who is known.
#[derive(Clone)]
pub struct Caller {
    access: Arc<Access>,
    /// What holds for it; all of it together.
    rules: Arc<[usize]>,
    token: Option<TokenDigest>,
}

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is not known who asks.
    #[error("{0}")]
    Unknown(String),
    /// Who asks may not do this.
    #[error("{0}")]
    Forbidden(String),
}

impl Denied {
    /// For a gRPC call.
    #[must_use]
    pub fn into_status(self) -> Status {
        match self {
            Denied::Unknown(reason) => Status::unauthenticated(reason),
            Denied::Forbidden(reason) => Status::permission_denied(reason),
        }
    }

    /// For a page.
    #[must_use]
    pub fn http_status(&self) -> StatusCode {
        match self {
            Denied::Unknown(_) => StatusCode::UNAUTHORIZED,
            Denied::Forbidden(_) => StatusCode::FORBIDDEN,
        }
    }
}

impl Access {
    /// The rules of the tables below `place`; `None` where there are none.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn load(
        specs: &BTreeMap<String, AccessSpec>,
        place: &str,
    ) -> Result<Option<Arc<Access>>, LoadError> {
        if specs.is_empty() {
            return Ok(None);
        }
        let rule = |(name, spec): (&String, &AccessSpec)| Rule {
            name: name.clone(),
            token_file: spec
                .token_file
                .as_deref()
                .map(|file| Named::new(format!("{place}.{name}.token_file"), Path::new(file))),
            certificates: spec.certificates.clone(),
            anyone: spec.anyone,
            send: spec.send.clone(),
            admin: spec.admin,
        };
        let rules: Vec<Rule> = specs.iter().map(rule).collect();
        for file in rules.iter().filter_map(|rule| rule.token_file.as_ref()) {
            if file.is_open_to_all() {
                warn!(file = %file.path().display(), "everybody on this machine can read the tokens");
            }
        }
        let tokens = ArcSwap::from_pointee(read(&rules)?);
        Ok(Some(Arc::new(Access {
            rules,
            tokens,
            trouble: Mutex::default(),
            denied: AtomicU64::new(0),
        })))
    }

    /// Looks at the files and takes up what is new; what cannot be used leaves the old in force.
    pub(crate) fn refresh(&self) {
        let trouble = match read(&self.rules) {
            Ok(tokens) if tokens.fingerprint == self.tokens.load().fingerprint => None,
            Ok(tokens) => {
                info!(tokens = tokens.rules.len(), "tokens replaced");
                self.tokens.store(Arc::new(tokens));
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.is_some() && *known != trouble {
            warn!(error = trouble, "new tokens cannot be used, the old stay in force");
        }
        *known = trouble;
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }

    /// Who sends a request with these headers over a connection of `peer`. A token that is sent
    /// decides; without one the certificate does.
    ///
    /// # Errors
    /// When it is nobody that a rule is about.
    pub fn caller(
        self: &Arc<Access>,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Result<Caller, Denied> {
        self.identify(headers, peer).map_err(|denied| self.deny(denied))
    }

    fn identify(
        self: &Arc<Access>,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Result<Caller, Denied> {
        if let Some(sent) = headers.get(header::AUTHORIZATION) {
            let token = bearer(sent.as_bytes()).ok_or_else(|| {
                Denied::Unknown("what `authorization` says is no `Bearer TOKEN`".to_owned())
            })?;
            let token = digest_of(token);
            let tokens = self.tokens.load();
            let rules = tokens
                .rules
                .get(&token)
                .ok_or_else(|| Denied::Unknown("this token is not known here".to_owned()))?;
            return Ok(self.make(rules.as_slice().into(), Some(token)));
        }
        let matching = |matches: &dyn Fn(&Rule) -> bool| -> Arc<[usize]> {
            let rules = self.rules.iter().enumerate();
            rules.filter(|(_, rule)| matches(rule)).map(|(number, _)| number).collect()
        };
        let Some(peer) = peer else {
            let rules = matching(&|rule| rule.anyone);
            if rules.is_empty() {
                let reason = "it is not known who asks: send a token, or show a client certificate";
                return Err(Denied::Unknown(reason.to_owned()));
            }
            return Ok(self.make(rules, None));
        };
        let rules = matching(&|rule| {
            let one = |pattern: &String| peer.names().iter().any(|name| fits(pattern, name));
            rule.certificates.iter().any(one)
        });
        if rules.is_empty() {
            return Err(Denied::Forbidden(format!(
                "the certificate for {peer} is not allowed here: no `access` table has one of its names"
            )));
        }
        Ok(self.make(rules, None))
    }

    fn make(self: &Arc<Access>, rules: Arc<[usize]>, token: Option<TokenDigest>) -> Caller {
        Caller { access: Arc::clone(self), rules, token }
    }

    fn deny(&self, denied: Denied) -> Denied {
        self.denied.fetch_add(1, Ordering::Relaxed);
        denied
    }
}

impl Caller {
    /// Whether it may send to `flow`.
    ///
    /// # Errors
    /// When not.
    pub fn may_send(&self, flow: &str) -> Result<(), Denied> {
        if self.rules().any(|rule| rule.send.iter().any(|known| known == "*" || known == flow)) {
            return Ok(());
        }
        Err(self.access.deny(Denied::Forbidden(format!("{self} may not send to flow `{flow}`"))))
    }

    /// Whether it may ask the admin port for something that takes `needed`.
    ///
    /// # Errors
    /// When not.
    pub fn may_administer(&self, needed: AdminAccess) -> Result<(), Denied> {
        if self.rules().any(|rule| rule.admin >= needed) {
            return Ok(());
        }
        let what = match needed {
            AdminAccess::None | AdminAccess::View => "look at this node (`admin = \"view\"`)",
            AdminAccess::Full => "do this (`admin = \"full\"`)",
        };
        Err(self.access.deny(Denied::Forbidden(format!("{self} may not {what}"))))
    }

    /// Whether what it was known by still holds: its token is still in a file.
    ///
    /// # Errors
    /// When not.
    pub fn still(&self) -> Result<(), Denied> {
        let Some(token) = &self.token else { return Ok(()) };
        match self.access.tokens.load().rules.get(token) {
            Some(rules) if **rules == *self.rules => Ok(()),
            _ => Err(self.access.deny(Denied::Unknown("this token is no longer valid".to_owned()))),
        }
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(|number| &self.access.rules[*number])
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.rules().map(|rule| rule.name.as_str()).collect();
        write!(f, "`{}`", names.join("`, `"))
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caller({self})")
    }
}

fn read(rules: &[Rule]) -> Result<Tokens, LoadError> {
    let mut tokens = Tokens::default();
    let mut contents = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let Some(file) = &rule.token_file else { continue };
        let content = file.read()?;
        for token in parse(file, &content)? {
            let rules = tokens.rules.entry(digest_of(token.as_bytes())).or_default();
            if !rules.contains(&number) {
                rules.push(number);
            }
        }
        contents.push(content);
    }
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    tokens.fingerprint = fingerprint(&contents);
    Ok(tokens)
}

/// The token in `Bearer TOKEN`.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked("Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

/// Whether a name is one that `pattern` stands for: `*.` in front is one label, `*` at the end anything.
fn fits(pattern: &str, name: &str) -> bool {
    if let Some(domain) = pattern.strip_prefix("*.") {
        return name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain));
    }
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        // Host names have no case; nothing else that a CA signs differs by case alone.
        None => name.eq_ignore_ascii_case(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_names() {
        let line = |pattern: &str, name: &str| fits(pattern, name);
        assert!(line("shop.example.com", "Shop.example.com"));
        assert!(line("*.example.com", "a.example.com"));
        assert!(!line("*.example.com", "a.b.example.com"));
        assert!(!line("*.example.com", "example.com"));
        assert!(!line("*.example.com", ".example.com"));
        assert!(line("spiffe://a/agent/*", "spiffe://a/agent/7"));
        assert!(!line("spiffe://a/agent/*", "spiffe://a/admin/7"));
    }

    #[test]
    fn only_a_bearer_token_is_one() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        for wrong in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            assert_eq!(bearer(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
