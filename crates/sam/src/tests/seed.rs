//! The items of a table, and their faults.

use serde_json::{Value, json};

use super::{StackPlan, plan, settings};

/// Returns a template with a table that has this seed. Line 6 is the first of the seed.
fn template(seed: &str) -> String {
    format!(
        "Parameters: {{ Article: {{ Type: String, Default: tea }} }}
Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Metadata:
      Seed: {seed}
    Properties:
      AttributeDefinitions: [{{ AttributeName: sku, AttributeType: S }}, {{ AttributeName: n, AttributeType: N }}]
      KeySchema: [{{ AttributeName: sku, KeyType: HASH }}, {{ AttributeName: n, KeyType: RANGE }}]
"
    )
}

#[test]
fn items_are_typed_by_their_yaml() {
    let seed = "[{ sku: tea, n: 1, price: 2.5, none: null, sold: false, tags: [a, 2], size: { w: 3 } }, { sku: !Ref Article, n: 2 }]";
    let expected = json!([
        {
            "sku": { "S": "tea" }, "n": { "N": "1" }, "price": { "N": "2.5" }, "none": { "NULL": true },
            "sold": { "BOOL": false }, "tags": { "L": [{ "S": "a" }, { "N": "2" }] }, "size": { "M": { "w": { "N": "3" } } },
        },
        { "sku": { "S": "tea" }, "n": { "N": "2" } },
    ]);
    assert_eq!(Value::from(plan(&template(seed)).tables[0].seed.clone()), expected);
    let without = template("x").replace("    Metadata:\n      Seed: x\n", "");
    assert!(plan(&without).tables[0].seed.is_empty());
}

#[test]
fn a_wrong_item_is_a_fault_with_its_place() {
    let key = |n| format!("t.yaml:6: /Resources/Table/Metadata/Seed/{n}: must have the key");
    for (seed, expected) in [
        ("tea", "t.yaml:6: /Resources/Table/Metadata/Seed: must be a list of items".to_owned()),
        ("[tea]", "t.yaml:6: /Resources/Table/Metadata/Seed/0: must be a map of attributes".to_owned()),
        ("[{ sku: a, n: 1 }, { n: 1 }]", format!("{} `sku` of the table, a text", key(1))),
        ("[{ sku: '', n: 1 }]", format!("{} `sku` of the table, a text", key(0))),
        ("[{ sku: 7, n: 1 }]", format!("{} `sku` of the table, a text", key(0))),
        ("[{ sku: a, n: '1' }]", format!("{} `n` of the table, a number", key(0))),
    ] {
        let faults = StackPlan::read("t.yaml", &template(seed), &settings()).expect_err(seed);
        assert!(faults.to_string().contains(&expected), "{faults}\nshould say\n{expected}");
    }
}
