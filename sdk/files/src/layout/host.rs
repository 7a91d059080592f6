//! What a path says about the node, made literal when the spec is applied.

use sdk_config::{HostEscape, Piece, TIME_ESCAPES, Template, TemplateError};
use sdk_flow::HostNames;

use super::encode_component;

/// The same text with `%[localhost]`, `%[IP]` and `%[FQDN]` replaced, so that it means the same on
/// every node and at every time. A text without them comes back as it is.
///
/// A node that does not know its name or address is `localhost` and `127.0.0.1`.
pub fn resolve_host(text: &str, names: &HostNames) -> Result<String, TemplateError> {
    let template = Template::parse(text)?;
    if !template.pieces.iter().any(|piece| matches!(piece, Piece::Host(_))) {
        return Ok(text.to_owned());
    }
    let mut resolved = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Literal(text) => resolved.push_str(&text.replace('%', "%%")),
            Piece::Time(escape) => {
                let letter = TIME_ESCAPES.iter().find(|(_, known)| known == escape);
                resolved.push('%');
                resolved.push(letter.expect("the table has every escape").0);
            }
            Piece::Timestamp => resolved.push_str("%t"),
            Piece::Header(name) => {
                resolved.push_str("%{");
                resolved.push_str(name);
                resolved.push('}');
            }
            Piece::Host(host) => {
                let mut encoded = String::new();
                encode_component(&fact(*host, names), &mut encoded);
                resolved.push_str(&encoded.replace('%', "%%"));
            }
        }
    }
    Ok(resolved)
}

fn fact(host: HostEscape, names: &HostNames) -> String {
    let full = names.name.as_deref().unwrap_or("localhost");
    match host {
        HostEscape::Localhost => full.split('.').next().unwrap_or(full).to_owned(),
        HostEscape::Fqdn => full.to_owned(),
        HostEscape::Ip => names.ip.map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string()),
    }
}
