//! [`Sampler`]: decides which spans are recorded, by `OTEL_TRACES_SAMPLER`.

/// The bits of a trace id, moved by one, that decide.
const MASK: u128 = (u64::MAX >> 1) as u128;

/// A sampler of the specification.
///
/// <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration>
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampler {
    /// Whether the decision of the parent is taken, if there is a parent.
    is_parent_based: bool,
    /// The share of the other traces that is recorded, 0 to 1.
    ratio: f64,
}

impl Sampler {
    /// Returns the sampler of this name; `None` for another name, or a ratio that is not a number from 0 to 1.
    pub(crate) fn named(name: &str, argument: Option<&str>) -> Option<Self> {
        let root = name.strip_prefix("parentbased_");
        let ratio = match root.unwrap_or(name) {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => argument.map_or(Ok(1.0), |text| text.trim().parse()).ok()?,
            _ => return None,
        };
        (0.0..=1.0).contains(&ratio).then_some(Self { is_parent_based: root.is_some(), ratio })
    }

    /// Returns whether a span of this trace is recorded. `parent` is the decision of its parent.
    pub(crate) fn decides(self, trace_id: u128, parent: Option<bool>) -> bool {
        match parent {
            Some(is_sampled) if self.is_parent_based => is_sampled,
            _ if self.ratio >= 1.0 => true,
            // Of the low 64 bits the upper 63, as the SDKs of OpenTelemetry do, so that all sample the same traces.
            _ => (((trace_id >> 1) & MASK) as f64) < self.ratio * (MASK as f64),
        }
    }
}

impl Default for Sampler {
    /// Returns `parentbased_always_on`, the default of the specification.
    fn default() -> Self {
        Self { is_parent_based: true, ratio: 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampler_decides_by_its_parent_or_by_the_trace_id() {
        const LOW: u128 = 1;
        const HIGH: u128 = u64::MAX as u128;
        for (name, argument, parent, expected) in [
            ("parentbased_always_on", None, None, [true, true]),
            ("parentbased_always_on", None, Some(false), [false, false]),
            ("parentbased_always_off", None, Some(true), [true, true]),
            ("parentbased_always_off", None, None, [false, false]),
            ("always_on", None, Some(false), [true, true]),
            ("always_off", None, Some(true), [false, false]),
            ("traceidratio", Some("0.5"), Some(false), [true, false]),
            ("parentbased_traceidratio", Some(" 0.5 "), None, [true, false]),
            ("traceidratio", None, None, [true, true]),
        ] {
            let sampler = Sampler::named(name, argument).unwrap();
            let decided = [LOW, HIGH].map(|trace_id| sampler.decides(trace_id, parent));
            assert_eq!(decided, expected, "{name} {argument:?} {parent:?}");
        }
        for (name, argument) in [("xray", None), ("", None), ("traceidratio", Some("2")), ("traceidratio", Some("x"))] {
            assert_eq!(Sampler::named(name, argument), None, "{name} {argument:?}");
        }
        assert_eq!(Sampler::named("parentbased_always_on", None), Some(Sampler::default()));
    }
}
