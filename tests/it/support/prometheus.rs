//! A strict parser of Prometheus's text format, version 0.0.4.
//!
//! Beyond the grammar it checks that every family has HELP and TYPE once and before its samples, that the samples of a
//! family are contiguous, that each series occurs once, and that the names of counters and histograms follow the
//! conventions.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details>

use std::collections::{BTreeMap, BTreeSet};

/// A parsed page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// The kind of each family.
    pub(crate) families: BTreeMap<String, String>,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Page {
    /// Parses a page.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let (mut page, mut helped, mut current) = (Self::default(), BTreeSet::new(), String::new());
        if !text.ends_with('\n') {
            return Err("the last line has no line feed".to_owned());
        }
        for line in text.lines() {
            let fault = |what: &str| format!("{what}: {line:?}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, _) = rest.split_once(' ').ok_or_else(|| fault("no text"))?;
                if !is_name(name, true) || !helped.insert(name.to_owned()) {
                    return Err(fault("not a name, or a second HELP"));
                }
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| fault("no kind"))?;
                let known = ["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind);
                let twice = page.families.insert(name.to_owned(), kind.to_owned()).is_some();
                if !helped.contains(name) || !known || twice || (kind == "counter") != name.ends_with("_total") {
                    return Err(fault("no HELP, an unknown kind, a second TYPE, or an invalid name of a counter"));
                }
                name.clone_into(&mut current);
            } else {
                let (name, labels, value) = sample(line).map_err(|what| fault(&what))?;
                let kind = page.families.get(&current).map_or("", String::as_str);
                let ends: &[&str] = match kind {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "summary" => &["", "_sum", "_count"],
                    _ => &[""],
                };
                let belongs = name.strip_prefix(current.as_str()).is_some_and(|end| ends.contains(&end));
                let fits = (kind == "histogram" && name.ends_with("_bucket")) == labels.contains_key("le");
                let twice = page.samples.iter().any(|(known, set, _)| *known == name && *set == labels);
                if !belongs || !fits || twice || (kind != "gauge" && value < 0.0) {
                    return Err(fault("not of the preceding family, a duplicate, or without a family"));
                }
                page.samples.push((name, labels, value));
            }
        }
        page.histograms()?;
        Ok(page)
    }

    /// Returns the sum of the samples with these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |set: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| set.get(*label).is_some_and(|other| other == value))
        };
        self.samples.iter().filter(|(other, set, _)| other == name && has(set)).map(|(.., value)| value).sum()
    }

    /// Checks that buckets are cumulative and that the `+Inf` bucket is the count.
    fn histograms(&self) -> Result<(), String> {
        let mut groups = BTreeMap::<_, Vec<(f64, f64)>>::new();
        for (name, labels, value) in self.samples.iter().filter(|(_, labels, _)| labels.contains_key("le")) {
            let mut labels = labels.clone();
            let bound =
                labels.remove("le").unwrap_or_default().replace("+Inf", "inf").parse().map_err(|_| "a bound")?;
            groups.entry((name.trim_end_matches("_bucket"), labels)).or_default().push((bound, *value));
        }
        for ((name, labels), buckets) in groups {
            let rising = buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
            let count = self.samples.iter().find(|(other, set, _)| *other == format!("{name}_count") && *set == labels);
            let ends = buckets.last().zip(count).is_some_and(|(last, count)| last.0.is_infinite() && last.1 == count.2);
            if !rising || !ends {
                return Err(format!("the buckets of {name} {labels:?}: {buckets:?}"));
            }
        }
        Ok(())
    }
}

/// Parses `name{label="value",…} number`. The format also allows a timestamp, which the stack never writes.
fn sample(line: &str) -> Result<(String, BTreeMap<String, String>, f64), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(mut list) = rest.strip_prefix('{') {
        loop {
            let (label, value) = list.split_once("=\"").ok_or("no label")?;
            let (value, after) = quoted(value).ok_or("a value without a closing quote, or an invalid escape")?;
            if !is_name(label, false) || labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("the label {label:?}"));
            }
            match after.strip_prefix(',') {
                Some(next) => list = next,
                None => break rest = after.strip_prefix('}').ok_or("labels without a closing brace")?,
            }
        }
    }
    let number = rest.strip_prefix(' ').filter(|number| !number.starts_with(' ')).ok_or("no space before the value")?;
    let value: f64 = number.parse().map_err(|_| "not a number")?;
    if is_name(name, true) && value.is_finite() {
        Ok((name.to_owned(), labels, value))
    } else {
        Err("a name".to_owned())
    }
}

/// Returns the text up to its closing quote, and the rest.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                escaped @ ('"' | '\\') => escaped,
                _ => return None,
            }),
            (_, c) => value.push(c),
        }
    }
}

fn is_name(name: &str, of_metric: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (of_metric && c == ':');
    name.chars().all(fits) && name.starts_with(|c: char| !c.is_ascii_digit()) && !name.starts_with("__")
}

#[test]
fn invalid_metric_pages_are_refused() {
    let family = "# HELP a_total x\n# TYPE a_total counter\n";
    let histogram = "# HELP h x\n# TYPE h histogram\n";
    for (text, fine) in [
        (format!("{family}a_total 1\n"), true),
        (format!("{family}a_total{{b=\"c\\\"\\\\\\n\",d=\"\"}} 1.5e3\n"), true),
        (format!("{histogram}h_bucket{{le=\"1\"}} 1\nh_bucket{{le=\"+Inf\"}} 2\nh_sum 3\nh_count 2\n"), true),
        (format!("{family}a_total 1"), false),
        (format!("{family}a_total  1\n"), false),
        (format!("{family}a_total -1\n"), false),
        (format!("{family}a_total one\n"), false),
        (format!("{family}a_total NaN\n"), false),
        (format!("{family}a_total 1\na_total 1\n"), false),
        (format!("{family}a_total{{b=\"c\",b=\"d\"}} 1\n"), false),
        (format!("{family}a_total{{b=\"\\c\"}} 1\n"), false),
        (format!("{family}a_total{{1=\"c\"}} 1\n"), false),
        (format!("{family}a_total{{b=\"c\"\n"), false),
        (format!("{family}b_total 1\n"), false),
        (format!("{family}{family}"), false),
        ("# TYPE a_total counter\na_total 1\n".to_owned(), false),
        ("# HELP a x\n# TYPE a counter\n".to_owned(), false),
        ("# HELP a x\n# TYPE a thing\n".to_owned(), false),
        ("a 1\n".to_owned(), false),
        (format!("{histogram}h_bucket{{le=\"1\"}} 2\nh_bucket{{le=\"+Inf\"}} 1\nh_count 1\n"), false),
        (format!("{histogram}h_bucket{{le=\"+Inf\"}} 2\nh_count 1\n"), false),
        (format!("{histogram}h_bucket{{le=\"1\"}} 2\nh_count 2\n"), false),
    ] {
        let read = Page::read(&text);
        assert_eq!(read.is_ok(), fine, "{text}\n{read:?}");
    }
}
