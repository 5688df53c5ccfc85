//! [`Provider`]: the entries of `providers.json`, with how each provider signs and where that is known from.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::scheme::Scheme;

/// A slug at least this similar to a misspelt one is suggested, as clap does.
const SIMILARITY_MIN: f64 = 0.7;

static PROVIDERS: LazyLock<Result<Vec<Provider>, serde_json::Error>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../providers.json")));

/// A provider of webhooks: an entry of the catalog.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The name in a contract: `github`.
    pub slug: String,
    /// The provider's own name.
    pub name: String,
    /// The provider's page about signatures.
    pub docs: String,
    /// Where the facts of this entry are from.
    pub source: Source,
    /// Something to know before using it; empty for most.
    #[serde(default)]
    pub note: String,
    /// How it signs.
    pub scheme: Scheme,
    /// The template of the event type in a contract.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The template of the idempotency key; `None` if the provider sends nothing that names a delivery.
    #[serde(default)]
    pub key: Option<String>,
}

/// Where the facts of an entry are from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Source {
    /// The provider's own SDK: its name and version.
    Sdk(String),
    /// The provider's own documentation, with the day it was read.
    Docs(String),
    /// Two other implementations that agree.
    Secondary(String),
}

impl Provider {
    /// Returns every provider, sorted by slug.
    #[must_use]
    pub fn all() -> &'static [Self] {
        // The test of the catalog reads it, so the published file is correct.
        PROVIDERS.as_deref().unwrap_or_default()
    }

    /// Returns the provider with this slug.
    #[must_use]
    pub fn named(slug: &str) -> Option<&'static Self> {
        Self::all().iter().find(|provider| provider.slug == slug)
    }

    /// Returns the provider whose slug is most similar to a misspelt one; `None` if none is similar.
    #[must_use]
    pub fn similar(slug: &str) -> Option<&'static Self> {
        let near = Self::all().iter().map(|provider| (strsim::jaro_winkler(slug, &provider.slug), provider));
        let near = near.filter(|(likeness, _)| *likeness >= SIMILARITY_MIN).max_by(|a, b| a.0.total_cmp(&b.0));
        near.map(|(_, provider)| provider)
    }
}
