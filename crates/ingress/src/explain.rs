//! Schema faults of an invalid document, each with its pointer, in bounded time and memory.
//!
//! `jsonschema` collects every error before it returns the first, clones the value at each failed alternative and tries
//! nested alternatives without a limit, which takes gigabytes for a hostile body. It is used only to decide whether a
//! document is valid, and whether a value passes the keywords that concern only the value itself. The search for faults
//! is bounded by [`FAULTS_MAX`] faults and [`STEPS_MAX`] steps. A document that needs more steps is refused without a
//! pointer.
//!
//! `unevaluatedProperties` and `unevaluatedItems` depend on the results of other keywords. Their faults name the value,
//! not the member.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap};

use jsonschema::Validator;
use serde_json::{Map, Value};

use crate::{
    compile::compile,
    pointer::Pointer,
    rejection::{BodyFault, FAULTS_MAX},
};

/// The limit of steps. A schema applied to a value is one step, or more for a large value. A body of the default size
/// does not have more values.
const STEPS_MAX: usize = 256 * 1024;

/// Members, items or bytes of a value per additional step.
const STEP_SIZE: usize = 64;

/// The limit of recursion: nested schemas, also those applied to the same value.
const DEPTH_MAX: usize = 512;

/// A schema prepared for the search.
pub(crate) struct Explainer {
    /// The schema itself, then its `$defs` by their numbers (see the contract crate), then all others.
    nodes: Vec<Node>,
}

/// One schema object; each index is a node's.
#[derive(Default)]
struct Node {
    /// The schema `false`.
    never: bool,
    /// The keywords that concern only the value itself.
    checks: Option<Validator>,
    /// `allOf` and `$ref`.
    all_of: Vec<usize>,
    any_of: Vec<usize>,
    one_of: Vec<usize>,
    not: Option<usize>,
    condition: Option<usize>,
    then: Option<usize>,
    otherwise: Option<usize>,
    properties: BTreeMap<String, usize>,
    patterns: Vec<(Validator, usize)>,
    additional: Option<usize>,
    names: Option<usize>,
    dependents: Vec<(String, usize)>,
    prefix: Vec<usize>,
    items: Option<usize>,
    contains: Option<usize>,
    contains_min: u64,
    contains_max: Option<u64>,
    /// `unevaluatedProperties` or `unevaluatedItems`.
    unevaluated: Option<&'static str>,
}

impl Node {
    fn has_member_keywords(&self) -> bool {
        let by_name = !self.properties.is_empty() || !self.patterns.is_empty();
        by_name || self.additional.is_some() || self.names.is_some()
    }
}

impl Explainer {
    /// Prepares a self-contained schema, with references as bundled by the contract crate.
    pub(crate) fn new(schema: &Value) -> Self {
        let definitions = schema.get("$defs").and_then(Value::as_object);
        let count = definitions.map_or(0, Map::len);
        let mut explainer = Self { nodes: (0..=count).map(|_| Node::default()).collect() };
        let by_number =
            definitions.into_iter().flatten().filter_map(|(number, schema)| Some((number.parse().ok()?, schema)));
        for (index, schema) in std::iter::once((0, schema)).chain(by_number) {
            let node = explainer.node(schema);
            if let Some(place) = explainer.nodes.get_mut::<usize>(index) {
                *place = node;
            }
        }
        explainer
    }

    fn add(&mut self, schema: &Value) -> usize {
        let node = self.node(schema);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn list(&mut self, schemas: &Value) -> Vec<usize> {
        schemas.as_array().into_iter().flatten().map(|schema| self.add(schema)).collect()
    }

    fn named(&mut self, schemas: &Value) -> Vec<(String, usize)> {
        let schemas = schemas.as_object().into_iter().flatten();
        schemas.map(|(name, schema)| (name.clone(), self.add(schema))).collect()
    }

    fn node(&mut self, schema: &Value) -> Node {
        let mut node = Node { never: *schema == Value::Bool(false), contains_min: 1, ..Node::default() };
        let mut checks = Map::new();
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            match keyword.as_str() {
                "$ref" => node.all_of.push(target(value)),
                "allOf" => node.all_of.extend(self.list(value)),
                "anyOf" => node.any_of = self.list(value),
                "oneOf" => node.one_of = self.list(value),
                "not" => node.not = Some(self.add(value)),
                "if" => node.condition = Some(self.add(value)),
                "then" => node.then = Some(self.add(value)),
                "else" => node.otherwise = Some(self.add(value)),
                "properties" => node.properties = self.named(value).into_iter().collect(),
                "patternProperties" => {
                    let named = self.named(value);
                    node.patterns = named.into_iter().filter_map(|(text, of)| Some((pattern(text)?, of))).collect();
                }
                "additionalProperties" => node.additional = Some(self.add(value)),
                "propertyNames" => node.names = Some(self.add(value)),
                "dependentSchemas" => node.dependents = self.named(value),
                "prefixItems" => node.prefix = self.list(value),
                "items" => node.items = Some(self.add(value)),
                "contains" => node.contains = Some(self.add(value)),
                "minContains" => node.contains_min = value.as_u64().unwrap_or(1),
                "maxContains" => node.contains_max = value.as_u64(),
                "unevaluatedProperties" => node.unevaluated = Some("unevaluatedProperties"),
                "unevaluatedItems" => node.unevaluated = Some("unevaluatedItems"),
                "$defs" => {}
                _ => drop(checks.insert(keyword.clone(), value.clone())),
            }
        }
        node.checks = (!checks.is_empty()).then(|| compile(&Value::Object(checks))).flatten();
        node
    }

    /// Returns the faults of an invalid document: at least one, at most [`FAULTS_MAX`].
    pub(crate) fn faults(&self, document: &Value) -> Vec<BodyFault> {
        let mut search = Search { nodes: &self.nodes, steps_left: STEPS_MAX, depth: 0, gave_up: false, suspect: None };
        let mut found = Vec::new();
        search.visit(0, document, &At::ROOT, &mut found);
        if found.is_empty() {
            found.push(search.suspect.take().unwrap_or_else(|| {
                let text = if search.gave_up { "; it is too large to locate the fault" } else { "" };
                Found::new(&At::ROOT, format!("the document does not match the schema{text}"))
            }));
        }
        found.into_iter().map(|found| BodyFault::new(found.pointer, found.detail)).collect()
    }
}

/// Returns the node of the reference `#` or `#/$defs/N`.
fn target(reference: &Value) -> usize {
    let number = reference.as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn pattern(text: String) -> Option<Validator> {
    compile(&serde_json::json!({ "pattern": text }))
}

/// A location in the document.
struct At<'a> {
    above: Option<&'a At<'a>>,
    step: Step<'a>,
    /// Steps from the root.
    depth: usize,
}

enum Step<'a> {
    Root,
    Member(&'a str),
    Item(usize),
}

impl At<'_> {
    const ROOT: At<'static> = At { above: None, step: Step::Root, depth: 0 };

    fn below<'a>(&'a self, step: Step<'a>) -> At<'a> {
        At { above: Some(self), step, depth: self.depth + 1 }
    }

    fn pointer(&self) -> Pointer {
        let mut names = Vec::with_capacity(self.depth);
        let mut place = Some(self);
        while let Some(At { above, step, .. }) = place {
            match step {
                Step::Root => {}
                Step::Member(name) => names.push(Cow::Borrowed(*name)),
                Step::Item(index) => names.push(Cow::Owned(index.to_string())),
            }
            place = *above;
        }
        Pointer::of(names.iter().rev().map(AsRef::as_ref))
    }
}

struct Found {
    pointer: Pointer,
    detail: String,
    depth: usize,
}

impl Found {
    fn new(at: &At<'_>, detail: impl Into<String>) -> Self {
        Self { pointer: at.pointer(), detail: detail.into(), depth: at.depth }
    }
}

/// The state of a search.
struct Search<'e> {
    nodes: &'e [Node],
    steps_left: usize,
    depth: usize,
    gave_up: bool,
    /// The value with an unevaluated member or item, reported if no other fault is found.
    suspect: Option<Found>,
}

impl Search<'_> {
    /// Adds the faults of `value` against the schema at `index`.
    fn visit(&mut self, index: usize, value: &Value, at: &At<'_>, found: &mut Vec<Found>) {
        let Some(node) = self.nodes.get(index) else { return };
        if found.len() >= FAULTS_MAX || !self.spend(value) {
            return;
        }
        self.depth += 1;
        self.apply(node, value, at, found);
        self.depth -= 1;
    }

    /// Spends the steps of a value. Returns whether the search may continue.
    fn spend(&mut self, value: &Value) -> bool {
        let size = match value {
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            Value::String(text) => text.len(),
            _ => 0,
        };
        let steps = 1 + size / STEP_SIZE;
        self.gave_up |= steps > self.steps_left || self.depth >= DEPTH_MAX;
        self.steps_left = self.steps_left.saturating_sub(steps);
        !self.gave_up
    }

    fn apply(&mut self, node: &Node, value: &Value, at: &At<'_>, found: &mut Vec<Found>) {
        if node.never {
            found.push(Found::new(at, "is not allowed here"));
        }
        if let Some(checks) = node.checks.as_ref().filter(|checks| !checks.is_valid(value)) {
            // At most one error per keyword and required name, each a reference to the value.
            let errors = checks.iter_errors(value).take(FAULTS_MAX);
            found.extend(errors.map(|error| Found::new(at, error.masked_with("the value").to_string())));
        }
        match value {
            Value::Object(members) => {
                if node.has_member_keywords() {
                    self.members(node, members, at, found);
                }
                for (_, schema) in node.dependents.iter().filter(|(name, _)| members.contains_key(name)) {
                    self.visit(*schema, value, at, found);
                }
            }
            Value::Array(items) => self.items(node, items, at, found),
            _ => {}
        }
        for &each in &node.all_of {
            self.visit(each, value, at, found);
        }
        self.any_of(&node.any_of, value, at, found);
        self.one_of(&node.one_of, value, at, found);
        if let Some(not) = node.not
            && self.satisfies(not, value, at)
        {
            found.push(Found::new(at, "the value matches the schema's `not`"));
        }
        if let Some(condition) = node.condition {
            let branch = if self.satisfies(condition, value, at) { node.then } else { node.otherwise };
            branch.into_iter().for_each(|branch| self.visit(branch, value, at, found));
        }
        if let Some(keyword) = node.unevaluated
            && (value.is_object() || value.is_array())
            && self.suspect.is_none()
        {
            self.suspect = Some(Found::new(at, format!("a part of the value is not allowed here ({keyword})")));
        }
    }

    fn satisfies(&mut self, index: usize, value: &Value, at: &At<'_>) -> bool {
        let mut found = Vec::new();
        self.visit(index, value, at, &mut found);
        found.is_empty() && !self.gave_up
    }

    fn members(&mut self, node: &Node, members: &Map<String, Value>, at: &At<'_>, found: &mut Vec<Found>) {
        for (name, member) in members {
            if found.len() >= FAULTS_MAX || self.gave_up {
                return;
            }
            let at = at.below(Step::Member(name));
            let property = node.properties.get(name);
            let mut is_additional = property.is_none();
            property.into_iter().for_each(|&property| self.visit(property, member, &at, found));
            if !node.patterns.is_empty() || node.names.is_some() {
                let name = Value::String(name.clone());
                for (pattern, schema) in &node.patterns {
                    if pattern.is_valid(&name) {
                        is_additional = false;
                        self.visit(*schema, member, &at, found);
                    }
                }
                let mut wrong = Vec::new();
                node.names.into_iter().for_each(|names| self.visit(names, &name, &at, &mut wrong));
                found.extend(wrong.into_iter().take(1).map(|Found { pointer, detail, depth }| Found {
                    pointer,
                    detail: format!("the name is not allowed: {detail}"),
                    depth,
                }));
            }
            if let Some(additional) = node.additional.filter(|_| is_additional) {
                self.visit(additional, member, &at, found);
            }
        }
    }

    fn items(&mut self, node: &Node, items: &[Value], at: &At<'_>, found: &mut Vec<Found>) {
        let schemas = node.prefix.iter().copied().map(Some).chain(std::iter::repeat(node.items));
        for (index, (item, schema)) in items.iter().zip(schemas).enumerate() {
            let Some(schema) = schema.filter(|_| found.len() < FAULTS_MAX && !self.gave_up) else { break };
            self.visit(schema, item, &at.below(Step::Item(index)), found);
        }
        let Some(contains) = node.contains else { return };
        let mut count = 0;
        for (index, item) in items.iter().enumerate() {
            count += u64::from(self.satisfies(contains, item, &at.below(Step::Item(index))));
            if self.gave_up {
                return;
            }
        }
        if count < node.contains_min || node.contains_max.is_some_and(|max| count > max) {
            found.push(Found::new(
                at,
                format!("{count} of the items match the schema's `contains`: too few or too many"),
            ));
        }
    }

    fn any_of(&mut self, branches: &[usize], value: &Value, at: &At<'_>, found: &mut Vec<Found>) {
        let mut nearest = Nearest::default();
        for &branch in branches {
            let mut faults = Vec::new();
            self.visit(branch, value, at, &mut faults);
            if self.gave_up || faults.is_empty() {
                return;
            }
            nearest.add(faults, at);
        }
        found.extend(nearest.into_faults(at));
    }

    fn one_of(&mut self, branches: &[usize], value: &Value, at: &At<'_>, found: &mut Vec<Found>) {
        let mut nearest = Nearest::default();
        let mut valid = 0;
        for &branch in branches {
            let mut faults = Vec::new();
            self.visit(branch, value, at, &mut faults);
            if self.gave_up {
                return;
            }
            match faults.is_empty() {
                true => valid += 1,
                false => nearest.add(faults, at),
            }
        }
        match valid {
            0 => found.extend(nearest.into_faults(at)),
            1 => {}
            _ => found.push(Found::new(
                at,
                format!("the value matches {valid} alternatives of the schema's `oneOf` instead of one"),
            )),
        }
    }
}

/// The alternative closest to the value: the one whose first difference is deepest, and of several the one with the
/// fewest faults.
#[derive(Default)]
struct Nearest {
    faults: Vec<Found>,
    /// The texts of alternatives whose only fault is the value itself.
    here: Vec<String>,
    alternatives: usize,
}

impl Nearest {
    fn add(&mut self, faults: Vec<Found>, at: &At<'_>) {
        let rank = |faults: &[Found]| (faults.iter().map(|fault| fault.depth).min(), Reverse(faults.len()));
        self.alternatives += 1;
        if let [Found { depth, detail, .. }] = faults.as_slice()
            && *depth == at.depth
        {
            self.here.push(detail.clone());
        }
        if self.faults.is_empty() || rank(&faults) > rank(&self.faults) {
            self.faults = faults;
        }
    }

    /// Returns the faults of the closest alternative, or a single fault if every alternative fails at the value itself.
    fn into_faults(mut self, at: &At<'_>) -> Vec<Found> {
        if self.here.len() > 1 && self.here.len() == self.alternatives {
            self.here.dedup();
            return vec![Found::new(at, self.here.join("; or "))];
        }
        self.faults
    }
}
