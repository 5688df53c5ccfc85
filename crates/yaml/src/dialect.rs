//! [`Dialect`]: plain YAML, or that of CloudFormation templates.

/// The features of YAML that a file may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The JSON schema of YAML and nothing else: a duplicate key, an alias, a merge key or a tag is a fault.
    Strict,
    /// What SAM and CloudFormation read. Short tags such as `!Ref` are kept as [`Node::tag`](crate::Node::tag). Aliases
    /// and merge keys are expanded, because the SAM CLI does so before CloudFormation sees the template. Of a duplicate
    /// key the last value counts and [`Document::duplicates`](crate::Document::duplicates) lists it. Numbers that JSON
    /// cannot write, such as `007`, are text.
    CloudFormation,
}
