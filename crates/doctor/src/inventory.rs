//! The resources of a template and of its nested templates, with conditions, parameters and functions resolved as far
//! as possible. A value that cannot be resolved is unknown, not an error.

mod load;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde_json::Value;
use sluicegate_sam::{Props, TemplateDocument};

pub(crate) use load::Deployed;

use crate::Error;

/// The resources to check.
#[derive(Debug, Default)]
pub struct Inventory {
    pub(crate) resources: Vec<Resource>,
    /// What could not be checked.
    pub(crate) notes: Vec<String>,
    /// Some nested stacks could not be read, so a missing resource may exist there.
    pub(crate) hidden: bool,
    /// Values of parameters that CloudFormation refuses.
    pub(crate) refused: Vec<(Origin, String)>,
    /// The account's limit of concurrent environments, for a deployed stack.
    pub(crate) account_concurrency: Option<u64>,
    /// Duplicate keys of templates.
    pub(crate) repeated: Vec<(Origin, String)>,
    /// Changes since the deployment.
    pub(crate) changes: Vec<(Origin, String)>,
}

/// The place of a resource, or of a part of it.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Its name in the template, after those of the stacks around it: `RabbitmqStack/Broker`.
    pub(crate) id: String,
    /// A JSON pointer such as `/Resources/Name/Properties`.
    path: String,
    /// `None` for a deployed resource: its template is not a file.
    file: Option<(Arc<str>, Arc<TemplateDocument>)>,
}

impl Origin {
    /// Returns the origin of a resource that is in no template.
    pub(crate) fn nowhere(id: String) -> Self {
        Self { id, path: String::new(), file: None }
    }

    /// Returns the origin of a named part of the resource, such as an event of a function.
    pub(crate) fn part(&self, id: &str, path: &str) -> Self {
        Self { id: format!("{}/{id}", self.id), path: format!("{}/{path}", self.path), file: self.file.clone() }
    }

    /// Returns whether it is in a template's file. A deployed resource is not.
    pub(crate) fn is_written(&self) -> bool {
        self.file.is_some()
    }

    /// Returns the globals of a kind of resource, which SAM gives to those that it generates too.
    pub(crate) fn globals(&self, kind: &str) -> Option<&Value> {
        let (_, document) = self.file.as_ref()?;
        document.value["Globals"].get(kind)
    }

    /// Returns file and line of a property, or of the nearest written value around it.
    pub(crate) fn place(&self, property: &str) -> Option<(&str, usize)> {
        let (file, document) = self.file.as_ref()?;
        let path = match property {
            "" => self.path.trim_end_matches("/Properties").to_owned(),
            property => format!("{}/{property}", self.path),
        };
        Some((file, document.line(&path)))
    }
}

/// One resource.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) origin: Origin,
    pub(crate) kind: String,
    /// The value of `Ref`.
    pub(crate) reference: String,
    /// The value of `GetAtt Arn`, or an empty text.
    pub(crate) arn: String,
    /// Its properties, merged with the globals.
    pub(crate) properties: Value,
    /// It certainly exists; otherwise its condition is undecided.
    pub(crate) certain: bool,
    /// `UpdatePolicy`, which is not one of the properties.
    pub(crate) update_policy: Value,
}

impl Resource {
    pub(crate) fn props(&self) -> Props<'_> {
        Props(&self.properties)
    }
}

impl Inventory {
    /// Reads a template and its nested templates, as far as those are files.
    ///
    /// # Errors
    /// The file cannot be read, is not a template, or does not have a parameter that a value is given for.
    pub fn of_template(file: &Path, parameters: &BTreeMap<String, String>) -> Result<Self, Error> {
        let text = std::fs::read_to_string(file).map_err(|source| Error::Unreadable { file: file.into(), source })?;
        Self::of_text(file, &text, parameters)
    }

    /// Reads a template's text; `file` is the name in findings, and nested templates are found relative to it.
    ///
    /// # Errors
    /// As [`Inventory::of_template`].
    pub fn of_text(file: &Path, text: &str, parameters: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut inventory = Self::default();
        load::template(&mut inventory, file, text, parameters)?;
        Ok(inventory)
    }

    pub(crate) fn of_deployed(stack: &Deployed) -> Result<Self, Error> {
        let mut inventory = Self::default();
        load::deployed(&mut inventory, stack)?;
        Ok(inventory)
    }

    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.resources.iter().filter(move |resource| resource.kind == kind)
    }
}
