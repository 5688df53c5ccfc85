//! Checks that compare a template with its contract, beyond what their fixtures show.

use super::*;

#[test]
fn a_rate_limit_in_a_store_needs_the_table_as_well() {
    let inventory = Inventory::of_template(&folder().join("store-unbound.yaml"), &BTreeMap::new()).expect("a template");
    let yaml = read(&folder().join("store-unbound.openapi.yaml")).expect("the contract");
    let keys = "idempotency: { key: '{header.k}', store: dynamodb }";
    for (store, found) in [(", store: dynamodb", true), ("", false)] {
        let limit = format!("rateLimit: {{ limit: 1, window: 1s, by: route{store} }}");
        let contract = Contract::parse("openapi.yaml", &yaml.replace(keys, &limit)).expect("a sound contract");
        let report = examine(&inventory, &Project { contract: Some(contract), topology: None });
        assert_eq!(report.findings.iter().any(|finding| finding.check == "store-unbound"), found, "{report}");
    }
}

#[test]
fn cors_settings_of_the_globals_count_for_the_api_that_sam_generates() {
    let [template, contract] = ["cors-at-gateway.yaml", "cors-at-gateway.openapi.yaml"]
        .map(|file| read(&folder().join(file)).expect("the fixture"));
    let contract = Contract::parse("openapi.yaml", &contract).expect("a sound contract");
    let generated = template.replace("            ApiId: !Ref Api\n", "");
    let (before, api) = generated.split_once("  Api:\n").expect("the API");
    let rest = &api[api.find("  Orders:\n").expect("the next resource")..];
    let globals = "Globals: { HttpApi: { CorsConfiguration: true } }\n";
    for (globals, expected) in [("", 0), (globals, 1)] {
        let inventory = inventory(&format!("{globals}{before}{rest}")).expect("a template");
        let report = examine(&inventory, &Project { contract: Some(contract.clone()), topology: None });
        let found = report.findings.iter().filter(|finding| finding.check == "cors-at-gateway").count();
        assert_eq!(found, expected, "{globals}");
    }
}
