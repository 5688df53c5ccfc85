//! The JWT authorizer of a route.

use sluicegate_sam::{DEFAULT_ROUTE, Node};

use super::{
    Template,
    template::{Outline, Route},
};
use crate::CommandError;
use crate::edit::TextEdits;

/// A template with a route that an authorizer protects.
pub(crate) struct Authorized {
    pub text: String,
    /// The event of the catch-all route, by which a request may bypass the authorizer.
    pub catch_all: Option<String>,
}

/// Returns the template with the JWT authorizer in front of a route; a route with an authorizer keeps it.
///
/// # Errors
/// The template has no JWT authorizer or not this route, or the route is not written in braces.
pub(crate) fn with_authorizer(
    file: &str,
    text: &str,
    route: &str,
    scopes: &[String],
) -> Result<Authorized, CommandError> {
    let template = Template::read(file, text)?;
    let outline = Outline::read(&template)?;
    let root = &template.document.root;
    let authorizers = root.follow(&format!("/Resources/{}/Properties/Auth/Authorizers", outline.api));
    let is_jwt = |authorizer: &Node| authorizer.get("JwtConfiguration").is_some();
    let Some((name, _)) = authorizers.ok().and_then(|all| all.entries().find(|(_, it)| is_jwt(it))) else {
        return Err(format!(
            "{file}: {} has no JWT authorizer: merge infra/jwt-authorizer.yaml into the template, then run this again",
            outline.api
        )
        .into());
    };
    let event = |key: &str| {
        let is_it = |it: &Route| it.key == key;
        outline.events.iter().find(|event| event.route.as_ref().is_some_and(is_it))
    };
    let catch_all = event(DEFAULT_ROUTE).map(|event| event.name.clone());
    let Some(event) = event(route) else {
        return Err(format!("{file}: has no event for {route}: run `sluicegate sync` first").into());
    };
    let properties = root.follow(&format!("{}/Properties", event.pointer)).ok().filter(|it| it.is_map());
    let Some(properties) = properties else {
        return Err(format!(
            "{file}: the event of {route} has no Properties: remove the event, and run `sluicegate sync`"
        )
        .into());
    };
    if properties.get("Auth").is_some() {
        return Ok(Authorized { text: text.to_owned(), catch_all });
    }
    let scopes = match scopes {
        [] => String::new(),
        scopes => {
            let quoted: Vec<_> = scopes.iter().map(|scope| crate::edit::scalar(scope, "")).collect();
            format!(", AuthorizationScopes: [{}]", quoted.join(", "))
        }
    };
    let auth = format!("Auth: {{ Authorizer: {name}{scopes} }}");
    if !properties.is_flow() {
        return Err(format!("{file}:{}: write this below Properties by hand: {auth}", properties.line()).into());
    }
    let mut edits = TextEdits::default();
    let end = text[..properties.range().end - 1].trim_end().len();
    edits.replace(end..end, format!(", {auth}"));
    Ok(Authorized { text: edits.apply(text), catch_all })
}
