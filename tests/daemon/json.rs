//! What the commands print as JSON, against the schemas of the manual.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::{Dead, Local, Site, plant};

/// A fault of a value, with its place, or nothing. Knows the part of JSON Schema that the schemas use.
fn faults(value: &Value, schema: &Value, whole: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return faults(value, &whole["$defs"][name.trim_start_matches("#/$defs/")], whole, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let each: Vec<Vec<String>> = any.iter().map(|one| faults(value, one, whole, at)).collect();
        return if each.iter().any(Vec::is_empty) { Vec::new() } else { each.concat() };
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_allowed = |name: &Value| name == kind || name == "number" && kind == "integer";
    let allowed = match &schema["type"] {
        Value::Array(names) => names.iter().any(is_allowed),
        name => is_allowed(name),
    };
    let mut found = Vec::new();
    if !allowed {
        found.push(format!("{at}: {kind} instead of {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        found.push(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(faults(item, &schema["items"], whole, &format!("{at}[{index}]")));
    }
    if let Some(fields) = value.as_object() {
        for (name, field) in fields {
            match schema["properties"].get(name) {
                Some(schema) => found.extend(faults(field, schema, whole, &format!("{at}.{name}"))),
                None => found.push(format!("{at}.{name} is not in the schema")),
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        let missing = required.filter(|name| !fields.contains_key(name.as_str().unwrap()));
        found.extend(missing.map(|name| format!("{at}: {name} is missing")));
    }
    found
}

fn schema(name: &str) -> Value {
    let path = format!("{}/docs/schema/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The JSON that a command prints, which is as its schema says.
#[track_caller]
fn told(site: &Site, name: &str, arguments: &[&str]) -> Value {
    let asked = site.ask_all(arguments);
    let value: Value = serde_json::from_str(&asked.stdout).unwrap_or_else(|error| panic!("{error}: {asked:?}"));
    let schema = schema(name);
    let faults = faults(&value, &schema, &schema, name);
    assert!(faults.is_empty(), "{}\n{value:#}", faults.join("\n"));
    value
}

#[test]
fn every_command_prints_json_as_its_schema_says() {
    let mut site = Site::on(&[Local, Dead]);
    site.config("on_synced: [\"/bin/true\"]");
    site.config("rexcludes: [\"*.tmp\"]");
    site.start();
    site.expect_identical();
    let file = site.config_file().display().to_string();
    fs::copy(&file, site.beside("idle.ron")).unwrap();
    plant(&site.mirror(Local).join("extra"), "x");
    site.expect_state(Dead, "backoff");
    let mut seen = BTreeSet::new();
    for (name, arguments) in [
        ("status", &["-c", &file, "status", "--json"][..]),
        ("overview", &["status", "--json"]),
        ("wait", &["-c", &file, "wait", "--json", "--timeout", "20"]),
        ("explain", &["-c", &file, "explain", "seed", "--json"]),
        ("explain", &["-c", &file, "explain", "--json", "x.tmp"]),
        ("check", &["-c", &file, "check", "--json", "--offline"]),
        ("dry-run", &["-c", &file, "dry-run", "--json"]),
        ("verify", &["-c", &file, "verify", "--json"]),
    ] {
        told(&site, name, arguments);
        seen.insert(format!("{name}.json"));
    }
    let would = told(&site, "dry-run", &["-c", &file, "dry-run", "--json"]);
    assert_eq!(would[0]["would_delete"], serde_json::json!(["extra"]), "{would:#}");
    let differs = told(&site, "verify", &["-c", &file, "verify", "--json"]);
    let is_found = |one: &Value| one["path"] == "extra" && one["is"] == "only_there";
    assert!(differs[0]["differences"].as_array().unwrap().iter().any(is_found), "{differs:#}");
    site.stop();
    let alone = told(&site, "explain", &["-c", &file, "explain", "--json", "x.tmp"]);
    assert_eq!((&alone["daemon"], &alone["excluded"]["pattern"]), (&Value::Null, &"*.tmp".into()), "{alone:#}");
    let schemas = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema")).unwrap().flatten();
    let schemas: BTreeSet<String> = schemas.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(schemas, seen, "each schema is of a command");
}

#[test]
fn the_check_of_a_schema_finds_faults() {
    let schema = schema("wait");
    let is_wrong = |value: Value| !faults(&value, &schema, &schema, "").is_empty();
    for (value, expected) in [
        (serde_json::json!([{"name": "a:", "is": "has"}]), false),
        (serde_json::json!([]), false),
        (serde_json::json!({}), true),
        (serde_json::json!([{"name": "a:"}]), true),
        (serde_json::json!([{"name": 7, "is": "has"}]), true),
        (serde_json::json!([{"name": "a:", "is": "stuck"}]), true),
        (serde_json::json!([{"name": "a:", "is": "has", "more": 1}]), true),
    ] {
        assert_eq!(is_wrong(value.clone()), expected, "{value}");
    }
}
