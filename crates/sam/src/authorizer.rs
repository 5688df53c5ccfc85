//! The JWT authorizers of HTTP APIs, which SAM names in `Auth`.

use serde_json::Value;

use super::{Props, Reader, Setting, text};

/// The authorizer of a route without one, although the API has a default.
const NONE: &str = "NONE";
/// The start of an identity source that is a header.
const HEADER_SOURCE: &str = "$request.header.";

/// A JWT authorizer, with what a route needs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtAuthorizer {
    /// Its name in the template.
    pub name: String,
    /// The issuer, exactly as in the claim `iss`.
    pub issuer: String,
    /// The audiences, of which a token must have one.
    pub audiences: Vec<String>,
    /// The lower-case name of the header with the token.
    pub header: String,
    /// The scopes of the route, of which a token must have one; empty for a route that needs none.
    pub scopes: Vec<String>,
    /// Whether it is that of every route without an authorizer.
    pub is_default: bool,
}

impl JwtAuthorizer {
    /// Reads one; `None` if it is of another kind, or a value is not known.
    fn read(name: &str, props: Props<'_>, default: &Setting<String>) -> Option<Self> {
        let settings = props.object("JwtConfiguration");
        let audiences = match settings.get("audience") {
            Setting::Known(one @ Value::String(_)) => vec![text(one)?],
            audience => texts(&audience)?,
        };
        let source = props.text("IdentitySource").or(format!("{HEADER_SOURCE}Authorization"))?;
        Some(Self {
            name: name.to_owned(),
            issuer: settings.text("issuer").known()?,
            audiences: Some(audiences).filter(|audiences| !audiences.is_empty())?,
            header: source.strip_prefix(HEADER_SOURCE)?.to_ascii_lowercase(),
            scopes: texts(&props.get("AuthorizationScopes"))?,
            is_default: default.is(name),
        })
    }
}

/// Returns the texts of a list; `None` if one is not known.
fn texts(list: &Setting<&Value>) -> Option<Vec<String>> {
    match list {
        Setting::Absent => Some(Vec::new()),
        Setting::Known(list) => list.as_array()?.iter().map(|entry| Setting::of(entry).text().known()).collect(),
        Setting::Unknown(_) => None,
    }
}

impl Reader<'_> {
    /// Reads the authorizers of an API from its `Auth`; returns whether the local stack runs everything in it.
    pub(super) fn authorizers(&mut self, auth: Props<'_>) -> bool {
        let default = auth.text("DefaultAuthorizer");
        let mut all_run = auth.members().all(|(name, _)| ["Authorizers", "DefaultAuthorizer"].contains(&name));
        for (name, authorizer) in auth.object("Authorizers").members() {
            let read = JwtAuthorizer::read(name, Props(authorizer), &default);
            all_run &= read.is_some();
            self.plan.authorizers.extend(read);
        }
        all_run && !default.is_unknown()
    }

    /// Returns the authorizer of a route with these properties; `Err` if the local stack does not run it.
    pub(super) fn authorizer(&self, props: Props<'_>) -> Result<Option<JwtAuthorizer>, ()> {
        let auth = props.object("Auth");
        let named = auth.text("Authorizer");
        let found = match named.as_str() {
            Some(NONE) => return Ok(None),
            Some(name) => self.plan.authorizers.iter().find(|authorizer| authorizer.name == name).ok_or(())?,
            None if named.is_unknown() => return Err(()),
            None => match self.plan.authorizers.iter().find(|authorizer| authorizer.is_default) {
                Some(default) => default,
                None if props.get("Auth").is_written() => return Err(()),
                None => return Ok(None),
            },
        };
        let mut found = found.clone();
        if auth.get("AuthorizationScopes").is_written() {
            found.scopes = texts(&auth.get("AuthorizationScopes")).ok_or(())?;
        }
        Ok(Some(found))
    }
}
