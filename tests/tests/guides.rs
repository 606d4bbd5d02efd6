//! What the guides promise to have whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use intellistor::Policy;
use serde_json::{Value, json};

/// A field that no policy has: the refusal of it lists those that one has.
const UNKNOWN: &str = "?";

/// The fields that may be where this policy has an unknown one; none, where there is no place for fields.
fn fields_of(policy: &Value) -> BTreeSet<String> {
    let refused = serde_json::from_value::<Policy>(policy.clone()).err().map(|error| error.to_string());
    let Some((_, known)) =
        refused.as_deref().and_then(|text| text.split_once("unknown field `?`, expected "))
    else {
        return BTreeSet::new();
    };
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// All fields of a policy; those in blocks as `block.field`. `with`: a policy with a value in the block's place.
fn all_fields(with: &dyn Fn(Value) -> Value, block: &str) -> BTreeSet<String> {
    let unknown = json!({ UNKNOWN: 1 });
    let mut all = BTreeSet::new();
    for (in_list, value) in [(false, unknown.clone()), (true, json!([unknown]))] {
        for field in fields_of(&with(value)) {
            let inside = |value: Value| {
                let value = json!({ &field: value });
                with(if in_list { json!([value]) } else { value })
            };
            let name = format!("{block}{field}");
            all.append(&mut all_fields(&inside, &format!("{name}.")));
            all.insert(name);
        }
    }
    all
}

fn policy_fields() -> BTreeSet<String> {
    let least = |value: Value| {
        let mut policy = json!({ "policy_id": "a", "paths": ["x"] });
        policy.as_object_mut().unwrap().extend(value.as_object().cloned().unwrap_or_default());
        policy
    };
    all_fields(&least, "")
}

/// What the first column of the page's table of fields has in code.
fn fields_in(page: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = fs::read_to_string(path).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("## ")).skip(1);
    let rows = table.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
    let mut fields = BTreeSet::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 5, "{page}: a meaning, values, a default and an example: {row}");
        fields.extend(cells[0].split('`').skip(1).step_by(2).map(str::to_owned));
    }
    fields
}

#[test]
fn every_field_of_a_policy_is_in_both_guides() {
    let known = policy_fields();
    for some in ["policy_id", "paths", "retention.keep_daily", "lock.mode", "logs.keep_days"] {
        assert!(known.contains(some), "{some} was not found in {known:?}");
    }
    // A block's own row is optional: its fields explain it.
    let is_block = |name: &String| known.iter().any(|other| other.starts_with(&format!("{name}.")));
    for page in ["POLICY.md", "POLICY.pt-BR.md"] {
        let found = fields_in(page);
        let missing: Vec<_> = known.difference(&found).filter(|name| !is_block(name)).collect();
        assert!(missing.is_empty(), "{page} does not have {missing:?}");
        let unknown: Vec<_> = found.difference(&known).collect();
        assert!(unknown.is_empty(), "{page} has {unknown:?}, which no policy has");
    }
}

fn text_of(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// Codes of VSS, as `` `NAME` 0x80042301 ``.
fn codes_in(page: &str) -> BTreeSet<(String, String)> {
    let text = text_of(page);
    let rows = text.lines().filter(|line| line.starts_with("| `") && line.contains("` 0x8"));
    let cells = rows.map(|row| row.split(" | ").next().unwrap().trim_start_matches("| "));
    let codes = cells.flat_map(|cell| cell.split(", "));
    codes
        .map(|code| code.split_once("` 0x").unwrap())
        .map(|(name, code)| (name[1..].to_owned(), code.to_owned()))
        .collect()
}

#[test]
fn every_failure_of_a_snapshot_is_in_both_guides() {
    let source = text_of("orchestrator/src/snapshots/hresult.rs");
    let rows = source.split("row(").skip(1).filter_map(|row| row.trim_start().strip_prefix("0x8"));
    let known: BTreeSet<_> = rows
        .map(|row| (row.split('"').nth(1).unwrap(), format!("8{}", row[..8].replace('_', ""))))
        // Advice of its own: there is no VSS at all.
        .filter(|(name, _)| *name != "E_NOTIMPL")
        .map(|(name, code)| (name.to_owned(), code))
        .collect();
    assert!(known.contains(&("VSS_E_BAD_STATE".to_owned(), "80042301".to_owned())), "{known:?}");
    for page in ["docs/WINDOWS.md", "docs/WINDOWS.pt-BR.md"] {
        assert_eq!(codes_in(page), known, "{page}");
    }
}

#[test]
fn the_acceptance_script_writes_a_policy() {
    let script = text_of("packaging/windows/acceptance.ps1");
    let (_, rest) = script.split_once("Write-Text $policyFile @\"\n").unwrap();
    let (text, _) = rest.split_once("\n\"@").unwrap();
    let text = text
        .replace("$policyId", "acceptance")
        .replace("$source", r"C:\Intellistor-acceptance\source")
        .replace(r"$($store.Replace('\', '/'))", "C:/Intellistor-acceptance/store");
    assert!(!text.contains('$'), "{text}");
    Policy::from_yaml(Path::new("policy.yaml"), &text).unwrap();
}
