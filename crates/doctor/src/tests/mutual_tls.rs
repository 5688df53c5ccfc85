//! The places of a truststore, and the default endpoint beside it.

use super::*;

/// Returns which checks of mutual TLS find something, for a contract that accepts client certificates. The resources
/// replace the API of the fixture.
fn found(api: &str, more: &str) -> Vec<&'static str> {
    let template = read(&folder().join("mutual-tls-missing.yaml")).expect("the fixture");
    let contract = read(&folder().join("mutual-tls-missing.openapi.yaml")).expect("the contract");
    let api = format!("    Type: AWS::Serverless::HttpApi\n    Properties:\n      {api}\n");
    let written = "    Type: AWS::Serverless::HttpApi\n    Properties:\n";
    assert!(template.contains(written));
    let template = template.replace(written, &api) + more;
    let inventory = inventory(&template).unwrap_or_else(|error| panic!("{error}\n{template}"));
    let contract = Contract::parse("openapi.yaml", &contract).expect("a sound contract");
    let report = examine(&inventory, &Project { contract: Some(contract), topology: None });
    report.findings.iter().map(|finding| finding.check).filter(|check| check.starts_with("mutual-tls")).collect()
}

#[test]
fn a_truststore_is_found_where_sam_and_cloudformation_have_it() {
    const MISSING: &[&str] = &["mutual-tls-missing"];
    const BYPASSED: &[&str] = &["mutual-tls-bypassed"];
    let trust = "MutualTlsAuthentication: { TruststoreUri: s3://b/t.pem }";
    let domain = |more: &str| format!("Domain: {{ DomainName: a.example, CertificateArn: !Ref Certificate{more} }}");
    let trusted = domain(&format!(", {trust}"));
    let closed = format!("DisableExecuteApiEndpoint: true\n      {trusted}");
    let mapped = |properties: &str, mapping: &str| {
        format!(
            "  Name: {{ Type: AWS::ApiGatewayV2::DomainName, Properties: {{ DomainName: a.example{properties} }} }}\n  \
             Mapping: {{ Type: AWS::ApiGatewayV2::ApiMapping, Properties: {{ Stage: $default, {mapping} }} }}\n"
        )
    };
    let to_api = "ApiId: !Ref Api, DomainName: !Ref Name";
    let own = mapped(&format!(", {trust}"), to_api);
    for (api, more, expected) in [
        ("Description: none", "", MISSING),
        (domain("").as_str(), "", MISSING),
        (&trusted, "", BYPASSED),
        (&format!("DisableExecuteApiEndpoint: false\n      {trusted}"), "", BYPASSED),
        (&closed, "", &[]),
        ("Description: none", own.as_str(), BYPASSED),
        ("DisableExecuteApiEndpoint: true", &own, &[]),
        ("Description: none", &mapped("", to_api), MISSING),
        // The mapping of another API.
        ("Description: none", &mapped(&format!(", {trust}"), "ApiId: other, DomainName: !Ref Name"), MISSING),
        // What another template defines is not known.
        ("Description: none", &mapped("", "ApiId: !Ref Api, DomainName: !ImportValue name"), &[]),
        ("Domain: !ImportValue domain", "", &[]),
        (&format!("DisableExecuteApiEndpoint: !ImportValue disabled\n      {trusted}"), "", &[]),
    ] {
        assert_eq!(found(api, more), expected, "{api}\n{more}");
    }
}
