//! The bodies of a token request and of its answer.

use serde_json::{Map, Value, json};

use super::MintRequest;

pub(super) fn body(template: Option<&Map<String, Value>>, request: &MintRequest) -> Value {
    let seconds = request.expiration.as_secs() + u64::from(request.expiration.subsec_nanos() > 0);
    match template {
        None => json!({"allowed_apps": [request.alias], "token_expiration": seconds}),
        Some(template) => fill(&Value::Object(template.clone()), request, seconds),
    }
}

fn fill(value: &Value, request: &MintRequest, seconds: u64) -> Value {
    match value {
        Value::String(text) if text == "{token_expiration}" => seconds.into(),
        Value::String(text) => {
            text.replace("{alias}", &request.alias).replace("{app_path}", &request.app_path).into()
        }
        Value::Array(items) => items.iter().map(|item| fill(item, request, seconds)).collect(),
        Value::Object(entries) => {
            entries.iter().map(|(key, entry)| (key.clone(), fill(entry, request, seconds))).collect()
        }
        other => other.clone(),
    }
}

/// The token in an answer: a JSON string, or the string `token` or `detail` of a JSON object.
pub(super) fn token_in(body: &[u8]) -> Option<String> {
    let token = match serde_json::from_slice(body).ok()? {
        Value::String(token) => token,
        Value::Object(mut answer) => match answer.remove("token").or_else(|| answer.remove("detail"))? {
            Value::String(token) => token,
            _ => return None,
        },
        _ => return None,
    };
    let acceptable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    acceptable.then_some(token)
}
