//! The reader of an OpenAPI document: returns a [`Contract`], or every fault of the document.
//!
//! `checker` collects the faults. `security`, `paths`, `request`, `schema`, `enqueue`, `rate_limit`, `status` and
//! `store` each read one part of the document; `refs` checks the references everywhere in it; `attribute_warnings`
//! warns about values that an event attribute cannot have.
//!
//! Unknown fields are refused: ignoring a misspelt field would silently drop a check.

mod access_token;
mod attribute_warnings;
mod checker;
mod content;
mod cors;
mod enqueue;
mod paths;
mod rate_limit;
mod refs;
mod request;
mod schema;
mod security;
mod signature;
mod status;
mod store;

use sluicegate_yaml::{Dialect, Document, Fault, Faults, Node};

use crate::Contract;
use checker::ContractChecker;

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
    pub fn parse(file: &str, yaml: &str) -> Result<Self, Faults> {
        Self::parse_with_warnings(file, yaml).map(|(contract, _)| contract)
    }

    /// Parses like [`Contract::parse`], and also returns warnings: a template whose value may be invalid in an event, a
    /// `payloadBytes` above the limit of SQS, a misspelt `format`. The ingress refuses each request with such a value;
    /// a schema can exclude the value beforehand.
    ///
    /// # Errors
    /// All faults, in the order of the document.
    pub fn parse_with_warnings(file: &str, yaml: &str) -> Result<(Self, Vec<Fault>), Faults> {
        let document = Document::read(file, yaml, Dialect::Strict)?;
        let mut checker = ContractChecker::new(file, &document);
        let root = checker.root;
        // A document that is not OpenAPI 3.1 gets one fault, not one for each unknown field.
        if check_version(&mut checker, root).is_none() {
            return Err(std::mem::take(&mut checker.faults).into());
        }
        check_document(&mut checker, root);
        refs::check(&mut checker);
        let schemes = security::schemes(&mut checker);
        let operations = paths::operations(&mut checker, &schemes);
        schema::check_components(&mut checker);
        let cors = cors::cors(&mut checker, &operations, schemes.values().filter_map(security::Declared::scheme));

        // Parts that several operations share are checked for each of them, and repeated faults are dropped.
        let faults = Faults::in_order(std::mem::take(&mut checker.faults));
        let warnings = Faults::in_order(std::mem::take(&mut checker.warnings));
        if !faults.is_empty() {
            return Err(faults);
        }
        let schemes =
            schemes.into_iter().filter_map(|(name, declared)| Some((name, declared.into_scheme()?))).collect();
        let has_status = operations.iter().any(|operation| operation.enqueue.status);
        let status = has_status.then(|| status::path_item(&operations));
        let public_document = refs::public_document(root, status.as_ref()).into();
        Ok((Self { operations, schemes, cors, has_status, public_document }, warnings.to_vec()))
    }
}

fn check_version<'d>(checker: &mut ContractChecker<'d>, root: &'d Node) -> Option<()> {
    checker.mapping(root)?;
    let version = checker.required(root, "openapi")?;
    let patch = version.text().and_then(|version| version.strip_prefix("3.1."));
    if patch.is_none_or(|patch| patch.is_empty() || !patch.bytes().all(|b| b.is_ascii_digit())) {
        checker.fault(version, "must be an OpenAPI 3.1 version, such as 3.1.1");
        return None;
    }
    Some(())
}

fn check_document<'d>(checker: &mut ContractChecker<'d>, root: &'d Node) {
    checker.fields_and_extensions(root, DOCUMENT_FIELDS);
    if let Some(info) = checker.required(root, "info") {
        checker.required_text(info, "title");
        checker.required_text(info, "version");
    }
    if let Some(components) = root.get("components") {
        checker.fields_and_extensions(components, COMPONENT_FIELDS);
    }
    if let Some(dialect) = root.get("jsonSchemaDialect") {
        schema::check_dialect(checker, dialect);
    }
    checker.flag(root, schema::FORMAT_ASSERTION);
}
