//! Every resource of a template and of those nested in it, with conditions, parameters and functions resolved as far as one can
//! here. The reader is the local stack's; what it cannot resolve is marked unknown instead of being an error.

mod load;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde_json::Value;
use sluicegate_sam::Document;

pub(crate) use load::Deployed;

use crate::{Error, setting::Props};

/// What there is to check.
#[derive(Debug, Default)]
pub struct Inventory {
    pub(crate) resources: Vec<Resource>,
    /// What could not be looked at.
    pub(crate) notes: Vec<String>,
    /// Nested stacks are among that.
    pub(crate) hidden: bool,
    /// Values of parameters that CloudFormation refuses.
    pub(crate) refused: Vec<(Origin, String)>,
    /// How many environments the account may run at once, where that can be asked.
    pub(crate) account_concurrency: Option<u64>,
    /// Keys of templates that are written twice.
    pub(crate) repeated: Vec<(Origin, String)>,
    /// What was changed since it was deployed: whose, and how.
    pub(crate) changes: Vec<(Origin, String)>,
}

/// Where a resource, or a part of one, is written.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Its name in the template, behind those of the stacks it is nested in: `RabbitmqStack/Broker`.
    pub(crate) id: String,
    /// `/Resources/Name/Properties`
    path: String,
    /// None for what is deployed: the template there is nobody's file.
    file: Option<(Arc<str>, Arc<Document>)>,
}

impl Origin {
    /// What no template has.
    pub(crate) fn nowhere(id: String) -> Self {
        Self { id, path: String::new(), file: None }
    }

    /// A part of it that a person sees as a thing of its own, such as an event of a function.
    pub(crate) fn part(&self, id: &str, path: &str) -> Self {
        Self { id: format!("{}/{id}", self.id), path: format!("{}/{path}", self.path), file: self.file.clone() }
    }

    /// Whether it is written in a file; else it is deployed.
    pub(crate) fn is_written(&self) -> bool {
        self.file.is_some()
    }

    /// What stands at a path of a template, such as a parameter.
    pub(crate) fn at(id: String, path: String, file: Option<(Arc<str>, Arc<Document>)>) -> Self {
        Self { id, path, file }
    }

    /// File and line of a property, or of what is around it.
    pub(crate) fn place(&self, property: &str) -> Option<(&str, usize)> {
        let (file, document) = self.file.as_ref()?;
        let path = match property {
            "" => self.path.trim_end_matches("/Properties").to_owned(),
            property => format!("{}/{property}", self.path),
        };
        Some((file, document.line(&path)))
    }
}

/// One resource that exists.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) origin: Origin,
    pub(crate) kind: String,
    /// What `Ref` gives.
    pub(crate) reference: String,
    /// What `GetAtt Arn` gives, or an empty text.
    pub(crate) arn: String,
    /// Its properties, over the globals.
    pub(crate) properties: Value,
    /// It surely exists; else its condition cannot be decided here.
    pub(crate) certain: bool,
    /// What SAM and CloudFormation are told beside the properties.
    pub(crate) update_policy: Value,
}

impl Resource {
    pub(crate) fn props(&self) -> Props<'_> {
        Props(&self.properties)
    }
}

impl Inventory {
    /// Reads a template, and the templates nested in it that are files.
    ///
    /// # Errors
    /// The file cannot be read, is no template, or lacks a parameter that a value is given for.
    pub fn of_template(file: &Path, parameters: &BTreeMap<String, String>) -> Result<Self, Error> {
        let text = std::fs::read_to_string(file).map_err(|source| Error::Unreadable { file: file.into(), source })?;
        Self::of_text(file, &text, parameters)
    }

    /// Reads a template's text; `file` says where nested templates are looked for, and is what findings call it.
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
