//! What a contract needs in a template beside its routes: resources, policies of functions and variables.
//!
//! What the template has already stays as it is.

use sluicegate_sam::{Node, TemplateDocument};
use sluicegate_yaml::Dialect;

use super::{Template, template::Outline};
use crate::{
    CommandError,
    add::members::{self, Target},
};

/// The function that consumes the queues of nested stacks, which have the mappings.
const CONSUMER: &str = "ConsumerFunction";

/// The function that writes the archive. It handles no messages, so it needs neither a store nor statuses.
pub(super) const ARCHIVER: &str = "ArchiverFunction";

/// A template with its additions.
pub(super) struct Additions<'a> {
    file: &'a str,
    /// The template as it was read.
    template: Template<'a>,
    /// The function that has the routes.
    ingress: String,
    edited: String,
    /// The changes, one a line.
    changes: &'a mut Vec<String>,
}

impl<'a> Additions<'a> {
    pub(super) fn to(file: &'a str, text: &'a str, changes: &'a mut Vec<String>) -> Result<Self, CommandError> {
        let template = Template::read(file, text)?;
        let ingress = Outline::read(&template)?.function;
        Ok(Self { file, template, ingress, edited: text.to_owned(), changes })
    }

    /// Returns the name of the function that has the routes.
    pub(super) fn ingress(&self) -> String {
        self.ingress.clone()
    }

    /// Returns the names of the functions that consume a queue, which need `variable`.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn consumers(&self, variable: &str) -> Result<Vec<String>, CommandError> {
        let is_sqs = |event: &Node| event.get("Type").and_then(Node::text) == Some("SQS");
        let functions = self.document().resources().filter(|resource| resource.kind == "AWS::Serverless::Function");
        let consuming = functions.filter(|function| {
            let events = function.node.get("Properties").and_then(|properties| properties.get("Events"));
            function.logical_id == CONSUMER || events.is_some_and(|events| events.entries().any(|(_, it)| is_sqs(it)))
        });
        let names = consuming.map(|function| function.logical_id.to_owned());
        let names = names.filter(|name| *name != self.ingress && name != ARCHIVER);
        let names: Vec<_> = names.collect();
        if names.is_empty() {
            return Err(format!(
                "{}: no function consumes a queue: it needs an event of type SQS, or the name {CONSUMER}, to get {variable}",
                self.file
            )
            .into());
        }
        Ok(names)
    }

    fn document(&self) -> &TemplateDocument {
        &self.template.document
    }

    pub(super) fn has_resource(&self, id: &str) -> bool {
        self.has(&["Resources", id])
    }

    pub(super) fn has_condition(&self, id: &str) -> bool {
        self.has(&["Conditions", id])
    }

    pub(super) fn has_variable(&self, function: &str, variable: &str) -> bool {
        self.has(&[&variables(function)[..], &[variable]].concat())
    }

    /// Adds a resource; `lines` start with its id.
    pub(super) fn resource(&mut self, id: &str, lines: &str) -> Result<(), CommandError> {
        if self.has_resource(id) {
            return Ok(());
        }
        self.insert(&Target { path: &["Resources"], is_apart: true, after: None }, lines, format!("+ {id}"))
    }

    /// Adds a policy of the roles of these functions; `statement` is an entry of its list.
    pub(super) fn policy(
        &mut self,
        id: &str,
        name: &str,
        functions: &[&str],
        statement: &str,
    ) -> Result<(), CommandError> {
        let roles = functions.iter().map(|function| format!("!Ref {}", self.role(function)));
        let (roles, statement) = (roles.collect::<Vec<_>>().join(", "), members::indented(statement, 8));
        let lines = format!(
            "{id}:\n  Type: AWS::IAM::Policy\n  Properties:\n    PolicyName: {name}\n    Roles: [{roles}]\n    \
             PolicyDocument:\n      Version: '2012-10-17'\n      Statement:\n{statement}"
        );
        self.resource(id, &lines)
    }

    /// Adds a variable with the name of a resource.
    pub(super) fn variable(&mut self, function: &str, variable: &str, resource: &str) -> Result<(), CommandError> {
        self.variable_of(function, variable, &format!("!Ref {resource}"))
    }

    /// Adds a variable; `value` is YAML in one line.
    pub(super) fn variable_of(&mut self, function: &str, variable: &str, value: &str) -> Result<(), CommandError> {
        self.member(&variables(function), variable, &format!(" {value}\n"), function)
    }

    /// Adds a member of `resource` to the mapping with this path; `value` is the rest of its lines.
    pub(super) fn member(&mut self, path: &[&str], key: &str, value: &str, resource: &str) -> Result<(), CommandError> {
        if self.has(&[path, &[key]].concat()) {
            return Ok(());
        }
        let target = Target { path, is_apart: false, after: None };
        self.insert(&target, &format!("{key}:{value}"), format!("+ {key} of {resource}"))
    }

    /// Returns the name of the role of a function.
    pub(super) fn role(&self, function: &str) -> String {
        role(self.document(), function)
    }

    /// Returns the template with the additions.
    pub(super) fn finish(self) -> String {
        self.edited
    }

    fn has(&self, path: &[&str]) -> bool {
        let pointer: String = path.iter().map(|key| format!("/{key}")).collect();
        self.document().root.follow(&pointer).is_ok()
    }

    fn insert(&mut self, target: &Target<'_>, lines: &str, change: String) -> Result<(), CommandError> {
        self.edited = members::insert(self.file, &self.edited, Dialect::CloudFormation, target, lines)?;
        self.changes.push(change);
        Ok(())
    }
}

/// Returns the keys of the variables of a function.
fn variables(function: &str) -> [&str; 5] {
    ["Resources", function, "Properties", "Environment", "Variables"]
}

/// Returns the role of a function: that of `!GetAtt Role.Arn`, or the one that SAM makes.
fn role(document: &TemplateDocument, function: &str) -> String {
    let role = document.value["Resources"][function]["Properties"]["Role"]["Fn::GetAtt"][0].as_str();
    role.map_or_else(|| format!("{function}Role"), str::to_owned)
}
