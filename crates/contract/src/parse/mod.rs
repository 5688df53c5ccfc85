//! From OpenAPI YAML to a [`Contract`], or to everything that is wrong with it.
//!
//! `yaml` reads the text into a tree with line numbers, `at` and `checker` walk it taking note of faults, and one file
//! each reads `security`, `paths`, what a `request` carries, `schema`s and what to `enqueue`. `refs` holds what is true
//! of the document everywhere.
//!
//! What this does not understand it refuses: a field that is ignored is a check that does not happen.

mod at;
mod checker;
mod enqueue;
mod fault;
mod paths;
mod refs;
mod request;
mod schema;
mod security;
mod yaml;

pub use fault::Fault;

use crate::Contract;
use at::At;
use checker::Checker;

const DOCUMENT_FIELDS: &[&str] = &[
    "openapi",
    "info",
    "jsonSchemaDialect",
    "servers",
    "paths",
    "webhooks",
    "components",
    "security",
    "tags",
    "externalDocs",
];

const COMPONENT_FIELDS: &[&str] = &[
    "schemas",
    "responses",
    "parameters",
    "examples",
    "requestBodies",
    "headers",
    "securitySchemes",
    "links",
    "callbacks",
    "pathItems",
];

impl Contract {
    /// Reads and checks an OpenAPI 3.1 document. `file` is only for the faults.
    ///
    /// # Errors
    /// All faults, in the order of the document.
    pub fn parse(file: &str, yaml: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let Some(tree) = yaml::read(file, yaml, &mut faults) else { return Err(faults) };
        let mut checker = Checker::new(file, &tree, faults);
        let root = checker.root.clone();
        // Something that is not OpenAPI 3.1 at all deserves one fault, not a hundred.
        if check_version(&mut checker, &root).is_none() {
            return Err(checker.faults);
        }
        check_document(&mut checker, &root);
        refs::check(&mut checker);
        let schemes = security::schemes(&mut checker);
        let operations = paths::operations(&mut checker, &schemes);
        schema::check_components(&mut checker);

        let mut faults = checker.faults;
        if faults.is_empty() {
            let schemes = schemes.into_iter().filter_map(|(name, scheme)| Some((name, scheme?))).collect();
            return Ok(Self { operations, schemes, public_document: refs::public_document(&tree) });
        }
        // What several operations share is checked for each of them.
        faults.sort_by(|a, b| (a.line, &a.pointer, &a.reason).cmp(&(b.line, &b.pointer, &b.reason)));
        faults.dedup();
        Err(faults)
    }
}

fn check_version<'d>(checker: &mut Checker<'d>, root: &At<'d>) -> Option<()> {
    checker.object(root)?;
    let version = checker.required(root, "openapi")?;
    let patch = version.text().and_then(|version| version.strip_prefix("3.1."));
    if patch.is_none_or(|patch| patch.is_empty() || !patch.bytes().all(|b| b.is_ascii_digit())) {
        checker.fault(&version, "must be an OpenAPI 3.1 version, such as 3.1.1");
        return None;
    }
    Some(())
}

fn check_document<'d>(checker: &mut Checker<'d>, root: &At<'d>) {
    checker.fields(root, DOCUMENT_FIELDS);
    if let Some(info) = checker.required(root, "info") {
        checker.required_text(&info, "title");
        checker.required_text(&info, "version");
    }
    if let Some(components) = root.get("components") {
        checker.fields(&components, COMPONENT_FIELDS);
    }
    if let Some(dialect) = root.get("jsonSchemaDialect") {
        schema::check_dialect(checker, &dialect);
    }
}
